"""The residual layer of a WaveNet (van den Oord et al. 2016, sections 2.3 and 2.4).

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

In training all samples are computed at once, by compiled loops where there are some for the device and precision
(`residual_layer_cpu.py`), else by `residual_layer_ref` in plain torch, which is also what the loops are tested against.
In generation `ResidualLayer.step` computes one sample. Layers do not pad: they give as many samples as have their full
history.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vocoder.kernels.math import ROOT_HALF
from vocoder.model.compiled import is_compiled_for
from vocoder.model.interpolation import PiecewiseLinear
from vocoder.model.residual_layer_cpu import LayerWeights, residual_layer_cpu


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
        self.residual_channels, self.skip_channels = residual_channels, skip_channels
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.dropout = dropout
        self.gate = nn.Linear(kernel_size * residual_channels + conditioning_channels, gate_channels)
        self.out = nn.Linear(gate_channels // 2, residual_channels + skip_channels)

    @property
    def history(self) -> int:
        """Samples before t that the output at t depends on."""
        return (self.kernel_size - 1) * self.dilation

    def forward(
        self, h: Tensor, skips: Tensor, projected: PiecewiseLinear, recompute: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(the next layer's h [B, T, R], the sum of skips [B, N, S] with this layer's).

        Args:
            h: [B, history + T, R].
            skips: sum over the layers before, for the last N of the T samples; may be overwritten.
            projected: of `project`, [B, F H, G], whose last sample is the last of h.
            recompute: keep nothing but h for the backward pass.
        """
        taps = self.gate.weight[:, : self.kernel_size * self.residual_channels]
        conv_input = F.dropout(h, self.dropout, self.training) if self.dropout else h
        weights = LayerWeights(taps, self.out.weight, self.out.bias, self.dilation)
        return residual_layer(h, conv_input, skips, projected, weights, recompute)

    def step(self, h: Tensor, taps: Sequence[Tensor], channels: Tensor) -> tuple[Tensor, Tensor]:
        """(next h, skip) of one sample: h[t], the K taps (oldest first) [..., R], the conditioning [..., C]."""
        signal, gate = self.gate(torch.cat((*taps, channels), -1)).chunk(2, -1)
        out = self.out(signal.tanh() * gate.sigmoid())
        residual, skip = out.split((self.residual_channels, self.skip_channels), -1)
        return (h + residual) * ROOT_HALF, skip


def project(conditioning: PiecewiseLinear, layers: Sequence[ResidualLayer]) -> list[PiecewiseLinear]:
    """Channels [B, F H, C] projected to the gate of each layer, and its bias added: [B, F H, G] in float32.

    One product for all layers: each alone would be a small one, which takes longer to begin than to compute.
    """
    weight = torch.cat([layer.gate.weight[:, layer.kernel_size * layer.residual_channels :] for layer in layers])
    bias = torch.cat([layer.gate.bias for layer in layers])
    knots = F.linear(conditioning.knots, weight, bias).float()
    gates = [len(layer.gate.bias) for layer in layers]
    return [PiecewiseLinear(part, conditioning.interpolation) for part in knots.split(gates, -1)]


def residual_layer(
    h: Tensor,
    conv_input: Tensor,
    skips: Tensor,
    projected: PiecewiseLinear,
    weights: LayerWeights,
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """The layer over all samples, by the fastest way there is for its device and precision.

    Args:
        h: [B, history + T, R].
        conv_input: h, or what dropout left of it.
        skips: [B, N, S] float32, sums of the layers before, for the last N samples; may be overwritten, so no leaf that
            needs gradients.
        projected: conditioning [B, F H, G] float32, already projected to the gate and with its bias; its last sample is
            the last of h.
        recompute: keep nothing but h for the backward pass.

    Returns:
        The next layer's h [B, T, R], in the precision of h, and the sum of skips [B, N, S].
    """
    if is_compiled_for(h) and weights.conv_weight.dtype == torch.float32:
        return residual_layer_cpu(h, conv_input, skips, projected, weights, recompute)
    if recompute:
        outputs: tuple[Tensor, Tensor] = checkpoint(
            residual_layer_ref, h, conv_input, skips, projected, weights, use_reentrant=False
        )
        return outputs
    return residual_layer_ref(h, conv_input, skips, projected, weights)


def residual_layer_ref(
    h: Tensor, conv_input: Tensor, skips: Tensor, projected: PiecewiseLinear, weights: LayerWeights
) -> tuple[Tensor, Tensor]:
    """`residual_layer` in plain torch."""
    kernel = weights.conv_weight.unflatten(1, (-1, h.shape[2])).transpose(1, 2)[:, :, None]  # [G, R, 1, K]
    image = conv_input.transpose(1, 2)[:, :, None]  # [B, R, 1, T], channels last in memory, so nothing is copied
    z = F.conv2d(image, kernel, dilation=(1, weights.dilation))[:, :, 0].transpose(1, 2)  # [B, T, G]
    signal, gate = (z + _last(projected.samples(), z.shape[1]).to(z.dtype)).chunk(2, 2)
    out = F.linear(signal.tanh() * gate.sigmoid(), weights.out_weight, weights.out_bias)
    residual, skip = out.split((h.shape[2], skips.shape[2]), 2)
    return (_last(h, z.shape[1]) + residual) * ROOT_HALF, skips + _last(skip, skips.shape[1])


def _last(x: Tensor, samples: int) -> Tensor:
    """Of x [B, T, C] the last so many samples."""
    return x[:, x.shape[1] - samples :]
