"""The directory of a run: pruning, resuming, locking, and partial checkpoints."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from vocoder.errors import UserError
from vocoder.model import VocoderConfig, build_model, save_checkpoint
from vocoder.model.checkpoint import checkpoints_in
from vocoder.training import Run


@pytest.fixture
def run(tmp_path: Path, tiny_config: VocoderConfig) -> Run:
    """A run with five checkpoints: the second is the best by dev bits, the last was not evaluated."""
    run = Run(tmp_path)
    weights = {"model": build_model(tiny_config).state_dict()}
    for step, bits in ((1, 9.0), (2, 7.0), (3, 8.5), (4, 8.0), (5, None)):
        metrics = {"step": step, "dev_bits": bits}
        save_checkpoint(run.checkpoint_directory(step), tiny_config, weights, metrics, {"step": step})
    return run


def steps(run: Run) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints_in(run.directory)]


@pytest.mark.parametrize(("keep", "kept"), [(1, [2, 5]), (2, [2, 4, 5]), (4, [2, 3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_the_newest_checkpoints_and_the_best_are_kept(run: Run, keep: int, kept: list[int]) -> None:
    run.prune(keep)
    assert steps(run) == kept
    run.prune(keep)
    assert steps(run) == kept


def test_a_new_run_has_no_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path / "new")
    run.remove_partial()
    run.prune(3)
    assert run.recover_newest(pytest.fail) is None


def test_the_newest_checkpoint_is_found(run: Run) -> None:
    checkpoint = run.recover_newest(pytest.fail)
    assert checkpoint is not None
    assert checkpoint.step == checkpoint.train_state()["step"] == 5


@pytest.mark.parametrize("damage", ["bit", "cut", "missing", "manifest"])
def test_a_damaged_checkpoint_is_removed_and_the_one_before_is_used_and_both_are_named(run: Run, damage: str) -> None:
    file = run.checkpoint_directory(5) / ("manifest.json" if damage == "manifest" else "model.safetensors")
    content = file.read_bytes()
    if damage in ("missing", "manifest"):
        file.unlink()
    else:
        file.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if damage == "bit" else b""))
    messages: list[str] = []
    checkpoint = run.recover_newest(messages.append)
    assert checkpoint is not None
    assert checkpoint.step == 4
    (message,) = messages
    assert "step-00000005" in message
    assert "step-00000004" in message
    assert file.name in message
    assert steps(run) == [1, 2, 3, 4]  # so that step 5 can be saved again


def test_a_run_with_only_damaged_checkpoints_is_not_started_over(run: Run) -> None:
    for directory in checkpoints_in(run.directory):
        (directory / "train_state.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"train_state\.pt: damaged.*start under another name"):
        run.recover_newest(pytest.fail)


def test_a_run_is_trained_by_one_process_at_a_time(run: Run) -> None:
    with run.locked():
        with pytest.raises(UserError, match="another process is training"), Run(run.directory).locked():
            pass
        with Run(run.directory.with_name("other")).locked():
            pass
    with Run(run.directory).locked():
        pass


@pytest.mark.parametrize("existing", ["", "a", "a/b", "a/b/run"])
def test_a_run_without_a_checkpoint_leaves_no_lock_and_no_new_folder(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    run = Run(tmp_path / "a/b/run")
    with suppress(UserError), run.locked():
        assert (run.directory / ".lock").exists()
        raise UserError("refused")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refused_second_process_leaves_the_lock_of_the_first(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.locked():
        with pytest.raises(UserError, match="another process is training"), Run(run.directory).locked():
            pass
        assert (run.directory / ".lock").exists()


def test_files_of_a_run_without_a_checkpoint_stay(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with suppress(UserError), run.locked():
        (run.directory / "log.jsonl").touch()
        raise UserError("failed later")
    assert [path.name for path in run.directory.iterdir()] == ["log.jsonl"]


def test_a_lock_file_removed_while_it_is_being_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process that held the lock ends, and removes the file, after another has opened it."""
    run, flock, calls = Run(tmp_path / "run"), fcntl.flock, []

    def removed_meanwhile(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            shutil.rmtree(run.directory)
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with run.locked():
        assert len(calls) == 2
        with pytest.raises(UserError, match="another process is training"), Run(run.directory).locked():
            pass


def test_partial_checkpoints_of_a_killed_process_are_removed(run: Run) -> None:
    partial = run.checkpoints / ".step-00000006.abc123.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    assert len(steps(run)) == 5  # never mistaken for a checkpoint
    run.remove_partial()
    assert not partial.exists()
    assert len(steps(run)) == 5


def test_pruning_survives_checkpoints_damaged_after_they_were_written(run: Run) -> None:
    (run.checkpoint_directory(3) / "metrics.json").unlink()
    (run.checkpoint_directory(4) / "metrics.json").write_text('{"step": 4, "dev_bits": NaN}')
    run.prune(1)
    assert steps(run) == [2, 5]


def test_files_of_a_checkpoint_have_the_permissions_of_its_folder(run: Run) -> None:
    modes = {file.stat().st_mode & 0o777 for file in run.checkpoint_directory(1).iterdir()}
    assert modes == {run.checkpoint_directory(1).stat().st_mode & 0o666}


def test_weights_are_restored_bit_for_bit(run: Run, tiny_config: VocoderConfig) -> None:
    weights = build_model(tiny_config).state_dict()
    save_checkpoint(run.checkpoint_directory(6), tiny_config, {"model": weights}, {"step": 6, "dev_bits": 1.5})
    checkpoint = run.recover_newest(pytest.fail)
    assert checkpoint is not None
    assert checkpoint.config == tiny_config
    assert checkpoint.dev_bits == 1.5
    assert all(torch.equal(tensor, weights[name]) for name, tensor in checkpoint.weights("model").items())
