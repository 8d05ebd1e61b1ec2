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

In training the conditioning is projected at the rate of its frames and joins in the gate. Layers do not pad: they give
as many samples as have their full history. A step of generation takes the same weights as one linear map of taps and
conditioning (`combine`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.model.conditioning import Motion
from vocoder.model.residual_layer import residual_layer
from vocoder.model.residual_layer_cpu import Weights


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
        """h [B, history + T, R], the sum of skips before [B, N, S] -> (next h [B, T, R], sum [B, N, S]).

        The last of the T samples is the last of the frames whose conditioning the knots [B, F, J, C] are. The sum
        before may be overwritten. With `recompute` nothing but h is kept for the backward pass.
        """
        width = self.kernel_size * self._split[0]
        taps, conditioning = self.gate.weight.split((width, self.gate.in_features - width), 1)
        heard = F.dropout(h, self.dropout, self.training) if self.dropout else h
        condition = F.linear(knots, conditioning, self.gate.bias).float()
        weights = Weights(taps, self.out.weight, self.out.bias)
        return residual_layer(h, heard, skips, condition, weights, motion, self.dilation, recompute)

    def combine(self, h: Tensor, taps: Sequence[Tensor], c: Tensor) -> tuple[Tensor, Tensor]:
        """(next h, skip) of single samples: h[t], the K taps (oldest first) [..., R] and conditioning c[t] [..., C]."""
        filter, opening = self.gate(torch.cat((*taps, c), -1)).chunk(2, -1)
        added, skip = self.out(filter.tanh() * opening.sigmoid()).split(self._split, -1)
        return (h + added) * math.sqrt(0.5), skip
