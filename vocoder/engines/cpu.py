"""The CPU engine: many lanes for each thread, through loops that numba compiles for this processor.

`packing.py` makes the arrays that `kernels/` loops over.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vocoder.engines.base import Frame
from vocoder.engines.packing import pack
from vocoder.errors import UserError
from vocoder.kernels import matmul
from vocoder.kernels.arrays import Draw, Network, State, Timing
from vocoder.kernels.generate import generate_frame
from vocoder.kernels.jit import said_if_slow
from vocoder.model import VocoderModel

F = np.float32
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # in microseconds, and of what period
COMPILING = "compiling the engine for this processor, some ten seconds; it is kept for next time"


class CpuEngine:
    """Generates in float32, or with products in bfloat16 where the processor multiplies it.

    Raises:
        UserError: bfloat16 is asked for, and the processor has no instructions for it.
    """

    width = 16
    compiled = True

    def __init__(self, model: VocoderModel, precision: str = "float32", threads: int | None = None) -> None:
        if precision == "bfloat16" and not matmul.HAS_BF16:
            raise UserError(
                "precision=bfloat16: this processor has no dot products of it (AVX512-BF16); use precision=float32"
            )
        self.precision = precision
        self.threads = threads or available_cores()
        self.model = model.eval()
        self.network = pack(model, precision)
        motion = model.conditioning.interpolation
        updates = model.linear_prediction.updates if model.linear_prediction else 1
        left, weights = motion.left.cpu().numpy(), motion.weights.float().cpu().numpy()
        self.timing = Timing(np.ascontiguousarray(left), np.ascontiguousarray(weights), updates)
        self._compile()

    def _compile(self) -> None:
        """Have the loops compiled, or fetched from where they are kept, and say so where it takes long."""
        with said_if_slow(COMPILING):
            lane = self.lanes(1)
            none = np.zeros((0, 1, 1), F)
            nothing = np.zeros((1, 0), F)
            forced = np.zeros(1, bool)
            generate_frame(self.network, lane.state, self.timing, lane.draw, 0, none, none, none, forced, nothing, none)

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
        self.draw = sampler(engine.model, temperature)
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
        forced = np.array([frame.forced is not None for frame in frames])
        samples = stacked([np.zeros(hop, F) if frame.forced is None else frame.forced for frame in frames], 0)
        arguments = (self.time, knots, filters, noise, forced, samples, recorded)
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
    """Cores this process may use: those it is bound to, and no more than a container's quota of time pays for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup here, or "max": no quota
        return cores


def start(network: Network, model: VocoderModel, lanes: int, precision: str) -> State:
    """Lanes that heard nothing yet."""
    R, Z = network.embed.shape[1], network.gate_bias.shape[1] // 2
    S, P = network.hidden_bias.shape[0], network.output_bias.shape[0]
    order = model.linear_prediction.order if model.linear_prediction else 1
    kind, share = (np.uint32, 2) if precision == "bfloat16" else (F, 1)

    def zeros(*shape: int, dtype: type = F) -> np.ndarray:
        return matmul.aligned(np.zeros(shape, dtype))

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


def sampler(model: VocoderModel, temperature: float) -> Draw:
    """How the model's distribution draws, as the loops take it."""
    d = model.distribution.sampler_spec
    location, scale = (-1 if first is None else first for first in (d.first_location, d.first_log_scale))
    values = np.array(d.values, F)
    return Draw(d.choices, location, scale, F(d.log_scale_min), d.levels, values, F(temperature))
