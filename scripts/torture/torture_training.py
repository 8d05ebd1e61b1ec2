"""Torture tests of training: kills, signals, damaged files, full disks. The figures of docs/reliability.md.

    python -m scripts.torture.torture_training [--quick] [--only NAME] [--seed 0]

Hundreds of runs of a tiny network on noise, each in a forked process. Each line of output has the number of failures,
the number of trials, and what counts as a failure; the exit code is 1 if there was one. --quick runs a tenth of the
trials.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.machine import resident_bytes
from scripts.torture.corruption import damaged, planted, poisoned
from scripts.torture.interruptions import exact, killed, signalled, starved
from scripts.torture.torture import Figures, Torture
from vocoder.commands import train
from vocoder.data.dataset import Margins, SegmentBatches
from vocoder.data.store import Store
from vocoder.settings import from_mapping


def ordered(torture: Torture) -> Figures:
    """The same segments for any number of loading or training processes."""

    def segments(workers: int, rank: int = 0, size: int = 1) -> list[tuple[str, bytes]]:
        data = SegmentBatches(Store(torture.store), 4, 2, Margins(1, 2), 3, rank=rank, world_size=size)
        batches = data.batches(7, workers, pin_memory=False)
        taken = [next(batches) for _ in range(torture.times(100))]
        return [(i, w.numpy().tobytes()) for b in taken for i, w in zip(b.ids, b.waves, strict=True)]

    expected = segments(0)
    shares = [segments(0, rank, 2) for rank in (0, 1)]
    together = [item for n in range(0, len(shares[0]), 2) for share in shares for item in share[n : n + 2]]
    wrong = sum(found != expected for found in (segments(1), segments(4), together))
    yield (
        f"{len(expected)} segments, in another order with 1 or 4 loading or 2 training processes than with one",
        3,
        wrong,
    )


def grows(torture: Torture) -> Figures:
    """Resident memory over many steps."""
    steps = torture.times(10_000)

    def work() -> list[int]:
        trainer = train.trainer_for(from_mapping(train.Config, torture.config("memory")))
        batches = trainer.data.batches(0, 0, pin_memory=False)
        sizes = []
        for step in range(steps):
            trainer.train_step(next(batches))
            if step in (steps // 10, steps - 1):
                sizes.append(resident_bytes("VmRSS"))
        return sizes

    early, late = torture.in_process(work)
    growth = late / early - 1
    yield (
        f"{steps} steps, and resident memory grew by more than 5 % after the first tenth (by {100 * growth:.2f} %)",
        1,
        int(growth > 0.05),
    )


PROMISES: dict[str, Callable[[Torture], Figures]] = {
    "kill": killed,
    "resume": exact,
    "order": ordered,
    "damage": damaged,
    "disk-full": starved,
    "signals": signalled,
    "nan": poisoned,
    "pickle": planted,
    "memory": grows,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    parser.add_argument(
        "--only", default="", metavar="NAME", help=f"only tests whose name contains this: {', '.join(PROMISES)}"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failures = 0
    for name, promise in PROMISES.items():
        if arguments.only not in name:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(Path(folder), 0.1 if arguments.quick else 1.0, arguments.seed)
            for failure, count, wrong in promise(torture):
                failures += wrong
                print(f"{name:12} {wrong:4} of {count:5} times: {failure}", flush=True)
        print(f"{name:12} in {time.monotonic() - started:.0f} s", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
