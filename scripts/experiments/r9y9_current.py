"""The network of r9y9's wavenet_vocoder in its current layout, from its description, in NumPy and float64.

T samples, F frames, H hop length, P parameters.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy.signal import correlate2d
from scipy.special import expit
from torch import Tensor

ACTIVATIONS = {"none": lambda x, slope: x, "ReLU": lambda x, slope: np.maximum(x, 0)}
ACTIVATIONS["LeakyReLU"] = lambda x, slope: np.where(x > 0, x, slope * x)


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count)[classes.astype(int)].T  # [count, T]


def current_shapes(hparams: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
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


def normed(name: str, *shape: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
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
        z = np.tanh(a) * expit(b)
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
