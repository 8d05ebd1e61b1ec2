"""What the cpu engine's time goes into: each part of its loop alone, on one core.

    python -m scripts.benchmarks.profile_cpu_engine [--lanes 16]

The network has the size of r9y9's recipe. Microseconds are for each sample of each lane, the best of five measurements;
parts that are measured alone find more in the caches than in the loop, which is the rest. Then all cores synthesise a
folder of mel files into a folder of wavs: how much of their time is not spent in the loop.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from scripts.benchmarks.benchmark_synthesis import a_mel, network
from vocoder.engines.cpu import CpuEngine
from vocoder.kernels import generate as step
from vocoder.kernels import matmul
from vocoder.kernels.jit import compiled
from vocoder.model import VocoderModel
from vocoder.synthesis import SynthesisOptions, Vocoder, find_sources, synthesize_into


@compiled
def layers_products(lanes, net, state):  # type: ignore[no-untyped-def]
    for layer in range(net.dilations.shape[0]):
        for tap in range(3):
            step.add_product(lanes, state.z, net.gate, 3 * layer + tap, state.ring, tap)
        step.add_product(lanes, state.h, net.out, layer, state.g, 0)


@compiled
def gates(lanes, net, state):  # type: ignore[no-untyped-def]
    for _ in range(net.dilations.shape[0]):
        step.write_gated(lanes, state.g, state.z)


@compiled
def rings(lanes, net, state):  # type: ignore[no-untyped-def]
    for layer in range(net.dilations.shape[0]):
        step.write_channels(lanes, state.ring, layer, state.h)


@compiled
def head(lanes, net, state):  # type: ignore[no-untyped-def]
    step._head(lanes, net, state)


@compiled
def repeated(work, times, lanes, net, state):  # type: ignore[no-untyped-def]
    for _ in range(times):
        work(lanes, net, state)


PARTS = {"products of the layers": layers_products, "gates": gates, "into the rings": rings, "head": head}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, default=16)
    lanes = parser.parse_args().lanes
    model = network("mel")
    for precision in ("float32", "bfloat16") if matmul.HAS_BF16 else ("float32",):
        engine = CpuEngine(model, precision, threads=1)
        net, crew = engine.network, engine.lanes(lanes)
        crew.state.z[:] = np.random.default_rng(0).standard_normal(crew.state.z.shape)
        whole = best(lambda n, e=engine, c=crew: frames(e, c, lanes, n), 4) / model.spec.hop_length  # type: ignore[misc]
        seconds = {
            name: best(lambda n, p=part, e=net, s=crew.state: repeated(p, n, lanes, e, s), 200)  # type: ignore[misc]
            for name, part in PARTS.items()
        }
        seconds["the rest"] = whole - sum(seconds.values())
        seconds["together"] = whole
        print(f"{precision}, {lanes} lanes")
        for name, value in seconds.items():
            print(f"  {name:24} {1e6 * value / lanes:6.2f} µs a sample")
        print(f"  of a bulk run outside of the loop: {100 * overhead(model, precision):.1f} % of the cores' time")


def overhead(model: VocoderModel, precision: str, utterances: int = 64, frames: int = 172) -> float:
    """The share of a bulk run, two seconds of speech from each mel file, that the threads are not in the loop."""
    vocoder, inside = Vocoder(model, CpuEngine(model, precision)), []

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        step.generate_frame(*arguments)
        inside.append(time.perf_counter() - started)

    with tempfile.TemporaryDirectory() as folder, patch("vocoder.engines.cpu.generate_frame", timed):
        mels = Path(folder, "mels")
        mels.mkdir()
        for i in range(utterances):
            np.save(mels / f"{i}.npy", a_mel(vocoder, frames))
        started = time.perf_counter()
        sources = find_sources(vocoder, mels, "test", None)
        for _ in synthesize_into(Path(folder, "wavs"), vocoder, sources, SynthesisOptions()):
            pass
        seconds = time.perf_counter() - started
    return 1 - sum(inside) / (seconds * vocoder.engine.threads)


def frames(engine: CpuEngine, crew: Any, lanes: int, times: int) -> None:
    """Whole frames, without what Python prepares."""
    rng, hop = np.random.default_rng(0), engine.model.spec.hop_length
    knots = rng.standard_normal((3, lanes, 80)).astype(np.float32)
    filters = 0.01 * rng.standard_normal((8, lanes, crew.state.past.shape[1] - hop + 1)).astype(np.float32)
    noise = rng.standard_normal((hop, lanes, 11)).astype(np.float32)
    samples, recorded = np.zeros((lanes, hop), np.float32), np.zeros((0, lanes, 1), np.float32)
    known = (0, knots, filters, noise, np.zeros(lanes, bool), samples, recorded)
    for _ in range(times):
        step.generate_frame(engine.network, crew.state, engine.timing, crew.sampler, *known)


def best(work: Callable[[int], None], times: int) -> float:
    """Seconds of one repetition."""
    work(1)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work(times)
        seconds.append((time.perf_counter() - started) / times)
    return min(seconds)


if __name__ == "__main__":
    main()
