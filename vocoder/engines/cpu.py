"""The CPU engine: many lanes for each thread, through loops that numba compiles for this processor.

What a model is made of is folded once: the root of a half, the scaling of the skips, weights packed in the order in
which they are read. `kernels/` has the loops.
"""

import os
import sys
from collections.abc import Sequence
from threading import Timer

import numpy as np
from torch import Tensor, nn

from vocoder.engines.base import Frame
from vocoder.engines.kernels import products
from vocoder.engines.kernels.step import Draw, Network, State, Timing, generate_frame
from vocoder.errors import UserError
from vocoder.model import VocoderModel

F = np.float32
COMPILING = "compiling the engine for this processor, some ten seconds; it is kept for next time"
ROOT_HALF = np.sqrt(0.5)


class CpuEngine:
    """Generates in float32, or with products in bfloat16 where the processor multiplies it.

    Raises:
        UserError: bfloat16 is asked for, and the processor has no instructions for it.
    """

    width = 16
    compiled = True

    def __init__(self, model: VocoderModel, precision: str = "float32", threads: int | None = None) -> None:
        if precision == "bfloat16" and not products.HAS_BF16:
            raise UserError(
                "precision=bfloat16: this processor has no dot products of it (AVX512-BF16); use precision=float32"
            )
        self.precision = precision
        self.threads = threads or available_cores()
        self.model = model.eval()
        self.network = pack(model, precision)
        motion = model.conditioning.motion
        updates = model.linear_prediction.updates if model.linear_prediction else 1
        left, weights = motion.left.cpu().numpy(), motion.weights.float().cpu().numpy()
        self.timing = Timing(np.ascontiguousarray(left), np.ascontiguousarray(weights), updates)

        self._compile()

    def _compile(self) -> None:
        """Have the loops compiled, or fetched from where they are kept, and say so where it takes long."""
        notice = Timer(
            1.0, print, ["compiling the engine for this processor; it is kept for next time"], {"file": sys.stderr}
        )
        notice.start()
        try:
            lane = self.lanes(1)
            none = np.zeros((0, 1, 1), F)
            nothing = np.zeros((1, 0), F)
            given = np.zeros(1, bool)
            generate_frame(self.network, lane.state, self.timing, lane.draw, 0, none, none, none, given, nothing, none)
        finally:
            notice.cancel()
            notice.join()

    def lanes(self, capacity: int, temperature: float = 1.0) -> "CpuLanes":
        return CpuLanes(self, capacity, temperature)

    def describe(self) -> str:
        return f"cpu, {self.precision}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    @property
    def arithmetic(self) -> str:
        return f"cpu {self.precision}"


class CpuLanes:
    """Utterances that one thread generates."""

    def __init__(self, engine: CpuEngine, capacity: int, temperature: float) -> None:
        self.engine = engine
        self.state = start(engine.network, engine.model, capacity, engine.precision)
        self.draw = drawing(engine.model, temperature)
        self.time = 0

    def advance(self, frames: Sequence[Frame]) -> np.ndarray:
        return self._generate(frames, np.zeros((0, 1, 1), F))

    def predict(self, frames: Sequence[Frame]) -> np.ndarray:
        hop, channels = self.engine.model.spec.hop_length, self.engine.model.distribution.channels
        recorded = np.zeros((hop, len(frames), channels), F)
        self._generate(frames, recorded)
        return np.ascontiguousarray(recorded.transpose(1, 2, 0))

    def _generate(self, frames: Sequence[Frame], recorded: np.ndarray) -> np.ndarray:
        n, hop = len(frames), self.engine.model.spec.hop_length
        knots = stacked([frame.knots for frame in frames], 1)
        filters = stacked([frame.filters for frame in frames if frame.filters is not None], 1, or_else=(0, n, 1))
        noise = stacked([frame.noise.T for frame in frames], 1)
        given = np.array([frame.given is not None for frame in frames])
        samples = stacked([np.zeros(hop, F) if frame.given is None else frame.given for frame in frames], 0)
        arguments = (self.time, knots, filters, noise, given, samples, recorded)
        generate_frame(self.engine.network, self.state, self.engine.timing, self.draw, *arguments)
        self.time += hop
        return samples

    def move(self, source: int, target: int) -> None:
        for array, axis in ((self.state.ring, 1), (self.state.past, 0), (self.state.residual, 0)):
            lanes = np.moveaxis(array, axis, 0)
            lanes[target] = lanes[source]


def stacked(arrays: list[np.ndarray], axis: int, or_else: tuple[int, ...] = (0,)) -> np.ndarray:
    """As the loops take it: float32 and in C order, whatever the order of the parts."""
    return np.ascontiguousarray(np.stack(arrays, axis) if arrays else np.zeros(or_else), F)


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Packing


def pack(model: VocoderModel, precision: str) -> Network:
    """A model's weights as the loops read them."""
    wavenet, layers = model.wavenet, model.wavenet.residual_layers
    residual, skip = wavenet.input.out_features, wavenet.hidden.in_features
    half = layers[0].out.in_features
    channels = layers[0].gate.in_features - layers[0].kernel_size * residual
    R, S, Z, P = (padded(n) for n in (residual, skip, half, wavenet.output.out_features))
    in_precision = products.packed_pairs if precision == "bfloat16" else products.packed
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
        products.packed(np.stack(conditionings), 2 * Z, channels),
        in_precision(np.stack(outs), R + S, Z),
        filled(np.stack(out_biases), (len(layers), R)),
        filled(skip_bias, (S,)),
        products.packed(hidden[None] * scale, S, S),
        filled(hidden_bias, (S,)),
        products.packed(output[None], P, S),
        filled(output_bias, (P,)),
        np.array([layer.dilation for layer in layers]),
        np.cumsum([0] + [layer.history + 1 for layer in layers]),
    )


def padded(channels: int) -> int:
    """Up to whole tiles."""
    return -(-channels // products.TILE) * products.TILE


def arrays(linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Weight [out, in] and bias [out] in float64, so that folding rounds once."""

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().cpu().numpy()

    return array(linear.weight), array(linear.bias)


def filled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32, with zeros up to the shape."""
    return products.aligned(np.pad(array, [(0, b - a) for a, b in zip(array.shape, shape, strict=True)]).astype(F))


def side_by_side(first: np.ndarray, second: np.ndarray, height: int, second_height: int) -> np.ndarray:
    """Two arrays' rows one after the other, each filled up with zeros to its height."""
    rest = first.shape[1:]
    return np.concatenate((filled(first, (height, *rest)), filled(second, (second_height, *rest))))


def halves(array: np.ndarray, half: int, height: int) -> np.ndarray:
    """Rows of filters and of gates, each filled up to so many."""
    return side_by_side(array[:half], array[half:], height, height)


def start(network: Network, model: VocoderModel, lanes: int, precision: str) -> State:
    """Lanes that heard nothing yet."""
    R, Z = network.embed.shape[1], network.gate_bias.shape[1] // 2
    S, P = network.hidden_bias.shape[0], network.output_bias.shape[0]
    order = model.linear_prediction.order if model.linear_prediction else 1
    kind, share = (np.uint32, 2) if precision == "bfloat16" else (F, 1)

    def zeros(*shape: int, dtype: type = F) -> np.ndarray:
        return products.aligned(np.zeros(shape, dtype))

    return State(
        zeros(int(network.rings[-1]), lanes, R // share, dtype=kind),
        zeros(lanes, order + model.spec.hop_length),
        zeros(lanes),
        zeros(2, len(network.dilations), lanes, 2 * Z),
        zeros(lanes, 2 * Z),
        zeros(1, lanes, Z // share, dtype=kind),
        zeros(lanes, R + S),
        zeros(2, lanes, S),
        zeros(lanes, P),
    )


def drawing(model: VocoderModel, temperature: float) -> Draw:
    """How the model's distribution draws, as the loops take it."""
    d = model.distribution.drawing
    location, scale = (-1 if first is None else first for first in (d.locations, d.scales))
    values = np.array(d.values, F)
    return Draw(d.choices, location, scale, F(d.log_scale_min), d.levels, values, F(temperature))
