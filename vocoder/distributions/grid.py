"""L equally spaced levels on [-1, 1]: x_i = -1 + 2 i / (L - 1)."""

from dataclasses import dataclass

from torch import Tensor

FAR = 1e30  # levels from 0: further out x is cut, or infinity less infinity would be NaN


@dataclass(frozen=True)
class Grid:
    """The levels a sample can take; every level owns the half bin to each side of it."""

    levels: int = 65536

    @property
    def half_bin(self) -> float:
        """Half the distance between neighbouring levels."""
        return 1 / (self.levels - 1)

    def round(self, x: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """The level nearest to x + offset, or the outermost one; NaN stays NaN.

        What is rounded is the distance from the level next to x. The sum itself has from 0.5 on only 512 float32 values
        for each level's bin, by which some bins would be a fifth of a percent wider than others.
        """
        half = (self.levels - 1) / 2  # levels from 0 to the outermost; they lie at whole numbers, or in between
        between = half % 1
        y = (x * half).clamp(-FAR, FAR)
        level = (y - between).round() + between
        level = level + (y - level + offset * half).round()
        return level.clamp(-half, half) / half  # exact until here: no level is off by more than the division's rounding

    def is_lowest(self, x: Tensor) -> Tensor:
        """Where x lies in the bin of level -1."""
        return x <= -1 + self.half_bin

    def is_highest(self, x: Tensor) -> Tensor:
        """Where x lies in the bin of level +1."""
        return x >= 1 - self.half_bin
