"""The residual layer of a WaveNet (van den Oord et al. 2016, section 2.3), time before channels.

B batch, T samples, R residual, G gate, S skip, C conditioning channels.

       h[t - (K-1) d] ... h[t - d]  h[t]   c[t]
              \\              |       |      /
               +------- linear -> 2 x G/2 -+
                          |         |
                        tanh   x  sigmoid
                             |
                  linear -> R + S channels
                      |          |
       (h[t] + residual) / √2   skip

A dilated convolution is one matrix product over concatenated taps: on a CPU in bfloat16 twice as fast
as a strided convolution. Layers do not pad: they give as many samples as have their full history.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    def forward(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """h [B, history + T, R], c [B, T, C] -> (next h [B, T, R], skip [B, T, S])."""
        samples = h.shape[1] - self.history
        heard = F.dropout(h, self.dropout, self.training)
        taps = [heard[:, start : start + samples] for start in range(0, self.history + 1, self.dilation)]
        return self.combine(h[:, self.history :], taps, c)

    def combine(self, h: Tensor, taps: Sequence[Tensor], c: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's equations, given h[t] and the K taps that are heard (oldest first) as tensors [..., R]."""
        filter, gate = self.gate(torch.cat((*taps, c), -1)).chunk(2, -1)
        residual, skip = self.out(filter.tanh() * gate.sigmoid()).split(self._split, -1)
        return (h + residual) * math.sqrt(0.5), skip
