"""A model's weights as the generation loops read them: folded once, padded to whole tiles, in the order of reading."""

from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from vocoder.kernels.arrays import Network
from vocoder.kernels.math import ROOT_HALF
from vocoder.kernels.matmul import TILE, aligned_copy, pack_weights, pack_weights_bf16, round_up
from vocoder.model import VocoderModel
from vocoder.model.wavenet import WaveNet

f32 = np.float32


class PaddedSizes(NamedTuple):
    """Channels of the network, rounded up to whole tiles."""

    residual: int
    skip: int
    half_gate: int
    output: int


def padded_sizes(wavenet: WaveNet) -> PaddedSizes:
    return PaddedSizes(
        residual=round_up(wavenet.residual_channels, TILE),
        skip=round_up(wavenet.skip_channels, TILE),
        half_gate=round_up(wavenet.gate_channels // 2, TILE),
        output=round_up(wavenet.output_channels, TILE),
    )


def pack_network(model: VocoderModel, precision: str) -> Network:
    """Pack all weights; those of the layers in `precision`, "float32" or "bfloat16", the others in float32."""
    wavenet, layers = model.wavenet, model.wavenet.residual_layers
    residual, skip, half_gate = wavenet.residual_channels, wavenet.skip_channels, wavenet.gate_channels // 2
    R, S, Z, P = padded_sizes(wavenet)
    pack = pack_weights_bf16 if precision == "bfloat16" else pack_weights
    gates, biases, conditionings, out_weights, out_biases = [], [], [], [], []
    skip_bias = np.zeros(skip)
    for layer in layers:
        weight, bias = (pad_halves(part, half_gate, Z) for part in weight_and_bias(layer.gate))
        *taps, conditioning = np.split(weight, range(residual, wavenet.kernel_size * residual + 1, residual), axis=1)
        gates.append(np.stack(taps))
        conditionings.append(conditioning)
        biases.append(bias)
        weight, bias = weight_and_bias(layer.out)
        out_weights.append(concatenate_padded(weight[:residual] * ROOT_HALF, weight[residual:], R, S))
        out_biases.append(bias[:residual] * ROOT_HALF)
        skip_bias = skip_bias + bias[residual:]
    scale = np.sqrt(1 / len(layers))
    hidden, hidden_bias = weight_and_bias(wavenet.hidden)
    hidden_bias = hidden_bias.reshape(-1, skip)
    output, output_bias = weight_and_bias(wavenet.output)
    embed, embed_bias = weight_and_bias(wavenet.input)
    recent, mix, mix_bias = np.zeros((0, skip, 0)), np.zeros((0, skip, skip)), np.zeros(skip)
    if wavenet.recent is not None and wavenet.mix is not None:
        recent, recent_bias = weight_and_bias(wavenet.recent)
        hidden_bias = hidden_bias + recent_bias
        mix, mix_bias = weight_and_bias(wavenet.mix)
        recent, mix = recent[None], mix[None]
    return Network(
        inputs_per_sample=wavenet.input_channels,
        class_boundaries=class_boundaries(model),
        embed=pack_weights(embed[None], R, embed.shape[1]),
        embed_bias=zero_padded(embed_bias, (R,)),
        gate=pack(np.concatenate(gates), 2 * Z, R),
        gate_bias=np.stack(biases).astype(f32),
        conditioning=pack_weights(np.stack(conditionings), 2 * Z, wavenet.conditioning_channels),
        out=pack(np.stack(out_weights), R + S, Z),
        out_bias=zero_padded(np.stack(out_biases), (len(layers), R)),
        skip_bias=zero_padded(skip_bias, (S,)),
        hidden=pack_weights(hidden.reshape(-1, skip, skip) * scale, S, S),
        hidden_bias=zero_padded(hidden_bias, (wavenet.samples_per_step, S)),
        recent=pack_weights(recent, S, recent.shape[2]),
        mix=pack_weights(mix, S, S),
        mix_bias=zero_padded(mix_bias, (S,)),
        output=pack_weights(output[None], P, S),
        output_bias=zero_padded(output_bias, (P,)),
        dilations=np.array([layer.dilation for layer in layers]),
        ring_starts=np.cumsum([0] + [layer.history + 1 for layer in layers]),
    )


def class_boundaries(model: VocoderModel) -> np.ndarray:
    """The boundaries of the classes that the network hears [C - 1]; empty where it hears values."""
    return np.zeros(0, f32) if model.one_hot is None else model.one_hot.boundaries.cpu().numpy()


def weight_and_bias(linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Weight [out, in] and bias [out] in float64, so that they are rounded once, after folding."""

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().cpu().numpy()

    return array(linear.weight), array(linear.bias)


def zero_padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in float32, padded with zeros at the end of each axis."""
    return aligned_copy(np.pad(array, [(0, b - a) for a, b in zip(array.shape, shape, strict=True)]).astype(f32))


def concatenate_padded(first: np.ndarray, second: np.ndarray, rows: int, second_rows: int) -> np.ndarray:
    """The rows of two arrays, padded with zeros to `rows` and `second_rows`, one array after the other."""
    rest = first.shape[1:]
    return np.concatenate((zero_padded(first, (rows, *rest)), zero_padded(second, (second_rows, *rest))))


def pad_halves(array: np.ndarray, half: int, rows: int) -> np.ndarray:
    """The signal's and the gate's rows, `half` of each, each padded with zeros to `rows`."""
    return concatenate_padded(array[:half], array[half:], rows, rows)
