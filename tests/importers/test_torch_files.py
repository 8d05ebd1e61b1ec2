"""Checkpoints of torch.save: nothing in them is run."""

from pathlib import Path

import pytest
import torch

from vocoder.errors import UserError
from vocoder.importers.torch_files import read_torch_file, state_dict_of


class Bomb:
    """Loading its pickle would raise SystemExit."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return SystemExit, ("code was run",)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_plain_values_are_read(zipped: bool, tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.arange(3.0)}, "optimizer": {"state": {}, "param_groups": []}, "global_step": 5}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    read = read_torch_file(tmp_path / "a.pth")
    assert read["global_step"] == 5
    assert torch.equal(state_dict_of(read, tmp_path)["a"], torch.arange(3.0))


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_are_refused_with_the_line_that_saves_the_weights_alone(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {}, "hparams": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"could run code.*torch\.save") as refused:
        read_torch_file(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04cut off"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth: ") as refused:
        read_torch_file(tmp_path / "a.pth")
    assert "\n" not in str(refused.value)


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list"):
        read_torch_file(tmp_path / "list.pth")
    with pytest.raises(UserError, match="no weights under state_dict"):
        state_dict_of({"model": {}}, tmp_path)
    with pytest.raises(UserError, match="NaN or infinite"):
        state_dict_of({"state_dict": {"a": torch.tensor([float("nan")])}}, tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_torch_file(tmp_path / "nowhere.pth")
