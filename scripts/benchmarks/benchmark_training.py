"""Speed and memory of training, compared with r9y9's wavenet-vocoder, in one run.

    pip install --no-deps wavenet-vocoder==0.1.1
    python -m scripts.benchmarks.benchmark_training [--quick] [--rounds 5] [--only WORDS] [--json FILE]

A step is forward pass, loss, backward pass, Adamax and the moving average of the weights. Unless a row says otherwise,
the network has the size of r9y9's mixture-of-logistics recipe (24 layers, 128/256/128 channels, 10 logistics), and a
step has 2 x 10 240 samples at hop 256. r9y9's wavenet-vocoder (0.1.1 from PyPI) is trained with its own
network and loss, and with the optimiser and averaging of this project.

Every row has a process of its own. The processes take turns in every round: one untimed step, to fill the caches, and
one timed step. A row is the median of the rounds. Peak memory is the growth of the process's peak resident memory since
all imports. The limit of a row is the speed of one matrix product in its precision ([20480 x 384] by [384 x 256]),
divided by the operations that torch counts in the row's step with plain layers; the compiled layers need fewer
multiplications than that.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from scripts.benchmarks.machine import describe_machine, resident_bytes
from scripts.benchmarks.processes import piped_process
from scripts.benchmarks.training_steps import BATCH, SAMPLES, TrainingStep, convolution_step, r9y9_step, trainer_step

R9Y9 = "wavenet-vocoder 0.1.1, float32"
GROUP = 4  # processes that take turns, besides r9y9's

LONG = ("model=r9y9", "model.wavenet.layers=30", "model.wavenet.stacks=3")
NO_PREDICTION = "model.linear_prediction.kind=none"
QUICK: dict[str, Callable[[], TrainingStep]] = {
    R9Y9: r9y9_step,
    "float32": partial(trainer_step, "model=r9y9"),
    "bfloat16": partial(trainer_step, "model=r9y9", precision="bfloat16"),
}
ROWS: dict[str, Callable[[], TrainingStep]] = QUICK | {
    "float32, activations recomputed": partial(trainer_step, "model=r9y9", "training.batch.recompute=true"),
    "bfloat16, activations recomputed": partial(
        trainer_step, "model=r9y9", "training.batch.recompute=true", precision="bfloat16"
    ),
    "bfloat16, in two parts": partial(trainer_step, "model=r9y9", "training.batch.accumulate=2", precision="bfloat16"),
    "bfloat16, no linear prediction": partial(trainer_step, "model=r9y9", NO_PREDICTION, precision="bfloat16"),
    "bfloat16, 30 layers in 3 stacks": partial(trainer_step, *LONG, precision="bfloat16"),
    "bfloat16, small network at 16 kHz": partial(trainer_step, "model=small", precision="bfloat16", mel="speech_16k"),
    "layers alone as convolutions, float32": partial(convolution_step, "float32"),
    "layers alone as convolutions, bfloat16": partial(convolution_step, "bfloat16"),
}


@dataclass
class Measurement:
    """What a row's process reports."""

    samples: int  # of a step
    flops: int  # of a step
    peak_bytes: int
    seconds: list[float] = field(default_factory=list)  # of each timed step

    @property
    def samples_per_s(self) -> float:
        return self.samples / statistics.median(self.seconds)


@dataclass(frozen=True)
class Result:
    """A measured row, as --json writes it."""

    name: str
    samples_per_s: float
    peak_bytes: int
    ratio_r9y9: float | None  # of speed to wavenet-vocoder's
    ratio_limit: float
    memory_r9y9: float | None  # of peak memory to wavenet-vocoder's


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the most important rows, within 45 seconds")
    parser.add_argument("--rounds", type=int, help="default 7, or 1 if quick")
    parser.add_argument("--only", default="", metavar="WORDS", help="rows whose name contains these words")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 7)
    names = [name for name in (QUICK if arguments.quick else ROWS) if arguments.only in name]
    if find_spec("wavenet_vocoder") is None:
        names = [name for name in names if name != R9Y9]
    print(describe_machine(), flush=True)
    limits = {"float32": product_flops_per_s(torch.float32), "bfloat16": product_flops_per_s(torch.bfloat16)}
    results = evaluate(measure(names, rounds), limits)
    print_table(results)
    print(", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in limits.items()), "in a matrix product")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def product_flops_per_s(dtype: torch.dtype) -> float:
    """FLOP/s of one large matrix product, the best of ten."""
    a, b = torch.randn(BATCH * SAMPLES, 384, dtype=dtype), torch.randn(384, 256, dtype=dtype)
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] / min(seconds)


# Processes


def measure(names: list[str], rounds: int) -> dict[str, Measurement]:
    """Run the rows in groups of a few processes, r9y9's in each group, so that compared rows run close in time."""
    measurements: dict[str, Measurement] = {}
    others = [name for name in names if name != R9Y9]
    for first in range(0, len(others), GROUP):
        group = [name for name in names if name == R9Y9] + others[first : first + GROUP]
        measure_group(group, rounds, measurements)
    return {name: measurements[name] for name in names}


def measure_group(group: list[str], rounds: int, measurements: dict[str, Measurement]) -> None:
    """Time `rounds` steps of each row, in turn; adds to the seconds of a row that an earlier group measured."""
    with ExitStack() as stack:
        steps = {}
        for name in group:
            measurement, steps[name] = stack.enter_context(row_process(name))
            if name in measurements:
                measurement.seconds = measurements[name].seconds
            measurements[name] = measurement
        for _ in range(rounds):
            for name, step in steps.items():
                measurements[name].seconds.append(step())


@contextmanager
def row_process(row: str) -> Iterator[tuple[Measurement, Callable[[], float]]]:
    """A process for a row: its measurement, and a function that has it take a timed step and returns the seconds."""
    with piped_process(serve_steps, row) as pipe:

        def step() -> float:
            pipe.send(True)
            seconds: float = pipe.recv()
            return seconds

        yield pipe.recv(), step


def serve_steps(row: str, pipe: Connection) -> None:
    """In a row's process: send its Measurement, then answer each message with the seconds of a step."""
    before = resident_bytes("VmRSS")
    step = ROWS[row]()
    step.run()
    peak = resident_bytes("VmHWM") - before
    pipe.send(Measurement(samples=step.samples, flops=step.count_flops(), peak_bytes=peak))
    while pipe.recv():
        step.run()
        started = time.perf_counter()
        step.run()
        pipe.send(time.perf_counter() - started)


# The table


def evaluate(measurements: dict[str, Measurement], limits: dict[str, float]) -> list[Result]:
    """Results in the order of the rows; `limits` in FLOP/s of each precision."""
    r9y9 = measurements.get(R9Y9)
    results = []
    for name, row in measurements.items():
        limit = limits["bfloat16" if "bfloat16" in name else "float32"]
        results.append(
            Result(
                name=name,
                samples_per_s=row.samples_per_s,
                peak_bytes=row.peak_bytes,
                ratio_r9y9=row.samples_per_s / r9y9.samples_per_s if r9y9 else None,
                ratio_limit=row.flops * row.samples_per_s / row.samples / limit,
                memory_r9y9=row.peak_bytes / r9y9.peak_bytes if r9y9 else None,
            )
        )
    return results


def print_table(results: list[Result]) -> None:
    print("\n| | samples/s | × wavenet-vocoder | peak MiB | memory / wavenet-vocoder | of the limit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        speed, memory = (f"{ratio:.2f}" if ratio is not None else "" for ratio in (r.ratio_r9y9, r.memory_r9y9))
        print(f"| {r.name} | {r.samples_per_s:.0f} | {speed} | {r.peak_bytes / 2**20:.0f} | {memory} ", end="")
        print(f"| {r.ratio_limit:.2f} |")


if __name__ == "__main__":
    main()
