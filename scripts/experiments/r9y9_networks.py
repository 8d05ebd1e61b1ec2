"""Random networks of r9y9's wavenet_vocoder, of many shapes, and what they compute: the other side of a comparison.

Those of the current layout are written here from its description, in NumPy and float64. Those of 0.1.1 are the
package's own, from PyPI (`pip install --no-deps wavenet-vocoder==0.1.1`).

T samples, F frames, H hop length, P parameters.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scipy.signal import correlate2d
from torch import Tensor

BASE: dict[str, Any] = {
    "name": "wavenet_vocoder",
    "input_type": "raw",
    "sample_rate": 16000,
    "num_mels": 6,
    "fmin": 125,
    "fmax": 7600,
    "fft_size": 64,
    "hop_size": 12,
    "out_channels": 9,
    "layers": 6,
    "stacks": 2,
    "residual_channels": 8,
    "gate_channels": 12,
    "skip_out_channels": 10,
    "kernel_size": 3,
    "dropout": 0.05,
    "cin_channels": 6,
    "gin_channels": -1,
    "n_speakers": 3,
    "upsample_conditional_features": True,
}
CURRENT = {
    "win_length": 64,
    "cin_pad": 2,
    "output_distribution": "Logistic",
    "upsample_net": "ConvInUpsampleNetwork",
    "upsample_params": {"upsample_scales": [3, 4]},
}
RELEASED = {"upsample_scales": [3, 4], "freq_axis_kernel_size": 3, "min_level_db": -100, "ref_level_db": 20}
SPEECH = {
    **{"sample_rate": 22050, "num_mels": 80, "cin_channels": 80, "fft_size": 1024, "win_length": 1024, "hop_size": 256},
    **{"layers": 24, "stacks": 4, "out_channels": 30, "log_scale_min": -16.0},
}
RECIPE_SIZES = {"residual_channels": 128, "gate_channels": 256, "skip_out_channels": 128}
DOWNLOAD_SIZES = {"residual_channels": 512, "gate_channels": 512, "skip_out_channels": 256}
CLASSES = {"input_type": "mulaw-quantize", "quantize_channels": 256, "out_channels": 256}
ACTIVATIONS = {"none": lambda x, slope: x, "ReLU": lambda x, slope: np.maximum(x, 0)}
ACTIVATIONS["LeakyReLU"] = lambda x, slope: np.where(x > 0, x, slope * x)


@dataclass(frozen=True)
class Variant:
    """A kind of network, by the settings in which it differs from the others."""

    layout: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hparams(self) -> dict[str, Any]:
        return {**BASE, **(CURRENT if self.layout == "current" else RELEASED), **self.changes}


def upsampling(**params: Any) -> dict[str, Any]:
    return {"upsample_params": {"upsample_scales": [2, 3, 2], **params}}


VARIANTS = {
    "mixture of logistics": Variant("current"),
    "cin_pad 0": Variant("current", {"cin_pad": 0}),
    "Gaussian": Variant("current", {"output_distribution": "Normal", "out_channels": 2}),
    "mixture of Gaussians": Variant("current", {"output_distribution": "Normal"}),
    "mu-law classes": Variant("current", CLASSES),
    "speakers": Variant("current", {"gin_channels": 4}),
    "freq_axis_kernel_size 3": Variant("current", upsampling(freq_axis_kernel_size=3)),
    "ReLU between stages": Variant("current", upsampling(freq_axis_kernel_size=3, upsample_activation="ReLU")),
    "LeakyReLU between stages": Variant(
        "current",
        upsampling(upsample_activation="LeakyReLU", upsample_activation_params={"negative_slope": 0.4}),
    ),
    "UpsampleNetwork": Variant("current", {"upsample_net": "UpsampleNetwork"}),
    "repeated frames": Variant("current", {"upsample_conditional_features": False, "cin_pad": 0}),
    "no conditioning": Variant("current", {"cin_channels": -1}),
    "one stack, kernel 2": Variant("current", {"stacks": 1, "layers": 5, "kernel_size": 2}),
    "recipe's size": Variant(
        "current", {**SPEECH, **RECIPE_SIZES, "upsample_params": {"upsample_scales": [4, 4, 4, 4]}}
    ),
    "wide": Variant("current", {"residual_channels": 70, "gate_channels": 140, "skip_out_channels": 66}),
    "0.1.1: mixture of logistics": Variant("0.1.1"),
    "0.1.1: mu-law classes": Variant("0.1.1", CLASSES),
    "0.1.1: speakers": Variant("0.1.1", {"gin_channels": 4}),
    "0.1.1: legacy false": Variant("0.1.1", {"legacy": False}),
    "0.1.1: no weight norm": Variant("0.1.1", {"weight_normalization": False}),
    "0.1.1: freq_axis_kernel_size 1": Variant("0.1.1", {"freq_axis_kernel_size": 1, "upsample_scales": [12]}),
    "0.1.1: repeated frames": Variant("0.1.1", {"upsample_conditional_features": False}),
    "0.1.1: no conditioning": Variant("0.1.1", {"cin_channels": -1, "upsample_conditional_features": False}),
    "0.1.1: size of the downloads": Variant("0.1.1", {**SPEECH, **DOWNLOAD_SIZES, "upsample_scales": [4, 4, 4, 4]}),
    "0.1.1: three stacks, kernel 2": Variant("0.1.1", {"stacks": 3, "kernel_size": 2}),
}


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


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count)[classes.astype(int)].T  # [count, T]


# The current layout


def current_shapes(hparams: Mapping[str, Any]) -> Any:
    """(name, shape) of each tensor of a checkpoint."""
    R, G, S = (hparams[f"{name}_channels"] for name in ("residual", "gate", "skip_out"))
    P, K, C = hparams["out_channels"], hparams["kernel_size"], hparams["cin_channels"]
    yield from normed("first_conv", R, P if hparams["input_type"] != "raw" else 1, 1)
    for layer in range(hparams["layers"]):
        name = f"conv_layers.{layer}"
        yield from normed(f"{name}.conv", G, R, K)
        if C > 0:
            yield from normed(f"{name}.conv1x1c", G, C, 1, bias=False)
        if hparams["gin_channels"] > 0:
            yield from normed(f"{name}.conv1x1g", G, hparams["gin_channels"], 1, bias=False)
        yield from normed(f"{name}.conv1x1_out", R, G // 2, 1)
        yield from normed(f"{name}.conv1x1_skip", S, G // 2, 1)
    yield from normed("last_conv_layers.1", S, S, 1)
    yield from normed("last_conv_layers.3", P, S, 1)
    if hparams["gin_channels"] > 0:
        yield "embed_speakers.weight", (hparams["n_speakers"], hparams["gin_channels"])
    if C > 0 and hparams["upsample_conditional_features"]:
        if hparams["upsample_net"] == "ConvInUpsampleNetwork":
            yield "upsample_net.conv_in.weight", (C, C, 2 * hparams["cin_pad"] + 1)
        bands = hparams["upsample_params"].get("freq_axis_kernel_size", 1)
        for name, scale in current_stages(hparams):
            yield from normed(name, 1, 1, bands, 2 * scale + 1, bias=False)


def normed(name: str, *shape: int, bias: bool = True) -> Any:
    yield f"{name}.weight_g", (shape[0], *(1 for _ in shape[1:]))
    yield f"{name}.weight_v", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def current_stages(hparams: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(name, scale) of each convolution of the upsampling."""
    params = hparams["upsample_params"]
    apart = 2 if params.get("upsample_activation", "none") == "none" else 3
    net = "upsample_net" if hparams["upsample_net"] == "UpsampleNetwork" else "upsample_net.upsample"
    return [(f"{net}.up_layers.{1 + apart * i}", scale) for i, scale in enumerate(params["upsample_scales"])]


def weights_of(state: Mapping[str, Tensor]) -> Callable[[str], np.ndarray]:
    """Weight or bias by name, in float64, with weight norm applied."""

    def get(name: str) -> np.ndarray:
        if f"{name}_g" not in state:
            return state[name].double().numpy()
        g, v = state[f"{name}_g"].double().numpy(), state[f"{name}_v"].double().numpy()
        norms = np.array([np.linalg.norm(row) for row in v]).reshape(g.shape)
        return g * v / norms

    return get


def current_forward(
    hparams: Mapping[str, Any], get: Callable[[str], np.ndarray], x: np.ndarray, mel: np.ndarray, speaker: int
) -> np.ndarray:
    """Parameters [P, T] from inputs x [T], a sample before; silent layers lie before the first."""
    has_mel, has_speaker = hparams["cin_channels"] > 0, hparams["gin_channels"] > 0
    c = current_upsample(hparams, get, mel) if has_mel else None
    h = one_hot(x, hparams["out_channels"]) if hparams["input_type"] != "raw" else x[None]
    h = get("first_conv.weight")[..., 0] @ h + get("first_conv.bias")[:, None]
    skips: Any = 0.0
    for layer in range(hparams["layers"]):
        name, dilation = f"conv_layers.{layer}", 2 ** (layer % (hparams["layers"] // hparams["stacks"]))
        z = causal(get(f"{name}.conv.weight"), get(f"{name}.conv.bias"), h, dilation)
        if c is not None:
            z = z + get(f"{name}.conv1x1c.weight")[..., 0] @ c
        if has_speaker:
            embedded = get("embed_speakers.weight")[speaker][:, None]
            z = z + get(f"{name}.conv1x1g.weight")[..., 0] @ embedded
        a, b = np.split(z, 2)
        z = np.tanh(a) / (1 + np.exp(-b))
        skips = skips + get(f"{name}.conv1x1_skip.weight")[..., 0] @ z + get(f"{name}.conv1x1_skip.bias")[:, None]
        out = get(f"{name}.conv1x1_out.weight")[..., 0] @ z + get(f"{name}.conv1x1_out.bias")[:, None]
        h = (h + out) * np.sqrt(0.5)
    y = skips * np.sqrt(1 / hparams["layers"])
    for name in ("last_conv_layers.1", "last_conv_layers.3"):
        y = get(f"{name}.weight")[..., 0] @ np.maximum(y, 0) + get(f"{name}.bias")[:, None]
    return y


def causal(weight: np.ndarray, bias: np.ndarray, h: np.ndarray, dilation: int) -> np.ndarray:
    """[G, T] from h [R, T], before which there are zeros; the last of weight's K taps [G, R, K] is of the sample."""
    taps = weight.shape[2]
    padded = np.pad(h, ((0, 0), ((taps - 1) * dilation, 0)))
    shifted = (padded[:, k * dilation : k * dilation + h.shape[1]] for k in range(taps))
    return sum(weight[..., k] @ part for k, part in enumerate(shifted)) + bias[:, None]


def current_upsample(hparams: Mapping[str, Any], get: Callable[[str], np.ndarray], mel: np.ndarray) -> np.ndarray:
    """[num_mels, F H] from mel [num_mels, F + 2 cin_pad]."""
    if not hparams["upsample_conditional_features"]:
        return mel.repeat(hparams["hop_size"], axis=1)
    params, pad = hparams["upsample_params"], hparams["cin_pad"]
    activation = ACTIVATIONS[params.get("upsample_activation", "none")]
    slope = params.get("upsample_activation_params", {}).get("negative_slope", 0.01)
    c = mel
    if hparams["upsample_net"] == "ConvInUpsampleNetwork":
        kernel = get("upsample_net.conv_in.weight")
        frames = mel.shape[1] - 2 * pad
        c = sum(kernel[..., k] @ mel[:, k : k + frames] for k in range(2 * pad + 1))
    for name, scale in current_stages(hparams):
        c = activation(correlate2d(c.repeat(scale, axis=1), get(f"{name}.weight")[0, 0], mode="same"), slope)
    crop = pad * hparams["hop_size"] if hparams["upsample_net"] == "UpsampleNetwork" else 0
    return c[:, crop : c.shape[1] - crop]


# 0.1.1


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
