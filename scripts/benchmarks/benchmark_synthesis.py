"""Speed of synthesis: the engines, r9y9's wavenet-vocoder, and the limit of the machine, in one run.

    pip install --no-deps wavenet-vocoder==0.1.1
    python -m scripts.benchmarks.benchmark_synthesis [--quick] [--rounds 3] [--only WORDS] [--json FILE]

All rows take turns in every round, and a row is the median of the rounds. All networks have random weights and the size
of r9y9's mixture-of-logistics recipe (24 layers, 128/256/128 channels, 10 logistics). Rows of this project start from a
mel (hop 256) and end with 16-bit samples, warm-ups included, with linear prediction unless the row says otherwise.
"× real time" is at 22 050 Hz unless the row names another rate.

The comparison is with r9y9's wavenet-vocoder (0.1.1 from PyPI): for many utterances with the faster of its
one stream and its batches, for one utterance with its one stream. The limit is limit.cpp: the products of the same
network in float32 on all cores, compiled with g++; a second row gives the same in bfloat16 on matrix units. Rows whose
package, compiler or instructions are missing are left out.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from scripts.benchmarks.machine import Limit, compile_limit, cores, describe_machine
from scripts.benchmarks.networks import r9y9_wavenet, random_mel, untrained_model
from scripts.benchmarks.timing import time_interleaved
from vocoder.engines import pick_engine
from vocoder.kernels import processor
from vocoder.model import VocoderModel
from vocoder.synthesis import Request, Vocoder

RATE = 22050
R9Y9_STREAM = "wavenet-vocoder 0.1.1, 1 stream"


@dataclass(frozen=True)
class Row:
    """A row of the table: each call of `work` generates `samples` samples."""

    name: str
    samples: int
    work: Callable[[], None]
    single: bool = False  # one utterance, to be compared with one stream
    rate: int = RATE  # Hz, for the real-time factor


@dataclass(frozen=True)
class Result:
    """A measured row, as --json writes it."""

    name: str
    samples_per_s: float
    realtime: float
    ratio_r9y9: float | None  # to wavenet-vocoder
    ratio_limit: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the most important rows, in about a minute")
    parser.add_argument("--rounds", type=int, help="default 3, or 1 if quick")
    parser.add_argument("--only", default="", metavar="WORDS", help="rows whose name contains these words")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    print(describe_machine(), flush=True)
    first_audio: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        limit = compile_limit(Path(folder))
        rows = [*r9y9_rows(arguments.quick), *our_rows(arguments.quick, first_audio)]
        rows = [row for row in rows if arguments.only in row.name]
        if limit is not None:
            rows.append(Row("limit", 0, limit.run))
        seconds = time_interleaved([row.work for row in rows], rounds, warm_up=0)
    results = evaluate(rows, seconds, limit)
    print_table(results)
    if limit is not None:
        print(f"multiply-add alone: {statistics.median(limit.gflops):.0f} GFLOP/s on all cores, in float32")
    if first_audio:
        print(f"streamed: first audio {1000 * statistics.median(first_audio):.0f} ms after the first frames of mel")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


# Rows of this project


def our_rows(quick: bool, first_audio: list[float]) -> list[Row]:
    """`first_audio` receives the latency, in seconds, of each run of the streamed row."""
    model = untrained_model("hifigan_22k", "model=r9y9")
    precisions = ("float32", "bfloat16") if processor.HAS_BF16 else ("float32",)
    many, frames = (32, 16) if quick else (64 * cores(), 40)  # all lanes of all threads, on any processor
    vocoders = {p: cpu_vocoder(model, p, cores()) for p in precisions}
    single_thread = {p: cpu_vocoder(model, p, 1) for p in precisions}
    rows = []
    for p in precisions:
        rows += [
            batch_row(f"cpu {p}", vocoders[p], many, frames),
            batch_row(f"cpu {p}", single_thread[p], 1, frames),
            folded_row(f"cpu {p}", vocoders[p]),
        ]
    if quick:
        return rows
    rows += [
        batch_row("reference", Vocoder(model, pick_engine(model, "reference"), postfilter=0), 1, frames=4),
        batch_row("reference", Vocoder(model, pick_engine(model, "reference"), postfilter=0), 64, frames=2),
    ]
    plain = untrained_model("hifigan_22k", "model=r9y9", "model.linear_prediction.kind=none")
    for p in precisions:
        rows += [
            batch_row(f"cpu {p}", vocoders[p], 8),
            batch_row(f"cpu {p}, 1 thread", single_thread[p], 16),
            batch_row(f"cpu {p}, no linear prediction", cpu_vocoder(plain, p, cores()), 32),
        ]
    return [*rows, streamed_row(first_audio)]


def cpu_vocoder(model: VocoderModel, precision: str, threads: int) -> Vocoder:
    return Vocoder(model, pick_engine(model, "cpu", precision, threads), postfilter=0)


def batch_row(engine: str, vocoder: Vocoder, utterances: int, frames: int = 40) -> Row:
    """Utterances of `frames` frames, generated at the same time."""
    requests = [Request(str(i), random_mel(vocoder.spec, frames)) for i in range(utterances)]

    def work() -> None:
        vocoder.synthesize_batch(requests)

    name = f"{engine}, {utterances} utterances" if utterances > 1 else f"{engine}, 1 stream"
    return Row(name, utterances * frames * vocoder.spec.hop_length, work, single=utterances == 1)


def folded_row(engine: str, vocoder: Vocoder) -> Row:
    """One utterance of six seconds, generated in pieces."""
    frames = 6 * RATE // vocoder.spec.hop_length
    request = Request("folded", random_mel(vocoder.spec, frames))

    def work() -> None:
        vocoder.synthesize_folded(request)

    return Row(f"{engine}, one of 6 s, folded", frames * vocoder.spec.hop_length, work, single=True)


def streamed_row(first_audio: list[float]) -> Row:
    """The small network at 16 kHz, given one frame of mel at a time, as by a text-to-speech system.

    Each run appends to `first_audio` the seconds from the first mel frame to the first audio; the frames of context
    after it are available at once.
    """
    vocoder = cpu_vocoder(untrained_model("speech_16k", "model=small"), "float32", threads=1)
    mel = random_mel(vocoder.spec, 80)

    def work() -> None:
        started, seconds = time.perf_counter(), []
        for _ in vocoder.stream(frame[:, None] for frame in mel.T):
            seconds.append(time.perf_counter() - started)
        first_audio.append(seconds[0])

    name = "cpu float32, small network at 16 kHz, streamed, 1 thread"
    return Row(name, 80 * vocoder.spec.hop_length, work, single=True, rate=vocoder.sample_rate)


# Rows of r9y9's wavenet-vocoder


def r9y9_rows(quick: bool) -> list[Row]:
    """One stream and batches of it; none where the package is not installed."""
    try:
        model = r9y9_wavenet().eval()
    except ImportError:
        return []
    model.make_generation_fast_()
    return [r9y9_row(model, size, quick) for size in ((1, 32) if quick else (1, 8, 32))]


def r9y9_row(model: torch.nn.Module, size: int, quick: bool) -> Row:
    frames = 1 if quick else 2
    mel, first = torch.rand(size, 80, frames), torch.zeros(size, 1, 1)

    def work() -> None:
        with torch.no_grad():
            model.incremental_forward(c=mel, test_inputs=first, T=256 * frames)  # type: ignore[operator]

    name = R9Y9_STREAM if size == 1 else f"wavenet-vocoder 0.1.1, batch of {size}"
    return Row(name, size * 256 * frames, work)


# The table


def evaluate(rows: list[Row], seconds: np.ndarray, limit: Limit | None) -> list[Result]:
    """Results of rows from their seconds [rounds, rows], and of the limit."""
    rates = {row.name: row.samples / statistics.median(column) for row, column in zip(rows, seconds.T, strict=True)}
    r9y9_rates = {name: rate for name, rate in rates.items() if name.startswith("wavenet-vocoder")}
    bound = None
    if limit is not None:
        bound = rates["limit"] = statistics.median(limit.samples_per_s)
    results = []
    for row in rows:
        r9y9_rate = r9y9_rates.get(R9Y9_STREAM) if row.single else max(r9y9_rates.values(), default=None)
        results.append(result_of(row.name, rates[row.name], row.rate, r9y9_rate, bound))
    matrix_rate = statistics.median(limit.matrix_samples_per_s) if limit is not None else 0
    if matrix_rate:
        results.append(result_of("limit, bfloat16 on matrix units", matrix_rate, RATE, None, bound))
    return results


def result_of(name: str, samples_per_s: float, rate: int, r9y9: float | None, limit: float | None) -> Result:
    """A row's result at a sample rate of `rate` Hz; `r9y9` and `limit` are samples a second to compare with."""
    ratio_r9y9 = samples_per_s / r9y9 if r9y9 else None
    return Result(name, samples_per_s, samples_per_s / rate, ratio_r9y9, samples_per_s / limit if limit else None)


def print_table(results: list[Result]) -> None:
    print("\n| | samples/s | × real time | × wavenet-vocoder | of the limit |\n| --- | --- | --- | --- | --- |")
    for r in results:
        r9y9, limit = (f"{ratio:.3g}" if ratio is not None else "" for ratio in (r.ratio_r9y9, r.ratio_limit))
        print(f"| {r.name} | {r.samples_per_s:.0f} | {r.realtime:.3g} | {r9y9} | {limit} |")


if __name__ == "__main__":
    main()
