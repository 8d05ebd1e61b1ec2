"""L equally spaced levels on [-1, 1]: x_i = -1 + 2 i / (L - 1)."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The levels a sample can take; every level owns the half bin to each side of it."""

    levels: int = 65536

    @property
    def half_bin(self) -> float:
        """Half the distance between neighbouring levels."""
        return 1 / (self.levels - 1)

    def round(self, x: Tensor) -> Tensor:
        """The level nearest to x, after clamping x to [-1, 1]."""
        last = self.levels - 1
        index = ((x.clamp(-1, 1) + 1) * (last / 2)).round()
        return (2 * index - last) / last  # whole numbers until the division: no level is off by a rounding

    def is_lowest(self, x: Tensor) -> Tensor:
        """Where x lies in the bin of level -1."""
        return x <= -1 + self.half_bin

    def is_highest(self, x: Tensor) -> Tensor:
        """Where x lies in the bin of level +1."""
        return x >= 1 - self.half_bin
