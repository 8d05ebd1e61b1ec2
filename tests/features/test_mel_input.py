"""Mels of callers: any kind of array, either layout, normalised or not, read alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vocoder.errors import UserError
from vocoder.features.arrays import as_mel, as_waveform
from vocoder.features.mel import MelSpec
from vocoder.features.mel_files import read_mel, read_statistics
from vocoder.features.mel_input import OWN, MelFormat, MelReader

SPEC = MelSpec(16000, 256, 20, 256, 8, 0.0, 8000.0)
MEL = (np.random.default_rng(0).standard_normal((8, 11)) - 4).astype(np.float32)


def read_by(format: MelFormat = MelFormat()) -> MelReader:  # noqa: B008
    return MelReader(SPEC, None, format)


def memory_map(mel: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / f"mel{len(list(folder.iterdir()))}.npy"
    np.save(path, mel)
    return np.load(path, mmap_mode="r")


KINDS: dict[str, Any] = {
    "float64": lambda mel, _: mel.astype(np.float64),
    "float16": lambda mel, _: mel.astype(np.float16),
    "big-endian": lambda mel, _: mel.astype(">f4"),
    "Fortran order": lambda mel, _: np.asfortranarray(mel),
    "negative strides": lambda mel, _: mel[::-1, ::-1].copy()[::-1, ::-1],
    "a memory map": memory_map,
    "read-only": lambda mel, _: np.frombuffer(mel.tobytes(), np.float32).reshape(mel.shape),
    "a tensor": lambda mel, _: torch.from_numpy(mel),
    "bfloat16": lambda mel, _: torch.from_numpy(mel).bfloat16(),
    "with gradients": lambda mel, _: torch.from_numpy(mel).requires_grad_() * 1.0,
    "a batch of one": lambda mel, _: mel[None],
    "a list": lambda mel, _: mel.tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_kind_are_read_alike(kind: str, tmp_path: Path) -> None:
    mel = read_by()(KINDS[kind](MEL, tmp_path))
    assert mel.dtype == np.float32
    assert mel.flags.c_contiguous
    assert mel.flags.writeable
    np.testing.assert_allclose(mel, MEL, rtol={"bfloat16": 2**-8, "float16": 2**-10}.get(kind, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_takes_the_same_kinds_and_leaves_out_empty_chunks(kind: str, tmp_path: Path) -> None:
    pieces = [MEL[:, :0], MEL[:, :3], MEL[:, 3:]]
    chunks = [MEL[:0] if not piece.size else KINDS[kind](piece, tmp_path) for piece in pieces]
    chunks.append(torch.zeros(8, 0))
    mel = np.concatenate(list(read_by().chunks(chunks)), 1)
    np.testing.assert_allclose(mel, MEL, rtol={"bfloat16": 2**-8, "float16": 2**-10}.get(kind, 0))


def test_integers_are_refused() -> None:
    with pytest.raises(UserError, match="floating-point values; this one has int64"):
        as_mel(np.ones((8, 11), np.int64))


# Layout


def test_frames_first_is_taken_where_it_shows() -> None:
    assert np.array_equal(read_by()(MEL.T), MEL)
    assert np.array_equal(read_by()(torch.from_numpy(MEL.T)), MEL)
    assert np.array_equal(np.concatenate(list(read_by().chunks([MEL[:, :5].T, MEL[:, 5:].T])), 1), MEL)


def test_a_square_mel_is_asked_about() -> None:
    square = MEL[:, :8]
    with pytest.raises(UserError, match=r"8 × 8.*mel\.layout=bands_first.*mel\.layout=frames_first"):
        read_by()(square)
    with pytest.raises(UserError, match=r"8 × 8"):
        list(read_by().chunks([square]))
    assert np.array_equal(read_by(MelFormat(layout="bands_first"))(square), square)
    assert np.array_equal(read_by(MelFormat(layout="frames_first"))(square), square.T)


def test_a_square_chunk_has_the_layout_of_the_chunks_before_it() -> None:
    whole = np.concatenate((MEL, MEL), 1)
    chunks = [whole[:, :3], whole[:, 3:11], whole[:, 11:]]
    assert np.array_equal(np.concatenate(list(read_by().chunks(chunks)), 1), whole)
    assert np.array_equal(np.concatenate(list(read_by().chunks([c.T for c in chunks])), 1), whole)


def test_a_first_chunk_whose_axes_could_be_either_is_refused_as_a_whole_mel_is() -> None:
    chunk = np.zeros((100, 8), np.float32)  # 100 is what others have for bands
    with pytest.raises(UserError, match="100 × 8"):
        read_by()(chunk)
    with pytest.raises(UserError, match="100 × 8"):
        list(read_by().chunks([chunk]))


def test_a_layout_does_not_make_a_callers_mel_the_vocoders_own() -> None:
    assert MelFormat(layout="bands_first") != OWN  # readers are found by their format


def test_a_layout_that_is_given_is_held_to() -> None:
    with pytest.raises(UserError, match="transpose"):
        read_by(MelFormat(layout="bands_first"))(MEL.T)
    with pytest.raises(UserError, match="transpose"):
        read_by(MelFormat(layout="frames_first"))(MEL)


# Normalisation

MEAN, SCALE = np.linspace(-6, -2, 8, dtype=np.float32), np.linspace(0.5, 2, 8, dtype=np.float32)
NORMALISED = (MEL - MEAN[:, None]) / SCALE[:, None]


def saved_statistics(folder: Path, kind: str) -> Path:
    path = folder / f"stats{kind}"
    if kind == ".npz":
        np.savez(path, mean=MEAN, scale=SCALE)
    elif kind == ".npy":
        np.save(path, np.stack([MEAN, SCALE]))
    else:
        h5py = pytest.importorskip("h5py", reason="h5py is optional")
        with h5py.File(path, "w") as file:
            file["mean"], file["scale"] = MEAN, SCALE
    return path


@pytest.mark.parametrize("kind", [".npz", ".npy", ".h5"])
def test_statistics_undo_a_normalisation(kind: str, tmp_path: Path) -> None:
    format = MelFormat(statistics=str(saved_statistics(tmp_path, kind)))
    for given in (NORMALISED, NORMALISED.T):
        np.testing.assert_allclose(read_by(format)(given), MEL, atol=1e-5)
    (chunk,) = read_by(format).chunks([NORMALISED])
    np.testing.assert_allclose(chunk, MEL, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mean": MEAN}, "named mean and scale; it has mean"),
        ({"mean": MEAN, "scale": SCALE[:5]}, "8 and 5 bands, the mels 8"),
        ({"mean": MEAN, "scale": 0 * SCALE}, "scale above 0"),
        ({"mean": MEAN * np.nan, "scale": SCALE}, "finite"),
    ],
)
def test_wrong_statistics_are_refused_before_any_mel(tmp_path: Path, arrays: Any, words: str) -> None:
    np.savez(tmp_path / "stats.npz", **arrays)
    with pytest.raises(UserError, match=words):
        read_by(MelFormat(statistics=str(tmp_path / "stats.npz")))


def test_pickled_and_missing_statistics_are_refused(tmp_path: Path) -> None:
    (tmp_path / "stats.joblib").write_bytes(b"")
    with pytest.raises(UserError, match="a pickle"):
        read_statistics(tmp_path / "stats.joblib", 8)
    with pytest.raises(UserError, match=r"stats\.npz"):
        read_statistics(tmp_path / "stats.npz", 8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "hifigan"}, "mel.from=hifigan: unknown.*did you mean hifigan_22k"),
        ({"layout": "time_first"}, "mel.layout=time_first: must be auto, bands_first, frames_first"),
        ({"convert": "always"}, "mel.convert=always: must be exact, approximate"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        MelFormat(**settings)


def test_a_stream_refuses_an_approximate_conversion() -> None:
    reader = read_by(MelFormat(preset="hifigan_22k", convert="approximate"))
    with pytest.raises(UserError, match="whole mels"):
        list(reader.chunks([MEL]))


# Files


def test_the_files_of_parallel_wavegan_are_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is optional")
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["wave"], file["feats"] = np.zeros(220, np.float32), MEL.T
    assert np.array_equal(read_by()(read_mel(tmp_path / "u.h5")), MEL)
    (tmp_path / "broken.h5").write_bytes((tmp_path / "u.h5").read_bytes()[:100])
    with pytest.raises(UserError, match=r"broken\.h5"):
        read_mel(tmp_path / "broken.h5")


def test_without_h5py_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match=r"u\.h5: needs h5py; pip install h5py"):
        read_mel(tmp_path / "u.h5")


def test_a_numpy_array_saved_by_torch_is_refused_with_advice_that_helps(tmp_path: Path) -> None:
    torch.save(MEL, tmp_path / "mel.pt")
    with pytest.raises(UserError, match=r"NumPy array.*np\.save.*torch\.from_numpy"):
        read_mel(tmp_path / "mel.pt")
    torch.save(torch.from_numpy(MEL), tmp_path / "mel.pt")
    assert np.array_equal(read_mel(tmp_path / "mel.pt"), MEL)


# Waveforms

WAVE = (0.5 * np.sin(np.arange(4000) / 7)).astype(np.float32)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("a batch of one", "negative strides")])
def test_waveforms_of_any_kind_are_read_alike(kind: str, tmp_path: Path) -> None:
    wave = as_waveform(KINDS[kind](WAVE, tmp_path))
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave, WAVE, rtol={"bfloat16": 2**-8, "float16": 2**-10}.get(kind, 0), atol=1e-6)


def test_a_reversed_waveform_is_read() -> None:
    assert np.array_equal(as_waveform(WAVE[::-1]), np.flip(WAVE))


def test_int16_samples_are_scaled_and_other_integers_refused() -> None:
    samples = np.rint(WAVE * 32768).astype(np.int16)
    np.testing.assert_allclose(as_waveform(samples), WAVE, atol=1 / 65536)
    np.testing.assert_allclose(as_waveform(torch.from_numpy(samples)), WAVE, atol=1 / 65536)
    with pytest.raises(UserError, match="int32"):
        as_waveform(samples.astype(np.int32))
    with pytest.raises(UserError, match=r"peaks at .*divide 16-bit samples by 32768"):
        as_waveform(samples.astype(np.float32))
