"""Speed on a machine that others use, too: training and synthesis beside busy processes, and beside each other.

    python -m scripts.benchmarks.benchmark_busy [--seconds 20] [--rounds 3] [--json FILE]

The jobs of a row run at the same time, each in a process of its own, and all of them for the whole of the measurement.
A busy process is a loop on each core, which never waits. It and a job on all cores should have half of the machine
each, so a job beside it should keep half of its speed. The network is `small` at 16 kHz: training in batches of
2 x 10 240 samples, synthesis of many utterances. All rows take turns in every round, and a row is the median.

To compare with other ways of waiting, set OMP_WAIT_POLICY or GOMP_SPINCOUNT (docs/performance.md).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import vocoder  # noqa: F401  # before torch, which machine.py imports: it sets how OpenMP's threads wait

from scripts.benchmarks.machine import cores, describe_machine  # isort: skip
from scripts.benchmarks.processes import piped_process  # isort: skip

ROWS = {  # the jobs of each row; the first is measured
    "training, alone": ("training",),
    "training, beside a busy process": ("training", "busy"),
    "training, beside another training": ("training", "training"),
    "training, beside synthesis": ("training", "synthesis"),
    "synthesis, alone": ("synthesis",),
    "synthesis, beside a busy process": ("synthesis", "busy"),
    "synthesis, beside training": ("synthesis", "training"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the results, samples a second of each row")
    arguments = parser.parse_args()
    print(describe_machine(), flush=True)
    rates: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(arguments.rounds):
        for name, jobs in ROWS.items():
            rates[name].append(measure(jobs, arguments.seconds))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print("\n| | samples/s | of alone |\n| --- | --- | --- |")
    for name, rate in medians.items():
        alone = medians[f"{name.split(',')[0]}, alone"]
        print(f"| {name} | {rate:.0f} | {100 * rate / alone:.0f} % |")
    if arguments.json:
        arguments.json.write_text(json.dumps(medians, indent=2) + "\n")


def measure(jobs: tuple[str, ...], seconds: float) -> float:
    """Samples a second of the first job while all of them run."""
    with ExitStack() as stack:
        running = [stack.enter_context(piped_process(serve, job)) for job in jobs]
        for job in running:
            job.recv()  # ready
        for job in running:
            job.send(seconds)
        return float(running[0].recv())


def serve(job: str, pipe: Connection) -> None:
    """In the job's process: send True when it is ready, then the speed over the seconds received; and go on."""
    run = JOBS[job]()
    run()
    pipe.send(True)
    seconds = pipe.recv()
    started, samples = time.perf_counter(), 0
    while True:
        samples += run()
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            pipe.send(samples / elapsed)
            seconds = float("inf")


# Each job is a function that does a part of it, and returns the samples of that part.


def training() -> Callable[[], int]:
    from scripts.benchmarks.training_steps import trainer_step

    step = trainer_step("model=small", precision="auto", mel="speech_16k")

    def run() -> int:
        step.run()
        return step.samples

    return run


def synthesis() -> Callable[[], int]:
    from scripts.benchmarks.networks import random_mel, untrained_model
    from vocoder.engines import pick_engine
    from vocoder.synthesis import Request, Vocoder

    model = untrained_model("speech_16k", "model=small")
    voice = Vocoder(model, pick_engine(model, "cpu", "auto", cores()), postfilter=0)
    requests = [Request(str(i), random_mel(voice.spec, 20)) for i in range(64 * cores())]

    def run() -> int:
        voice.synthesize_batch(requests)
        return len(requests) * 20 * voice.spec.hop_length

    return run


def busy() -> Callable[[], int]:
    """A loop on each core; the speed means nothing."""
    for _ in range(cores() - 1):
        subprocess.Popen([sys.executable, "-c", LOOP, str(os.getpid())])
    return lambda: sum(1 for _ in range(100_000))


LOOP = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"  # its parent is ended from outside

JOBS = {"training": training, "synthesis": synthesis, "busy": busy}

if __name__ == "__main__":
    main()
