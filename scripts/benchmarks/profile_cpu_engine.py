"""Profile of the cpu engine: each part of its loop alone, on one core.

    python -m scripts.benchmarks.profile_cpu_engine [--lanes 32]

The network has the size of r9y9's recipe. Times are in microseconds for each sample of each lane, the best of five
measurements. A part alone has more cache hits than within the loop; that difference counts as "the rest". Then all
cores synthesise a folder of mel files into a folder of wavs, to measure the share of their time outside of the loop.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from scripts.benchmarks.networks import random_mel, untrained_model
from vocoder.engines.cpu import CpuEngine
from vocoder.kernels import generate as step
from vocoder.kernels import processor
from vocoder.kernels.jit import compiled
from vocoder.model import VocoderModel
from vocoder.synthesis import SynthesisOptions, Vocoder, find_sources, synthesize_into


@compiled
def layers_products(lanes, net, state):  # type: ignore[no-untyped-def]
    for layer in range(net.dilations.shape[0]):
        for tap in range(3):
            step.add_product(lanes, state.z[0], net.gate, 3 * layer + tap, state.ring, tap)
        step.add_product(lanes, state.h_and_skips, net.out, layer, state.gated, 0)


@compiled
def gates(lanes, net, state):  # type: ignore[no-untyped-def]
    for _ in range(net.dilations.shape[0]):
        step.write_gated(lanes, state.gated, state.z[0])


@compiled
def rings(lanes, net, state):  # type: ignore[no-untyped-def]
    for layer in range(net.dilations.shape[0]):
        step.write_channels(lanes, state.ring, layer, state.h_and_skips)


@compiled
def head(lanes, net, state):  # type: ignore[no-untyped-def]
    step._head(lanes, net, state, 0)


@compiled
def repeated(work, times, lanes, net, state):  # type: ignore[no-untyped-def]
    for _ in range(times):
        work(lanes, net, state)


PARTS = {
    "matrix products of the layers": layers_products,
    "gates (tanh and sigmoid)": gates,
    "writing to the ring buffers": rings,
    "output layers (head)": head,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, help="default: as many as the engine gives a thread")
    arguments = parser.parse_args()
    model = untrained_model("hifigan_22k", "model=r9y9")
    for precision in ("float32", "bfloat16") if processor.HAS_BF16 else ("float32",):
        engine = CpuEngine(model, precision, threads=1)
        lanes = arguments.lanes or engine.lanes_per_thread
        print(f"{precision}, {lanes} lanes")
        for name, seconds in profile(engine, lanes).items():
            print(f"  {name:30} {1e6 * seconds:6.2f} µs a sample")
        outside = share_outside_of_the_loop(model, precision)
        print(f"  outside of the loop, in a bulk run: {100 * outside:.1f} % of the cores' time")


def profile(engine: CpuEngine, lanes: int) -> dict[str, float]:
    """Seconds of each part of the loop, and of all, for each sample of each lane."""
    cpu_lanes = engine.lanes(lanes)
    cpu_lanes.state.z[:] = np.random.default_rng(0).standard_normal(cpu_lanes.state.z.shape)

    def frames(times: int) -> None:
        generate_frames(engine, cpu_lanes, lanes, times)

    def repetitions(part: Any) -> Callable[[int], None]:
        return lambda times: repeated(part, times, lanes, engine.network, cpu_lanes.state)

    whole = seconds_per_repetition(frames, 4) / engine.model.spec.hop_length
    seconds = {name: seconds_per_repetition(repetitions(part), 200) for name, part in PARTS.items()}
    seconds |= {"the rest": whole - sum(seconds.values()), "total": whole}
    return {name: value / lanes for name, value in seconds.items()}


def share_outside_of_the_loop(model: VocoderModel, precision: str, utterances: int = 64, frames: int = 172) -> float:
    """Share of the threads' time outside of the loop, in a bulk run of two seconds of speech for each mel file."""
    vocoder, seconds_in_loop = Vocoder(model, CpuEngine(model, precision), postfilter=0), []

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        step.generate_frame(*arguments)
        seconds_in_loop.append(time.perf_counter() - started)

    with tempfile.TemporaryDirectory() as folder, patch("vocoder.engines.cpu.generate_frame", timed):
        mels = Path(folder, "mels")
        mels.mkdir()
        for i in range(utterances):
            np.save(mels / f"{i}.npy", random_mel(vocoder.spec, frames))
        started = time.perf_counter()
        sources = find_sources(vocoder, mels, "test", None)
        for _ in synthesize_into(Path(folder, "wavs"), vocoder, sources, SynthesisOptions()):
            pass
        seconds = time.perf_counter() - started
    return 1 - sum(seconds_in_loop) / (seconds * vocoder.engine.threads)


def generate_frames(engine: CpuEngine, cpu_lanes: Any, lanes: int, times: int) -> None:
    """Generate `times` frames, without the preparation in Python."""
    rng, hop = np.random.default_rng(0), engine.model.spec.hop_length
    knots = rng.standard_normal((3, lanes, 80)).astype(np.float32)
    filters = 0.01 * rng.standard_normal((8, len(cpu_lanes.state.past) - hop + 1, lanes)).astype(np.float32)
    noise = rng.standard_normal((hop, 11, lanes)).astype(np.float32)
    samples, recorded = np.zeros((hop, lanes), np.float32), np.zeros((0, 1, lanes), np.float32)
    known = (0, knots, filters, noise, np.zeros(lanes, bool), samples, recorded)
    for _ in range(times):
        step.generate_frame(engine.network, cpu_lanes.state, engine.frame_layout, cpu_lanes.sampler, *known)


def seconds_per_repetition(work: Callable[[int], None], times: int) -> float:
    """Seconds of one repetition: the best of five measurements."""
    work(1)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work(times)
        seconds.append((time.perf_counter() - started) / times)
    return min(seconds)


if __name__ == "__main__":
    main()
