"""Torture tests of training: kills, signals, damaged files, full disks. The figures of docs/reliability.md.

    python -m scripts.torture.torture_training [--quick] [--only WORDS] [--seed 0]

Hundreds of runs of a tiny network on noise, each in a forked process. Each line of output has the number of failures,
the number of trials, and what counts as a failure; the exit code is 1 if there was one. --quick runs a tenth of the
trials.
"""

import argparse
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from scripts.benchmarks.benchmark_training import resident
from scripts.torture.torture import ENDLESS, Torture, children_of, in_child, newest_step, wait_until
from vocoder.commands import cli, train
from vocoder.data.dataset import SegmentBatches, Shape
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.mel_files import read_mel
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.settings import from_mapping
from vocoder.training import Run, Trainer

# Each test of a promise yields (what counts as a failure, trials, failures).

Figures = Iterator[tuple[str, int, int]]


def killed(torture: Torture) -> Figures:
    """kill -9 at random moments, half of them during a save; then a restart."""
    kills = torture.times(50)
    unloadable = lost = partial_files = 0
    run = torture.run("killed")
    for turn in range(kills):
        process, before = torture.start("killed", ENDLESS), set(checkpoints_in(run.directory))
        wait_until(partial(saving if turn % 2 else saved, run, before), process)
        if turn % 2 == 0:
            time.sleep(torture.random.uniform(0, 0.1))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        complete = checkpoints_in(run.directory)
        found = newest_step(run)
        unloadable += complete != [] and found is None
        lost += found is not None and bool(complete) and found < int(complete[-1].name[5:])
        log = run.directory / "log.jsonl"
        lines, again = log.read_text() if log.exists() else "", torture.start("killed", ENDLESS)
        wait_until(lambda log=log, lines=lines: log.exists() and log.read_text() != lines, again)  # type: ignore[misc]
        partial_files += len(older_than_a_second(run))
        os.kill(again, signal.SIGKILL)
        os.waitpid(again, 0)
    yield "killed (-9), and no checkpoint can be loaded", kills, unloadable
    yield "killed, and a complete checkpoint is lost", kills, lost
    yield "killed, and half-written files are there after the next start", kills, partial_files


def saving(run: Run, before: set[Path]) -> bool:
    return any(run.checkpoints.glob(".step-*.partial"))


def saved(run: Run, before: set[Path]) -> bool:
    return bool(set(checkpoints_in(run.directory)) - before)


def older_than_a_second(run: Run) -> list[Path]:
    """Partial checkpoints older than a second, which the running process is not writing."""
    return [path for path in run.checkpoints.glob(".*.partial") if time.time() - path.stat().st_mtime > 1]


def exact(torture: Torture) -> Figures:
    """Runs that are stopped twice at random moments and resumed, compared with uninterrupted ones."""
    for number, settings in enumerate(([], ["training.batch.workers=2"], ["training.batch.accumulate=2"])):
        length = "training.length.steps=40"
        torture.train(f"uninterrupted-{number}", length, *settings)
        for turn in range(torture.times(5)):
            name = f"stopped-{number}-{turn}"
            for _ in range(2):
                process = torture.start(name, length, *settings)
                time.sleep(torture.random.uniform(0.1, 0.6))
                os.kill(process, torture.random.choice((signal.SIGKILL, signal.SIGTERM)))
                os.waitpid(process, 0)
            torture.train(name, length, *settings)
        wrong = sum(
            torture.digest(f"stopped-{number}-{turn}") != torture.digest(f"uninterrupted-{number}")
            for turn in range(torture.times(5))
        )
        options = " ".join(settings) or "default options"
        yield f"stopped twice ({options}), and weights, averages, optimiser or losses differ", torture.times(5), wrong


def damaged(torture: Torture) -> Figures:
    """Truncated and changed files in the newest checkpoint."""
    torture.train("intact", "training.length.steps=6")
    intact, broken = torture.run("intact"), torture.run("broken")
    for damage, count in (("truncated at some length", torture.times(100)), ("one byte changed", torture.times(1000))):
        undetected = unnamed = 0
        for _ in range(count):
            shutil.rmtree(broken.directory, ignore_errors=True)
            shutil.copytree(intact.directory, broken.directory)
            newest, before = checkpoints_in(broken.directory)[-1], checkpoints_in(broken.directory)[-2]
            file = torture.random.choice(sorted(newest.iterdir()))
            content = bytearray(file.read_bytes())
            at = torture.random.randrange(len(content))
            if damage.startswith("truncated"):
                del content[at:]
            else:
                content[at] ^= torture.random.randrange(1, 256)
            file.write_bytes(content)
            messages: list[str] = []
            found = broken.newest(messages.append)
            undetected += found is None or found.directory != before
            unnamed += not messages or newest.name not in messages[0] or before.name not in messages[0]
        yield f"{damage}, and not detected, or the checkpoint before it not used", count, undetected
        yield f"{damage}, and the message does not name both checkpoints", count, unnamed


CALLS = ("os.open", "os.fsync", "pathlib.Path.rename", "pathlib.Path.touch", "pathlib.Path.mkdir", "torch.save")


def starved(torture: Torture) -> Figures:
    """Each call of a save fails in turn for lack of space; then there is space again."""
    harmed = stuck = silent = tried = 0
    for call in CALLS:
        for after in range(torture.times(5)):
            name = f"starved-{call}-{after}"
            torture.train(name, "training.length.steps=3")
            first = torture.run(name).checkpoint_directory(3)
            before = contents(first)
            tried += 1
            code = in_child(partial(failing, torture, call, after, name))
            found = newest_step(torture.run(name))
            harmed += found is None or found < 3 or contents(first) != before
            silent += code != 2 and found != 9
            stuck += torture.train(name, "training.length.steps=9") != 0 or newest_step(torture.run(name)) != 9
    yield "no space at some call of a save, and the checkpoint before is harmed", tried, harmed
    yield "the same, and the run ends early without a one-line error", tried, silent
    yield "no space, then space again, and the run does not resume and finish", tried, stuck
    yield from on_a_full_disk(torture)


def failing(torture: Torture, call: str, after: int, name: str) -> int:
    """Train; during saves, calls of that name fail from the call after the first `after` on."""
    calls = [0]
    place, _, attribute = call.rpartition(".")
    module: Any = sys.modules[place] if place in sys.modules else getattr(sys.modules["pathlib"], "Path")  # noqa: B009
    original = getattr(module, attribute)

    def full(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]) if arguments else None)
        return original(*arguments, **options)

    save = Trainer.save

    def starving(trainer: Trainer, directory: Path) -> None:
        with patch.object(module, attribute, full):
            save(trainer, directory)

    with patch.object(Trainer, "save", starving):
        return cli.reporting("vocoder-train", lambda: train.job(torture.config(name, "training.length.steps=9")))


def contents(checkpoint: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in checkpoint.iterdir()}


def on_a_full_disk(torture: Torture) -> Figures:
    """A small file system in memory that fills up between two parts of a run."""
    disk = torture.folder / "runs" / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True)
    if mounted.returncode:
        print("  (not permitted to mount a file system here: a full disk was not tested)")
        return
    try:
        torture.train("disk/run", "training.length.steps=3")
        before = open_checkpoint(checkpoints_in(disk / "run")[-1]).step
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(4 << 20))
        code = torture.train("disk/run", "training.length.steps=9")
        after = newest_step(Run(disk / "run"))
        (disk / "filler").unlink()
        end = torture.train("disk/run", "training.length.steps=9")
        yield "a full disk, and the run ends with code 0 or harmed", 1, int(code == 0 or after != before)
        yield "a full disk, then space again, and the run does not resume and finish", 1, int(end != 0)
    finally:
        subprocess.run(["umount", disk], check=False)


def signalled(torture: Torture) -> Figures:
    """SIGTERM and SIGUSR1 at random moments, sent twice."""
    count, wrong, slow, orphans = torture.times(20), 0, 0, 0
    longest = 0.0
    for turn in range(count):
        name = f"signalled-{turn}"
        process = torture.start(name, ENDLESS, f"training.batch.workers={turn % 2 * 2}")
        log = torture.run(name).directory / "log.jsonl"
        wait_until(lambda log=log: log.exists() and log.stat().st_size, process)  # type: ignore[misc]
        time.sleep(torture.random.uniform(0, 0.3))
        children = children_of(process)
        number = (signal.SIGTERM, signal.SIGUSR1)[turn % 4 // 2]
        started = time.monotonic()
        os.kill(process, number)
        time.sleep(0.01)
        os.kill(process, number)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        longest = max(longest, time.monotonic() - started)
        slow += longest > 30
        last = torture.losses(name)[-1][0]
        wrong += code != 143 or newest_step(torture.run(name)) != last
        orphans += any(Path(f"/proc/{child}").exists() for child in children)
    yield f"SIGTERM or SIGUSR1 twice, and not 143 or not saved (the slowest took {longest:.2f} s)", count, wrong + slow
    yield "the same, and a data-loading process is left", count, orphans


def poisoned(torture: Torture) -> Figures:
    """NaN and infinity at random places in data and gradients."""
    count = torture.times(200)
    unnoticed, changed = torture.in_process(lambda: poison(torture, count))
    yield "NaN or infinity in data or a gradient, and the step was applied", count, unnoticed
    yield "the same, and a weight, an average or the optimiser changed", count, changed


def poison(torture: Torture, count: int) -> list[int]:
    """[steps that were applied, steps that changed something]."""
    trainer = train.trainer_for(from_mapping(train.Config, torture.config("poisoned")))
    trainer.log = lambda message: None
    changed = unnoticed = 0
    for turn in range(count):
        if turn % 10 == 0:
            trainer.train_step(trainer.data[turn])
        before = [tensor.clone() for tensor in tensors_of(trainer)]
        batch = trainer.data[turn]
        value = torture.random.choice((float("nan"), float("inf"), -float("inf")))
        hook = None
        if turn % 2:
            flat = batch.mel.view(-1)
            flat[torture.random.randrange(len(flat))] = value
        else:
            weight = torture.random.choice([p for p in trainer.model.parameters() if p.requires_grad])
            hook = weight.register_hook(lambda gradient, v=value: torch.full_like(gradient, v))
        result = trainer.train_step(batch)
        if hook is not None:
            hook.remove()
        unnoticed += result.applied
        changed += not all(torch.equal(a, b) for a, b in zip(before, tensors_of(trainer), strict=True))
    return [unnoticed, changed]


def tensors_of(trainer: Any) -> list[torch.Tensor]:
    optimizer = [torch.as_tensor(v) for s in trainer.optimizer.state_dict()["state"].values() for v in s.values()]
    return [*trainer.model.state_dict().values(), *trainer.averaged_model().state_dict().values(), *optimizer]


def ordered(torture: Torture) -> Figures:
    """The same segments for any number of loading or training processes."""

    def drawn(workers: int, rank: int = 0, size: int = 1) -> list[tuple[str, bytes]]:
        data = SegmentBatches(Store(torture.store), 4, 2, Shape(1, 2), 3, share=(rank, size))
        batches = data.batches(7, workers, pin_memory=False)
        taken = [next(batches) for _ in range(torture.times(100))]
        return [(i, w.numpy().tobytes()) for b in taken for i, w in zip(b.ids, b.waves, strict=True)]

    expected = drawn(0)
    shares = [drawn(0, rank, 2) for rank in (0, 1)]
    together = [item for n in range(0, len(shares[0]), 2) for share in shares for item in share[n : n + 2]]
    wrong = sum(found != expected for found in (drawn(1), drawn(4), together))
    yield (
        f"{len(expected)} segments, in another order with 1 or 4 loading or 2 training processes than with one",
        3,
        wrong,
    )


EXECUTED = Path(tempfile.gettempdir()) / f"executed-{os.getpid()}"


def evil_pickle() -> bytes:
    """A pickle that creates EXECUTED when loaded; written by hand, so that nothing here imports pickle."""
    return f"cos\nsystem\n(S'touch {EXECUTED}'\ntR.".encode()


def evil_array() -> bytes:
    """The same pickle in an .npy file of objects."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return header.getvalue() + evil_pickle()


def write_zip(path: Path, member: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)


def planted(torture: Torture) -> Figures:
    """Pickles in place of every file that is read."""
    torture.train("planted", "training.length.steps=3")
    newest = checkpoints_in(torture.run("planted").directory)[-1]
    evil = evil_pickle()
    mels = torture.folder / "mels"
    mels.mkdir()
    (mels / "object.npy").write_bytes(evil_array())
    (mels / "plain.npy").write_bytes(evil)
    (mels / "plain.pt").write_bytes(evil)
    (mels / "evil.safetensors").write_bytes(evil)
    write_zip(mels / "zip.pt", "archive/data.pkl", evil)
    write_zip(mels / "object.npz", "mel.npy", evil_array())
    tried = accepted = 0
    for file in sorted(mels.iterdir()):
        tried += 1
        try:
            read_mel(file)
            accepted += 1
        except UserError:
            pass
    copy = torture.run("copy")
    for file in sorted(newest.iterdir()):
        shutil.rmtree(copy.directory, ignore_errors=True)
        shutil.copytree(torture.run("planted").directory, copy.directory)
        tried += 1
        (copy.checkpoints / newest.name / file.name).write_bytes(evil)
        accepted += newest_step(copy) == 3
    try:
        from_mapping(train.Config, {"_target_": "os.system", "_args_": [f"touch {EXECUTED}"]})
        accepted += 1
    except UserError:
        pass
    yield "a pickle or a _target_ in place of a file or option, and it was executed", tried + 1, int(EXECUTED.exists())
    yield "the same, and it was accepted", tried + 1, accepted


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
                sizes.append(resident("VmRSS"))
        return sizes

    early, late = torture.in_process(work)
    growth = late / early - 1
    yield (
        f"{steps} steps, and resident memory grew by more than 5 % after the first tenth (by {100 * growth:.2f} %)",
        1,
        int(growth > 0.05),
    )


PROMISES: dict[str, Callable[[Torture], Figures]] = {
    "1 killed": killed,
    "2 exact": exact,
    "3 ordered": ordered,
    "4 damaged": damaged,
    "5 starved": starved,
    "6 signalled": signalled,
    "7 poisoned": poisoned,
    "10 planted": planted,
    "11 grows": grows,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    parser.add_argument("--only", default="", metavar="WORDS", help="only tests whose name contains this")
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
    EXECUTED.unlink(missing_ok=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
