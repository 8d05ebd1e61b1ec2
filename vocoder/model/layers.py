"""The residual layer of a WaveNet (van den Oord et al. 2016, section 2.3).

B batch, T samples, R residual, G gate, S skip, C conditioning channels, K taps.

       h[t - (K-1) d] ... h[t - d]  h[t]   c[t]
              \\              |       |      /
               +------- linear -> 2 x G/2 -+
                          |         |
                        tanh   x  sigmoid
                             |
                  linear -> R + S channels
                      |          |
       (h[t] + residual) / √2   skip

In training the dilated convolution is one, along the width of an image [B, R, 1, T] that lies in memory as [B, T, R];
the conditioning is projected at the rate of its frames and joins in the gate. Layers do not pad: they give as many
samples as have their full history. A step of generation takes the same weights as one linear map of taps and
conditioning (`combine`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vocoder.model.conditioning import Motion
from vocoder.model.fused import gated_product, residual


class ResidualLayer(nn.Module):
    """Gated dilated causal convolution with residual and skip outputs."""

    def __init__(
        self,
        residual_channels: int,
        gate_channels: int,
        skip_channels: int,
        conditioning_channels: int,
        kernel_size: int,
        dilation: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.gate = nn.Linear(kernel_size * residual_channels + conditioning_channels, gate_channels)
        self.out = nn.Linear(gate_channels // 2, residual_channels + skip_channels)
        self._split = (residual_channels, skip_channels)

    @property
    def history(self) -> int:
        """Samples before t that the output at t depends on."""
        return (self.kernel_size - 1) * self.dilation

    def forward(
        self, h: Tensor, skips: Tensor, knots: Tensor, motion: Motion, recompute: bool = False
    ) -> tuple[Tensor, Tensor]:
        """h [B, R, 1, history + T], the sum of skips before [B, S, 1, N] -> (next h [B, R, 1, T], sum [B, S, 1, N]).

        The last of the T samples is the last of the frames whose conditioning the knots [B, F, J, C] are. With
        `recompute` nothing but h is kept for the backward pass.
        """
        if recompute:
            out = checkpoint(self._outputs, h, knots, motion, use_reentrant=False)
        else:
            out = self._outputs(h, knots, motion)
        return residual(h, out, skips)

    def _outputs(self, h: Tensor, knots: Tensor, motion: Motion) -> Tensor:
        """[B, R + S, 1, T]."""
        taps = self.kernel_size * self._split[0]
        weight, conditioning = self.gate.weight.split((taps, self.gate.in_features - taps), 1)
        kernel = weight.unflatten(1, (self.kernel_size, -1)).transpose(1, 2)[:, :, None]  # [G, R, 1, K]
        heard = F.dropout(h, self.dropout, self.training)
        z = F.conv2d(heard, kernel, dilation=(1, self.dilation))
        condition = F.linear(knots, conditioning, self.gate.bias).float()
        first = knots.shape[1] * len(motion.left) - z.shape[3]
        return gated_product(z, condition, self.out.weight, self.out.bias, motion, first)

    def combine(self, h: Tensor, taps: Sequence[Tensor], c: Tensor) -> tuple[Tensor, Tensor]:
        """(next h, skip) of single samples: h[t], the K taps (oldest first) [..., R] and conditioning c[t] [..., C]."""
        filter, opening = self.gate(torch.cat((*taps, c), -1)).chunk(2, -1)
        added, skip = self.out(filter.tanh() * opening.sigmoid()).split(self._split, -1)
        return (h + added) * math.sqrt(0.5), skip
