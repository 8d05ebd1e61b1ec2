"""How fast synthesis is: our engines, the published wavenet-vocoder, and what the machine can do, in one run.

    pip install --no-deps wavenet-vocoder==0.1.1
    python -m scripts.benchmarks.benchmark_synthesis [--quick] [--rounds 3] [--only WORDS] [--json FILE]

Everything takes turns in every round, and a row is the median of the rounds. All networks have the size of r9y9's
mixture-of-logistics recipe (24 layers, 128/256/128 channels, 10 logistics) and random weights; ours start from a mel
(hop 256) and end with 16-bit samples, warm-ups included, with the linear prediction where a row does not say otherwise.
x real time is at 22 050 Hz where no other rate is named. The ratio to the peer is to the better of its one stream and
its batches for many utterances, and to its one stream for one; the limit is limit.cpp, compiled with g++ where there is
one, its products in float32 on all cores. Rows are left out where the peer, g++, or bfloat16 products are
missing.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from scripts.benchmarks.timing import in_turn
from vocoder.commands import cli
from vocoder.distributions import MixtureOfLogistics
from vocoder.engines import pick_engine
from vocoder.features.mel import PRESETS
from vocoder.kernels import matmul
from vocoder.model import ModelConfig, VocoderConfig, VocoderModel, build_model
from vocoder.settings import from_mapping
from vocoder.synthesis import Request, Vocoder

RATE = 22050
LIMIT = Path(__file__).with_name("limit.cpp")


@dataclass(frozen=True)
class Row:
    """A line of the table: so many samples by each call of `work`."""

    name: str
    samples: int
    work: Callable[[], None]
    against: str = ""  # the row of the peer that it is compared with
    rate: int = RATE


@dataclass(frozen=True)
class Result:
    """What --json writes of a row."""

    name: str
    samples_per_s: float
    realtime: float
    ratio_peer: float | None
    ratio_limit: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the rows that matter most, within 45 seconds")
    parser.add_argument("--rounds", type=int, help="default 3, or 1 if quick")
    parser.add_argument("--only", default="", metavar="WORDS", help="rows whose name has these words in it")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        limit = limit_of(Path(folder))
        rows = [row for row in (*peers(arguments.quick), *ours(arguments.quick)) if arguments.only in row.name]
        if limit is not None:
            rows.append(Row("limit", 0, limit.run))
        seconds = in_turn([row.work for row in rows], rounds, warm_up=0)
    results = measured(rows, seconds, statistics.median(limit.rates) if limit is not None else None)
    show(results)
    if limit is not None:
        print(f"multiply-add alone: {statistics.median(limit.operations):.0f} GFLOP/s on all cores, in float32")
    if FIRST_AUDIO:
        print(f"streamed: first audio {1000 * statistics.median(FIRST_AUDIO):.0f} ms after the first frames of mel")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def describe_machine() -> None:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    print(f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores; ", end="")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}, ", end="")
    print(f"torch {torch.__version__}", flush=True)


# Ours


def ours(quick: bool) -> list[Row]:
    cores = len(os.sched_getaffinity(0))
    model, plain = network("mel"), network("none")
    fast, single = engine(model, "float32", cores), engine(model, "float32", 1)
    many, frames = (32, 40) if quick else (64, 80)
    rows = [
        batch("cpu float32", fast, many, frames),
        batch("cpu float32", single, 1),
        folded("cpu float32", fast),
    ]
    half = half_single = None
    if matmul.HAS_BF16:
        half, half_single = engine(model, "bfloat16", cores), engine(model, "bfloat16", 1)
        rows += [
            batch("cpu bfloat16", half, many, frames),
            batch("cpu bfloat16", half_single, 1),
            folded("cpu bfloat16", half),
        ]
    if quick:
        return rows
    rows += [
        batch("reference", Vocoder(model, pick_engine(model, "reference")), 1, frames=4),
        batch("reference", Vocoder(model, pick_engine(model, "reference")), 64, frames=2),
        batch("cpu float32", fast, 8),
        batch("cpu float32, 1 thread", single, 16),
        batch("cpu float32, no linear prediction", engine(plain, "float32", cores), 32),
    ]
    if half is not None and half_single is not None:
        rows += [
            batch("cpu bfloat16", half, 8),
            batch("cpu bfloat16, 1 thread", half_single, 16),
            batch("cpu bfloat16, no linear prediction", engine(plain, "bfloat16", cores), 32),
        ]
    return [*rows, streamed(cores=1)]


def streamed(cores: int) -> Row:
    """The small network at 16 kHz, frame by frame, as a text-to-speech system would hand them over."""
    vocoder = engine(network("mel", "small", "speech_16k"), "float32", cores)
    mel = a_mel(vocoder, 80)

    def work() -> None:
        started, seconds = time.perf_counter(), []
        for _ in vocoder.stream(frame[:, None] for frame in mel.T):
            seconds.append(time.perf_counter() - started)
        FIRST_AUDIO.append(seconds[0])

    return Row(
        "cpu float32, small network at 16 kHz, streamed, 1 thread",
        80 * vocoder.spec.hop_length,
        work,
        ONE,
        vocoder.sample_rate,
    )


FIRST_AUDIO: list[float] = []  # seconds from the first mel frame, the context after it being there at once


def network(prediction: str, size: str = "r9y9", mel: str = "hifigan_22k") -> VocoderModel:
    choices = [f"model={size}", f"model.linear_prediction.kind={prediction}"]
    config = cli.compose("train", ["data=none", "name=none", *choices])
    torch.manual_seed(0)
    model = build_model(VocoderConfig(PRESETS[mel], from_mapping(ModelConfig, config["model"]), MixtureOfLogistics()))
    model.initialise_output(0.05 * torch.randn(10_000))
    return model.eval()


def engine(model: VocoderModel, precision: str, threads: int) -> Vocoder:
    return Vocoder(model, pick_engine(model, "cpu", precision, threads))


def batch(engine: str, vocoder: Vocoder, utterances: int, frames: int = 40) -> Row:
    requests = [Request(str(i), a_mel(vocoder, frames)) for i in range(utterances)]

    def work() -> None:
        vocoder.synthesize_batch(requests)

    name = f"{engine}, {utterances} utterances" if utterances > 1 else f"{engine}, 1 stream"
    return Row(name, utterances * frames * vocoder.spec.hop_length, work, ONE if utterances == 1 else MANY)


def folded(engine: str, vocoder: Vocoder) -> Row:
    frames = 6 * RATE // vocoder.spec.hop_length
    request = Request("folded", a_mel(vocoder, frames))

    def work() -> None:
        vocoder.synthesize_folded(request)

    return Row(f"{engine}, one of 6 s, folded", frames * vocoder.spec.hop_length, work, ONE)


def a_mel(vocoder: Vocoder, frames: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((vocoder.spec.n_mels, frames))
    return (noise - 5).astype(np.float32)


# The peer

ONE, MANY = "wavenet-vocoder 0.1.1, 1 stream", "the better of"


def peers_network() -> Any:
    """Of r9y9's size, untrained; ImportError where the peer is not installed."""
    from wavenet_vocoder import WaveNet  # type: ignore[import-not-found, unused-ignore]

    torch.manual_seed(0)
    return WaveNet(
        30,
        layers=24,
        stacks=4,
        residual_channels=128,
        gate_channels=256,
        skip_out_channels=128,
        cin_channels=80,
        upsample_conditional_features=True,
        upsample_scales=[4, 4, 4, 4],
        scalar_input=True,
    )


def peers(quick: bool) -> list[Row]:
    try:
        model = peers_network().eval()
    except ImportError:
        return []
    model.make_generation_fast_()
    return [peer(model, size, quick) for size in ((1, 32) if quick else (1, 8, 32))]


def peer(model: torch.nn.Module, size: int, quick: bool) -> Row:
    frames = 1 if quick else 2
    mel, first = torch.rand(size, 80, frames), torch.zeros(size, 1, 1)

    def work() -> None:
        with torch.no_grad():
            model.incremental_forward(c=mel, test_inputs=first, T=256 * frames)  # type: ignore[operator]

    name = ONE if size == 1 else f"wavenet-vocoder 0.1.1, batch of {size}"
    return Row(name, size * 256 * frames, work)


# The machine


class Limit:
    """scripts/benchmarks/limit.cpp, compiled, and what it printed each time."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.rates: list[float] = []
        self.operations: list[float] = []

    def run(self) -> None:
        command = [str(self.program), str(len(os.sched_getaffinity(0)))]
        rate, operations = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        self.rates.append(float(rate))
        self.operations.append(float(operations))


def limit_of(folder: Path) -> Limit | None:
    if shutil.which("g++") is None:
        return None
    flags = ["-O3", "-march=native", "-std=gnu++17", "-pthread"]
    subprocess.run(["g++", *flags, LIMIT, "-o", folder / "limit"], check=True)
    return Limit(folder / "limit")


# The table


def measured(rows: list[Row], seconds: np.ndarray, limit: float | None) -> list[Result]:
    rates = {row.name: row.samples / statistics.median(column) for row, column in zip(rows, seconds.T, strict=True)}
    peers = {name: rate for name, rate in rates.items() if name.startswith("wavenet-vocoder")}
    if limit is not None:
        rates["limit"] = limit
    results = []
    for row in rows:
        peer = peers.get(ONE) if row.against == ONE else max(peers.values(), default=None)
        results.append(
            Result(
                row.name,
                rates[row.name],
                rates[row.name] / row.rate,
                rates[row.name] / peer if peer else None,
                rates[row.name] / limit if limit else None,
            )
        )
    return results


def show(results: list[Result]) -> None:
    print("\n| | samples/s | × real time | × the peer | of the limit |\n| --- | --- | --- | --- | --- |")
    for r in results:
        peer, limit = (f"{ratio:.3g}" if ratio is not None else "" for ratio in (r.ratio_peer, r.ratio_limit))
        print(f"| {r.name} | {r.samples_per_s:.0f} | {r.realtime:.3g} | {peer} | {limit} |")


if __name__ == "__main__":
    main()
