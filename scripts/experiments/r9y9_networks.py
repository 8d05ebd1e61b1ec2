"""Random networks of r9y9's wavenet_vocoder, and what they compute: the other side of a comparison.

Those of the current layout are computed in NumPy from its description; those of 0.1.1 by the package itself.

T samples, F frames, H hop length, P parameters.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from scripts.experiments.r9y9_current import current_forward, current_shapes, weights_of
from scripts.experiments.r9y9_released import released_forward, released_incremental, released_network
from scripts.experiments.r9y9_variants import Variant


def random_state(variant: Variant, seed: int) -> dict[str, Tensor]:
    """Random weights under the names that the network's checkpoints have."""
    generator = torch.Generator().manual_seed(seed)
    if variant.layout != "current":
        shapes = {name: tuple(tensor.shape) for name, tensor in released_network(variant.hparams).state_dict().items()}
    else:
        shapes = dict(current_shapes(variant.hparams))
    state = {}
    for name, shape in shapes.items():
        state[name] = 0.4 * torch.randn(shape, generator=generator)
        if name.endswith("weight_g"):  # so large that every past sample and every frame can be seen in the parameters
            state[name] = 1.5 + state[name]
        elif "upsample" in name and name.endswith("weight_v"):  # … and what passes the stages is of their size
            state[name] = 0.3 + state[name]
        elif "conv_in" in name:
            state[name] *= 4 / math.sqrt(shape[1] * shape[2])
    return state


def their_params(
    variant: Variant,
    state: Mapping[str, Tensor],
    waves: np.ndarray,
    mel: np.ndarray,
    speaker: int,
    padded: int,
    *,
    incremental: bool = False,
) -> np.ndarray:
    """Parameters [P, T] of each sample, from the true samples before it and the conditioning at it.

    Args:
        waves: [T], or classes where the network hears classes.
        mel: normalised [num_mels, F + 2 padded], where T = F H.
        padded: frames of context on each side of `mel`, of which theirs takes cin_pad itself.
        incremental: of 0.1.1, by its generation in place of its forward pass.
    """
    taken = variant.hparams.get("cin_pad", 0) if variant.layout == "current" else 0
    margin = (padded - taken) * variant.hparams[
        "hop_size"
    ]  # samples at either end that are only there because of the context
    first = 127 if variant.hparams["input_type"] != "raw" else 0
    previous = np.pad(np.concatenate(([first], waves[:-1])), margin, constant_values=first)
    if variant.layout == "current":
        params = current_forward(variant.hparams, weights_of(state), previous, mel, speaker)
    else:
        compute = released_incremental if incremental else released_forward
        params = compute(variant.hparams, state, previous, mel, speaker)
    return params[:, margin : params.shape[1] - margin]
