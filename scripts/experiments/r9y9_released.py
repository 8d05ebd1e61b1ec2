"""The network of r9y9's wavenet_vocoder 0.1.1: the package's own (`pip install --no-deps wavenet-vocoder==0.1.1`)."""

import warnings
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from scripts.experiments.r9y9_current import one_hot


def released_network(hparams: Mapping[str, Any]) -> torch.nn.Module:
    """The package's own network."""
    from wavenet_vocoder import WaveNet

    names = (
        *("out_channels", "layers", "stacks", "residual_channels", "gate_channels", "skip_out_channels", "kernel_size"),
        *("dropout", "cin_channels", "gin_channels", "n_speakers", "weight_normalization", "upsample_scales"),
        *("upsample_conditional_features", "freq_axis_kernel_size", "legacy"),
    )
    given = {name: hparams[name] for name in names if name in hparams}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its weight_norm is torch's older one
        network: torch.nn.Module = WaveNet(**given, scalar_input=hparams["input_type"] == "raw")
    return network.eval()


def released_inputs(
    hparams: Mapping[str, Any], x: np.ndarray, mel: np.ndarray, speaker: int
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Inputs [1, I, T], and the conditioning as the package's functions take it."""
    inputs = one_hot(x, hparams["out_channels"]) if hparams["input_type"] != "raw" else x[None]
    mel = mel if hparams["upsample_conditional_features"] else mel.repeat(hparams["hop_size"], axis=1)
    conditioning = {
        "c": torch.from_numpy(mel).float()[None] if hparams["cin_channels"] > 0 else None,
        "g": torch.tensor([[speaker]]) if hparams["gin_channels"] > 0 else None,
    }
    return torch.from_numpy(inputs).float()[None], conditioning


@torch.no_grad()
def released_forward(
    hparams: Mapping[str, Any], state: Mapping[str, Tensor], x: np.ndarray, mel: np.ndarray, speaker: int
) -> np.ndarray:
    network = released_network(hparams)
    network.load_state_dict(dict(state))
    inputs, conditioning = released_inputs(hparams, x, mel, speaker)
    params: Tensor = network(inputs, **conditioning)
    return params[0].numpy()


@torch.no_grad()
def released_incremental(
    hparams: Mapping[str, Any], state: Mapping[str, Tensor], x: np.ndarray, mel: np.ndarray, speaker: int
) -> np.ndarray:
    """As `released_forward`, by the package's generation, sample by sample; it returns parameters in place of draws."""
    network = released_network(hparams)
    network.load_state_dict(dict(state))
    inputs, conditioning = released_inputs(hparams, x, mel, speaker)
    with patch("wavenet_vocoder.wavenet.sample_from_discretized_mix_logistic", lambda params, log_scale_min: params):
        options = {"T": inputs.shape[2], "test_inputs": inputs, "softmax": False, "quantize": False}
        params: Tensor = network.incremental_forward(**conditioning, **options)  # type: ignore[operator]
    return params[0].reshape(hparams["out_channels"], -1).numpy()
