"""What a residual layer computes between two others, in one pass over time where there is a compiled one.

On the CPU in float32, and in bfloat16 where the processor multiplies it, that is `compiled.py`; elsewhere the same
equations run in torch, which are also what the compiled ones are tested against. Signals are [B, T, C].
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vocoder.kernels.matmul import HAS_BF16
from vocoder.model.conditioning import Motion
from vocoder.model.residual_layer_cpu import Weights, compiled_layer


def residual_layer(
    h: Tensor,
    heard: Tensor,
    skips: Tensor,
    knots: Tensor,
    weights: Weights,
    motion: Motion,
    dilation: int,
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """Gated dilated convolution with residual and skip outputs (van den Oord et al. 2016, sections 2.3 and 2.4).

    Args:
        h: [B, history + T, R].
        heard: the same, or what dropout left of it for the convolution.
        skips: [B, N, S] float32, sums of the layers before, for the last N samples; may be overwritten, so no
            leaf that wants gradients.
        knots: the conditioning [B, F, J, G] between its knots, float32, projected already and with the gate's bias;
            its last sample is that of h.
        motion: how the conditioning goes between the knots of a frame.
        recompute: keep nothing but h for the backward pass.

    Returns:
        What the next layer hears [B, T, R], in the precision of h, and the sums [B, N, S].
    """
    if is_compiled_for(h) and weights.taps.dtype == torch.float32:
        return compiled_layer(h, heard, skips, knots, weights, motion, dilation, recompute)
    if recompute:
        outputs: tuple[Tensor, Tensor] = checkpoint(
            plain_layer, h, heard, skips, knots, weights, motion, dilation, use_reentrant=False
        )
        return outputs
    return plain_layer(h, heard, skips, knots, weights, motion, dilation)


def plain_layer(
    h: Tensor, heard: Tensor, skips: Tensor, knots: Tensor, weights: Weights, motion: Motion, dilation: int
) -> tuple[Tensor, Tensor]:
    """`residual_layer` in torch."""
    kernel = weights.taps.unflatten(1, (-1, h.shape[2])).transpose(1, 2)[:, :, None]  # [G, R, 1, K]
    image = heard.transpose(1, 2)[:, :, None]  # one pixel high, with its channels last in memory: no copies
    z = F.conv2d(image, kernel, dilation=(1, dilation))[:, :, 0].transpose(1, 2)
    filter, opening = (z + spread(knots, motion, z.shape[1]).to(z.dtype)).chunk(2, 2)
    out = F.linear(filter.tanh() * opening.sigmoid(), weights.out, weights.bias)
    added, skip = out.split((h.shape[2], skips.shape[2]), 2)
    following = (h[:, h.shape[1] - z.shape[1] :] + added) * math.sqrt(0.5)
    return following, skips + skip[:, skip.shape[1] - skips.shape[1] :]


def spread(knots: Tensor, motion: Motion, samples: int) -> Tensor:
    """Conditioning at each of the last so many samples [B, T, G], of its knots [B, F, J, G]."""
    left, weights = motion.left.to(knots.device), motion.weights.to(knots.device)
    following = (left + 1).clamp(max=knots.shape[2] - 1)
    moving = (weights[:, :1] * knots[:, :, left] + weights[:, 1:] * knots[:, :, following]).flatten(1, 2)
    return moving[:, moving.shape[1] - samples :]


def is_compiled_for(signal: Tensor) -> bool:
    """Whether there are loops for its device and precision."""
    dtypes = (torch.float32, torch.bfloat16) if HAS_BF16 else (torch.float32,)
    return signal.device.type == "cpu" and signal.dtype in dtypes
