"""Mels in files: all formats give the same float32 array, and no pickled code is executed."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from vocoder.errors import UserError
from vocoder.features.mel_files import MEL_SUFFIXES, read_mel

MEL = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)


def save(path: Path, **arrays: np.ndarray) -> Path:
    """Save arrays under their names, or without one in a .npy."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    writers: dict[str, Callable[[], Any]] = {
        ".npy": lambda: np.save(path, *arrays.values()),
        ".npz": lambda: np.savez(path, **arrays),
        ".pt": lambda: torch.save(tensors, path),
        ".safetensors": lambda: safetensors.torch.save_file(tensors, path),
    }
    writers[path.suffix]()
    return path


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> Any:
        return Path.touch, (self.fuse,)


every_format = pytest.mark.parametrize("suffix", MEL_SUFFIXES)


@every_format
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_all_formats_are_read_as_float32(tmp_path: Path, suffix: str, dtype: type) -> None:
    mel = read_mel(save(tmp_path / f"a{suffix}", mel=MEL.astype(dtype)))
    assert mel.dtype == np.float32
    assert np.array_equal(mel, MEL.astype(dtype).astype(np.float32))


@every_format
def test_a_batch_axis_of_size_one_is_removed(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(read_mel(save(tmp_path / f"a{suffix}", x=MEL[None])), MEL)


def test_tensors_and_arrays_of_any_float_type_and_layout_are_read(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(MEL).to(torch.bfloat16), tmp_path / "half.pt")
    assert np.allclose(read_mel(tmp_path / "half.pt"), MEL, rtol=2**-8)
    torch.save(torch.from_numpy(MEL).requires_grad_(), tmp_path / "learned.pt")
    assert np.array_equal(read_mel(tmp_path / "learned.pt"), MEL)
    np.save(tmp_path / "columns.npy", np.asfortranarray(MEL))
    assert np.array_equal(read_mel(tmp_path / "columns.npy"), MEL)
    np.save(tmp_path / "swapped.npy", MEL.astype(">f4"))
    assert np.array_equal(read_mel(tmp_path / "swapped.npy"), MEL)


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_the_array_named_mel_is_read_from_several(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(read_mel(save(tmp_path / f"a{suffix}", f0=MEL[0], mel=MEL)), MEL)
    with pytest.raises(UserError, match=r"contains 2 arrays \(.*\); name one of them mel"):
        read_mel(save(tmp_path / f"b{suffix}", f0=MEL[0], spectrum=MEL))


@every_format
def test_integers_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UserError, match="int16 values"):
        read_mel(save(tmp_path / f"a{suffix}", mel=np.ones((5, 7), np.int16)))


@every_format
def test_a_pickle_is_refused_without_being_executed(tmp_path: Path, suffix: str) -> None:
    fuse = tmp_path / "executed"
    bomb = Bomb(fuse)
    objects = np.empty(1, object)
    objects[0] = bomb
    np.save(tmp_path / "objects.npy", objects)
    np.savez(tmp_path / "objects.npz", mel=objects)
    torch.save({"mel": bomb}, tmp_path / "objects.pt")
    (tmp_path / f"plain{suffix}").write_bytes(pickle.dumps(bomb))
    for path in tmp_path.glob(f"*{suffix}"):
        with pytest.raises(UserError, match=path.name):
            read_mel(path)
    assert not fuse.exists()
    pickle.loads(pickle.dumps(bomb))
    assert fuse.exists()  # the bomb works


@every_format
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>" * 20, None], ids=["empty", "html", "truncated"])
def test_a_file_with_other_contents_is_refused_by_name(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"a{suffix}"
    if content is None:
        whole = save(path, mel=MEL).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(UserError, match=path.name):
        read_mel(path)


def test_npy_and_npz_are_distinguished_by_content(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", mel=MEL).rename(tmp_path / "a.npy")
    save(tmp_path / "b.npy", mel=MEL).rename(tmp_path / "b.npz")
    for name in ("a.npy", "b.npz"):
        assert np.array_equal(read_mel(tmp_path / name), MEL)


def test_other_files_in_an_npz_are_ignored(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("notes.txt", "no array")
    with pytest.raises(UserError, match="contains 0 arrays"):
        read_mel(tmp_path / "a.npz")


def test_a_missing_file_and_an_empty_collection_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.npy"):
        read_mel(tmp_path / "a.npy")
    torch.save({"mels": [1.0, 2.0]}, tmp_path / "none.pt")
    with pytest.raises(UserError, match="contains 0 arrays"):
        read_mel(tmp_path / "none.pt")
    torch.save([1.0, 2.0], tmp_path / "list.pt")
    with pytest.raises(UserError, match="neither a tensor nor a dict of tensors"):
        read_mel(tmp_path / "list.pt")


def test_what_an_hdf5_file_names_of_other_files_is_never_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is optional")
    secret = tmp_path / "secret"
    MEL.tofile(secret)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["mel"] = MEL
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["mel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "mel")
    with pytest.raises(UserError, match="contains 0 arrays"):
        read_mel(tmp_path / "linked.h5")
    with h5py.File(tmp_path / "stored.h5", "w") as file:
        file.create_dataset("mel", MEL.shape, MEL.dtype, external=[(str(secret), 0, MEL.nbytes)])
    layout = h5py.VirtualLayout(MEL.shape, MEL.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "mel", MEL.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("mel", layout)
    for name in ("stored.h5", "virtual.h5"):
        with pytest.raises(UserError, match=rf"{name}: its array mel lies in another file"):
            read_mel(tmp_path / name)
    assert np.array_equal(read_mel(tmp_path / "other.h5"), MEL)
