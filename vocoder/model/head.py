"""The head of a network with several samples per step: the layers that run for each sample.

B batch, T samples, S skip channels, L samples of head context, I inputs each, P parameters.

    hidden [B, T, S]        recent [B, T, L I]
    of the skips                |
          |                   linear
          +------- + -----------+
                   |
                  relu -> linear
                   |        |
                   +-- + ---+
                       |
                  relu -> linear -> params [B, T, P]

In training all samples are computed at once, by compiled loops where there are some for the device and precision
(`head_cpu.py`), else by `head_ref` in plain torch, which also computes single samples in generation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.device import without_autocast
from vocoder.model.compiled import is_compiled_for
from vocoder.model.head_cpu import head_cpu


@dataclass(frozen=True)
class HeadLayers:
    """The three layers; without inputs that it hears, a head has the last one only."""

    recent: nn.Linear | None  # [S, L I]
    mix: nn.Linear | None  # [S, S]
    output: nn.Linear  # [P, S]


def head(hidden: Tensor, recent: Tensor | None, layers: HeadLayers) -> Tensor:
    """Parameters [B, T, P] in float32, by the fastest way there is.

    Args:
        hidden: [B, T, S], float32 or autocast's dtype.
        recent: [B, T, L I] float32, the newest inputs of each sample; None where the head hears none.
    """
    if layers.recent is None or layers.mix is None or recent is None:
        return head_ref(hidden, recent, layers)
    linears = layers.recent, layers.mix, layers.output
    weights = [part for linear in linears for part in (linear.weight, linear.bias)]
    if is_compiled_for(hidden) and all(part.dtype == torch.float32 for part in (recent, *weights)):
        return head_cpu(hidden, recent, weights)
    return head_ref(hidden, recent, layers)


def head_ref(hidden: Tensor, recent: Tensor | None, layers: HeadLayers) -> Tensor:
    """`head` in plain torch.

    Products of inputs, and the last, are in float32: in bfloat16 a mean of 0.5 could only move in steps of 128 of the
    grid's levels.
    """
    if layers.recent is not None and layers.mix is not None and recent is not None:
        with without_autocast(hidden.device):
            from_inputs = layers.recent(recent)
        hidden = F.relu(hidden + from_inputs.to(hidden.dtype))
        hidden = hidden + layers.mix(hidden)
    hidden = F.relu(hidden)
    with without_autocast(hidden.device):
        params: Tensor = layers.output(hidden.to(layers.output.weight.dtype))
    return params
