"""A model's weights as the compiled loops read them: folded once, padded to whole tiles, in the order of reading."""

import numpy as np
from torch import Tensor, nn

from vocoder.kernels import matmul
from vocoder.kernels.arrays import Network
from vocoder.model import VocoderModel

F = np.float32
ROOT_HALF = np.sqrt(0.5)


def pack(model: VocoderModel, precision: str) -> Network:
    """A model's weights as the loops read them."""
    wavenet, layers = model.wavenet, model.wavenet.residual_layers
    residual, skip = wavenet.input.out_features, wavenet.hidden.in_features
    half = layers[0].out.in_features
    channels = layers[0].gate.in_features - layers[0].kernel_size * residual
    R, S, Z, P = (matmul.whole(n) for n in (residual, skip, half, wavenet.output.out_features))
    in_precision = matmul.packed_pairs if precision == "bfloat16" else matmul.packed
    gates, biases, conditionings, outs, out_biases = [], [], [], [], []
    skip_bias = np.zeros(skip)
    for layer in layers:
        weight, bias = (halves(part, half, Z) for part in arrays(layer.gate))
        *taps, conditioning = np.split(weight, range(residual, layer.kernel_size * residual + 1, residual), axis=1)
        gates.append(np.stack(taps))
        conditionings.append(conditioning)
        biases.append(bias)
        weight, bias = arrays(layer.out)
        outs.append(side_by_side(weight[:residual] * ROOT_HALF, weight[residual:], R, S))
        out_biases.append(bias[:residual] * ROOT_HALF)
        skip_bias = skip_bias + bias[residual:]
    scale = np.sqrt(1 / len(layers))
    hidden, hidden_bias = arrays(wavenet.hidden)
    output, output_bias = arrays(wavenet.output)
    embed, embed_bias = arrays(wavenet.input)
    return Network(
        filled(embed.T, (embed.shape[1], R)),
        filled(embed_bias, (R,)),
        in_precision(np.concatenate(gates), 2 * Z, R),
        np.stack(biases).astype(F),
        matmul.packed(np.stack(conditionings), 2 * Z, channels),
        in_precision(np.stack(outs), R + S, Z),
        filled(np.stack(out_biases), (len(layers), R)),
        filled(skip_bias, (S,)),
        matmul.packed(hidden[None] * scale, S, S),
        filled(hidden_bias, (S,)),
        matmul.packed(output[None], P, S),
        filled(output_bias, (P,)),
        np.array([layer.dilation for layer in layers]),
        np.cumsum([0] + [layer.history + 1 for layer in layers]),
    )


def arrays(linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Weight [out, in] and bias [out] in float64, so that folding rounds once."""

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().cpu().numpy()

    return array(linear.weight), array(linear.bias)


def filled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32, with zeros up to the shape."""
    return matmul.aligned(np.pad(array, [(0, b - a) for a, b in zip(array.shape, shape, strict=True)]).astype(F))


def side_by_side(first: np.ndarray, second: np.ndarray, height: int, second_height: int) -> np.ndarray:
    """Two arrays' rows one after the other, each filled up with zeros to its height."""
    rest = first.shape[1:]
    return np.concatenate((filled(first, (height, *rest)), filled(second, (second_height, *rest))))


def halves(array: np.ndarray, half: int, height: int) -> np.ndarray:
    """Rows of filters and of gates, each filled up to so many."""
    return side_by_side(array[:half], array[half:], height, height)
