"""Promises about damaged checkpoints, NaN and infinity, and files that would run code."""

import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.torture.torture import Figures, Torture, newest_step
from vocoder.commands import train
from vocoder.errors import UserError
from vocoder.features.mel_files import read_mel
from vocoder.model.checkpoint import checkpoints_in
from vocoder.settings import from_mapping


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
            found = broken.recover_newest(messages.append)
            undetected += found is None or found.directory != before
            unnamed += not messages or newest.name not in messages[0] or before.name not in messages[0]
        yield f"{damage}, and not detected, or the checkpoint before it not used", count, undetected
        yield f"{damage}, and the message does not name both checkpoints", count, unnamed


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
    return [*trainer.model.state_dict().values(), *trainer.ema_model().state_dict().values(), *optimizer]


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
    executed = EXECUTED.exists()
    EXECUTED.unlink(missing_ok=True)
    yield "a pickle or a _target_ in place of a file or option, and it was executed", tried + 1, int(executed)
    yield "the same, and it was accepted", tried + 1, accepted
