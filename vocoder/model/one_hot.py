"""Past samples as classes: the input of a WaveNet over mu-law codes (van den Oord et al. 2016, section 2.2)."""

import torch
from torch import Tensor, nn

from vocoder.distributions import MuLawGrid


class OneHot(nn.Module):
    """One number for each of C classes: 1 for the class of a sample, 0 for the others.

    Silence, which lies on the boundary of two classes, is of the lower one: 127 of 256.
    """

    boundaries: Tensor  # [C - 1], between the classes' values, rising

    def __init__(self, grid: MuLawGrid) -> None:
        super().__init__()
        self.register_buffer("boundaries", grid.boundaries, persistent=False)

    @property
    def classes(self) -> int:
        return len(self.boundaries) + 1

    def forward(self, samples: Tensor) -> Tensor:
        """samples [...] -> [..., C]."""
        above = samples.unsqueeze(-1) > self.boundaries  # no index, which a CUDA graph could not check
        edge = above.new_ones(*samples.shape, 1)
        return (torch.cat((edge, above), -1) & ~torch.cat((above, ~edge), -1)).to(samples.dtype)
