"""L equally spaced levels on [-1, 1]: x_i = -1 + 2 i / (L - 1)."""

from dataclasses import dataclass

from torch import Tensor

MAX_DISTANCE = 1e30  # in levels from 0; x is clamped to it, because infinity - infinity would be NaN


@dataclass(frozen=True)
class UniformGrid:
    """L equally spaced levels; each level's bin extends half a level to either side."""

    levels: int = 65536

    @property
    def half_bin(self) -> float:
        """Half the distance between neighbouring levels."""
        return 1 / (self.levels - 1)

    def round(self, x: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """The level nearest to x + offset, clamped to the outermost levels; NaN stays NaN.

        The sum is never formed: x is rounded first, and then the distance of x + offset from that level. From 0.5 on,
        float32 has only 512 values per bin, so rounding the sum would make some bins a fifth of a percent wider than
        others.
        """
        half = (self.levels - 1) / 2  # levels from 0 to the outermost: an integer for odd L, a half-integer for even L
        fraction = half % 1
        y = (x * half).clamp(-MAX_DISTANCE, MAX_DISTANCE)
        level = (y - fraction).round() + fraction
        level = level + (y - level + offset * half).round()
        return level.clamp(-half, half) / half  # `level` is exact; only this division rounds

    def is_lowest(self, x: Tensor) -> Tensor:
        """Mask of the elements in the bin of level -1."""
        return x <= -1 + self.half_bin

    def is_highest(self, x: Tensor) -> Tensor:
        """Mask of the elements in the bin of level +1."""
        return x >= 1 - self.half_bin
