"""What becomes of training runs that are killed, signalled, damaged and starved: the figures of docs/reliability.md.

    python -m scripts.torture.torture_training [--quick] [--only WORDS] [--seed 0]

A tiny network on noise, hundreds of runs, each in a process that is forked from this one. Each line says what was done
how often, and how often the promise was broken; the exit code is 1 if one was. --quick does a tenth of everything.
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

from scripts.benchmarks.machine import resident_bytes
from scripts.torture.torture import ENDLESS, Torture, children_of, in_child, newest_of, wait_until
from vocoder.commands import cli, train
from vocoder.data.dataset import Margins, SegmentBatches
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.mel_files import read_mel
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.settings import from_mapping
from vocoder.training import Run, Trainer

# Promises. Each yields (what was done, how often, how often the promise was broken).

Figures = Iterator[tuple[str, int, int]]


def killed(torture: Torture) -> Figures:
    """kill -9 at random instants, half of them in the middle of a save; then started again."""
    kills = torture.times(50)
    unloadable = lost = leftovers = 0
    run = torture.run("killed")
    for turn in range(kills):
        process, before = torture.start("killed", ENDLESS), set(checkpoints_in(run.directory))
        wait_until(partial(saving if turn % 2 else saved, run, before), process)
        if turn % 2 == 0:
            time.sleep(torture.random.uniform(0, 0.1))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        complete = checkpoints_in(run.directory)
        found = newest_of(run)
        unloadable += complete != [] and found is None
        lost += found is not None and bool(complete) and found < int(complete[-1].name[5:])
        log = run.directory / "log.jsonl"
        lines, again = log.read_text() if log.exists() else "", torture.start("killed", ENDLESS)
        wait_until(lambda log=log, lines=lines: log.exists() and log.read_text() != lines, again)  # type: ignore[misc]
        leftovers += len(older_than_a_second(run))
        os.kill(again, signal.SIGKILL)
        os.waitpid(again, 0)
    yield "killed (-9), and no checkpoint can be loaded", kills, unloadable
    yield "killed, and a complete checkpoint is lost", kills, lost
    yield "killed, and half-written files are there after the next start", kills, leftovers


def saving(run: Run, before: set[Path]) -> bool:
    return any(run.checkpoints.glob(".step-*.partial"))


def saved(run: Run, before: set[Path]) -> bool:
    return bool(set(checkpoints_in(run.directory)) - before)


def older_than_a_second(run: Run) -> list[Path]:
    """What is half-written, and not by the process that runs now."""
    return [path for path in run.checkpoints.glob(".*.partial") if time.time() - path.stat().st_mtime > 1]


def exact(torture: Torture) -> Figures:
    """N steps, against kills at random steps and as many resumptions as it takes."""
    for number, settings in enumerate(([], ["training.batch.workers=2"], ["training.batch.accumulate=2"])):
        length = "training.length.steps=40"
        torture.trained(f"undisturbed-{number}", length, *settings)
        for turn in range(torture.times(5)):
            name = f"disturbed-{number}-{turn}"
            for _ in range(2):
                process = torture.start(name, length, *settings)
                time.sleep(torture.random.uniform(0.1, 0.6))
                os.kill(process, torture.random.choice((signal.SIGKILL, signal.SIGTERM)))
                os.waitpid(process, 0)
            torture.trained(name, length, *settings)
        wrong = sum(
            torture.digest(f"disturbed-{number}-{turn}") != torture.digest(f"undisturbed-{number}")
            for turn in range(torture.times(5))
        )
        what = " ".join(settings) or "plainly"
        yield f"stopped twice ({what}), and weights, averages, optimiser or losses differ", torture.times(5), wrong


def damaged(torture: Torture) -> Figures:
    """Files of the newest checkpoint cut off and changed."""
    torture.trained("sound", "training.length.steps=6")
    sound, broken = torture.run("sound"), torture.run("broken")
    for what, count in (("truncated at some length", torture.times(100)), ("one byte changed", torture.times(1000))):
        undetected = unnamed = 0
        for _ in range(count):
            shutil.rmtree(broken.directory, ignore_errors=True)
            shutil.copytree(sound.directory, broken.directory)
            newest, before = checkpoints_in(broken.directory)[-1], checkpoints_in(broken.directory)[-2]
            file = torture.random.choice(sorted(newest.iterdir()))
            content = bytearray(file.read_bytes())
            at = torture.random.randrange(len(content))
            if what.startswith("truncated"):
                del content[at:]
            else:
                content[at] ^= torture.random.randrange(1, 256)
            file.write_bytes(content)
            told: list[str] = []
            found = broken.newest(told.append)
            undetected += found is None or found.directory != before
            unnamed += not told or newest.name not in told[0] or before.name not in told[0]
        yield f"{what}, and not detected and stepped over", count, undetected
        yield f"{what}, and the message does not name both checkpoints", count, unnamed


CALLS = ("os.open", "os.fsync", "pathlib.Path.rename", "pathlib.Path.touch", "pathlib.Path.mkdir", "torch.save")


CALLS = ("os.open", "os.fsync", "pathlib.Path.rename", "pathlib.Path.touch", "pathlib.Path.mkdir", "torch.save")


def starved(torture: Torture) -> Figures:
    """No space at every call that a save makes, one after another; then room again."""
    harmed = stuck = silent = tried = 0
    for call in CALLS:
        for after in range(torture.times(5)):
            name = f"starved-{call}-{after}"
            torture.trained(name, "training.length.steps=3")
            first = torture.run(name).checkpoint_directory(3)
            before = contents(first)
            tried += 1
            code = in_child(partial(failing, torture, call, after, name))
            found = newest_of(torture.run(name))
            harmed += found is None or found < 3 or contents(first) != before
            silent += code != 2 and found != 9
            stuck += torture.trained(name, "training.length.steps=9") != 0 or newest_of(torture.run(name)) != 9
    yield "no space at some call of a save, and the checkpoint before is harmed", tried, harmed
    yield "the same, and the run ends before its time without saying why in one line", tried, silent
    yield "no space, then room, and the run does not go on to its end", tried, stuck
    yield from on_a_full_disk(torture)


def failing(torture: Torture, call: str, after: int, name: str) -> int:
    """Train, with the after-th call of that name in saves, and all that follow, failing."""
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
    """A small file system in memory, filled up while the run is trained."""
    disk = torture.folder / "runs" / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True)
    if mounted.returncode:
        print("  (no right to mount a small file system here: a really full disk was not tried)")
        return
    try:
        torture.trained("disk/run", "training.length.steps=3")
        before = open_checkpoint(checkpoints_in(disk / "run")[-1]).step
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(4 << 20))
        code = torture.trained("disk/run", "training.length.steps=9")
        after = newest_of(Run(disk / "run"))
        (disk / "filler").unlink()
        end = torture.trained("disk/run", "training.length.steps=9")
        yield "a full disk, and the run ends with code 0 or harmed", 1, int(code == 0 or after != before)
        yield "a full disk, then room, and the run does not go on to its end", 1, int(end != 0)
    finally:
        subprocess.run(["umount", disk], check=False)


def signalled(torture: Torture) -> Figures:
    """SIGTERM and SIGUSR1 at random instants, twice each."""
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
        wrong += code != 143 or newest_of(torture.run(name)) != last
        orphans += any(Path(f"/proc/{child}").exists() for child in children)
    yield f"SIGTERM or SIGUSR1 twice, and not 143 or not saved (the slowest took {longest:.2f} s)", count, wrong + slow
    yield "the same, and a loading process is left", count, orphans


def poisoned(torture: Torture) -> Figures:
    """NaN and infinity put into data at random places, and into gradients."""
    count = torture.times(200)
    unnoticed, changed = torture.counted(lambda: poison(torture, count))
    yield "NaN or infinity in data or a gradient, and the step was taken", count, unnoticed
    yield "the same, and a weight, an average or the optimiser changed by a bit", count, changed


def poison(torture: Torture, count: int) -> list[int]:
    """(Steps that were taken, steps that changed something)."""
    trainer = train.trainer_for(from_mapping(train.Config, torture.config("poisoned")))
    trainer.tell = lambda message: None
    changed = unnoticed = 0
    for turn in range(count):
        if turn % 10 == 0:
            trainer.train_step(trainer.data[turn])
        before = [tensor.clone() for tensor in state_of(trainer)]
        batch = trainer.data[turn]
        value = torture.random.choice((float("nan"), float("inf"), -float("inf")))
        hook = None
        if turn % 2:
            flat = batch.mel.view(-1)
            flat[torture.random.randrange(len(flat))] = value
        else:
            weight = torture.random.choice([p for p in trainer.model.parameters() if p.requires_grad])
            hook = weight.register_hook(lambda gradient, v=value: torch.full_like(gradient, v))
        step = trainer.train_step(batch)
        if hook is not None:
            hook.remove()
        unnoticed += step.applied
        changed += not all(torch.equal(a, b) for a, b in zip(before, state_of(trainer), strict=True))
    return [unnoticed, changed]


def state_of(trainer: Any) -> list[torch.Tensor]:
    optimizer = [torch.as_tensor(v) for s in trainer.optimizer.state_dict()["state"].values() for v in s.values()]
    return [*trainer.model.state_dict().values(), *trainer.averaged_model().state_dict().values(), *optimizer]


def ordered(torture: Torture) -> Figures:
    """The same segments, however many load or share them."""

    def drawn(workers: int, rank: int = 0, size: int = 1) -> list[tuple[str, bytes]]:
        data = SegmentBatches(Store(torture.store), 4, 2, Margins(1, 2), 3, rank=rank, world_size=size)
        batches = data.batches(7, workers, pin_memory=False)
        taken = [next(batches) for _ in range(torture.times(100))]
        return [(i, w.numpy().tobytes()) for b in taken for i, w in zip(b.ids, b.waves, strict=True)]

    alone = drawn(0)
    shares = [drawn(0, rank, 2) for rank in (0, 1)]
    together = [item for n in range(0, len(shares[0]), 2) for share in shares for item in share[n : n + 2]]
    wrong = sum(found != alone for found in (drawn(1), drawn(4), together))
    yield f"{len(alone)} segments by 1 or 4 loading processes or 2 that train, in another order than by one", 3, wrong


EXECUTED = Path(tempfile.gettempdir()) / f"executed-{os.getpid()}"


def evil_pickle() -> bytes:
    """It makes a file when it is read (written out by hand: nothing here handles pickles)."""
    return f"cos\nsystem\n(S'touch {EXECUTED}'\ntR.".encode()


def evil_array() -> bytes:
    """The same as an .npy of objects."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return header.getvalue() + evil_pickle()


def write_zip(path: Path, member: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)


def planted(torture: Torture) -> Figures:
    """Pickles in the place of every file that is read."""
    torture.trained("planted", "training.length.steps=3")
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
        accepted += newest_of(copy) == 3
    try:
        from_mapping(train.Config, {"_target_": "os.system", "_args_": [f"touch {EXECUTED}"]})
        accepted += 1
    except UserError:
        pass
    yield "a pickle or a _target_ in the place of a file, and it was executed", tried + 1, int(EXECUTED.exists())
    yield "the same, and it was taken for what should be there", tried + 1, accepted


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

    early, late = torture.counted(work)
    growth = late / early - 1
    yield (
        f"{steps} steps, and resident memory grew by more than 5 % after a tenth (by {100 * growth:.2f} %)",
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
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", default="", metavar="WORDS", help="promises whose name has these words in it")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    broken = 0
    for name, promise in PROMISES.items():
        if arguments.only not in name:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(Path(folder), 0.1 if arguments.quick else 1.0, arguments.seed)
            for what, count, wrong in promise(torture):
                broken += wrong
                print(f"{name:12} {wrong:4} of {count:5} times: {what}", flush=True)
        print(f"{name:12} in {time.monotonic() - started:.0f} s", flush=True)
    EXECUTED.unlink(missing_ok=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
