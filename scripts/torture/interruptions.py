"""Promises about runs that are killed, signalled, or out of disk space."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripts.torture.torture import ENDLESS, Figures, Torture, children_of, in_child, newest_step, wait_until
from vocoder.commands import cli, train
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.training import Run, Trainer


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
        return cli.report_errors("vocoder-train", lambda: train.job(torture.config(name, "training.length.steps=9")))


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
