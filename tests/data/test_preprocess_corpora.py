"""What a corpus says of its speakers, splits and segments arrives in the store, unless a setting says otherwise."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.trees import CLIPS, plant, write_lines

from vocoder.data.index import Entry
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.audio import read_audio
from vocoder.features.mel import PRESETS

SPEC = PRESETS["speech_16k"]
AS_IS = PreprocessConfig(SPEC, peak=None)


def entries(root: Path, output: Path, **settings: Any) -> dict[str, Entry]:
    """Preprocess a corpus; the entries of its store by id."""
    preprocess(root, output, replace(AS_IS, **settings), 0, lambda items, *_: items)
    return {entry.id: entry for entry in Store(output).entries}


@pytest.fixture
def libritts(tmp_path: Path) -> Path:
    names = [f"train-clean-100/19/198/19_198_{n}.wav" for n in range(4)]
    return plant(tmp_path / "LibriTTS", *names, "dev-clean/84/1/84_1_1.wav", "test-clean/61/1/61_1_1.wav")


def test_a_corpus_keeps_its_own_split_and_speakers(libritts: Path, tmp_path: Path) -> None:
    found = entries(libritts, tmp_path / "store")
    assert {(id.split("-")[0], id.split("/")[1]) for id in found} == {("train", "19"), ("dev", "84"), ("test", "61")}
    assert all(entry.split == id.split("-")[0] and entry.speaker == id.split("/")[1] for id, entry in found.items())
    store = Store(tmp_path / "store")
    assert store.speakers == ("19",)  # the others are in no recording that a model learns
    assert store.description["layout"] == "libritts"


@pytest.mark.parametrize("setting", [{"dev_fraction": 0.05}, {"test_fraction": 0.05}, {"split_by": r"\d+_\d+_\d+"}])
def test_a_setting_of_the_split_takes_the_place_of_the_corpus_own(
    libritts: Path, tmp_path: Path, setting: dict[str, Any]
) -> None:
    # Without names of speakers: those whom no recording of train teaches would all go to test.
    found = entries(libritts, tmp_path / "store", layout="libritts", speaker="none", **setting)
    plain = entries(libritts, tmp_path / "plain", layout="folder", speaker="none", **setting)
    assert {id: entry.split for id, entry in found.items()} == {id: entry.split for id, entry in plain.items()}
    assert any(entry.split != id.split("-")[0] for id, entry in found.items())


def test_a_setting_of_speakers_takes_the_place_of_the_corpus_own(libritts: Path, tmp_path: Path) -> None:
    by_folder = entries(libritts, tmp_path / "folder", speaker="folder", dev_fraction=0.05)
    assert {e.speaker for e in by_folder.values()} == {"train-clean-100", "dev-clean", "test-clean"}
    assert {e.speaker for e in entries(libritts, tmp_path / "none", speaker="none").values()} == {None}


def test_held_out_speakers_are_named_as_the_corpus_names_them(tmp_path: Path) -> None:
    root = plant(tmp_path / "vctk", *(f"wav48/{s}/{s}_00{n}.wav" for s in ("p225", "p226") for n in range(3)))
    found = entries(root, tmp_path / "store", hold_out=("p226",))
    assert {e.split for e in found.values() if e.speaker == "p226"} == {"test"}
    assert Store(tmp_path / "store").speakers == ("p225",)
    with pytest.raises(UserError, match="hold_out=p300: no such speaker; there are p225, p226"):
        entries(root, tmp_path / "other", hold_out=("p300",))


def test_a_corpus_that_names_only_some_speakers_is_refused_unless_none_are_wanted(tmp_path: Path) -> None:
    root = plant(tmp_path / "kaldi", "1.wav", "2.wav", "3.wav")
    write_lines(root / "wav.scp", *(f"u{n} {n}.wav" for n in (1, 2, 3)))
    write_lines(root / "utt2spk", "u1 ann", "u2 ann")
    with pytest.raises(UserError, match="names no speaker of u3"):
        entries(root, tmp_path / "store")
    assert len(entries(root, tmp_path / "store", speaker="none")) == 3


def test_a_split_without_a_test_set_leaves_it_empty(tmp_path: Path) -> None:
    root = plant(tmp_path / "lj", *(f"wavs/{n}.wav" for n in range(4)))
    write_lines(root / "metadata.csv", *(f"{n}|t|t" for n in range(4)))
    write_lines(root / "training.txt", "0|t|t", "1|t|t", "2|t|t")
    write_lines(root / "validation.txt", "3|t|t")
    found = entries(root, tmp_path / "store")
    assert {id: entry.split for id, entry in found.items()} == {
        **{f"wavs/{n}": "train" for n in range(3)},
        "wavs/3": "dev",
    }


def test_segments_are_cut_at_their_samples_and_resampled_alone(tmp_path: Path) -> None:
    clip = CLIPS[0]
    wave, rate = soundfile.read(clip, dtype="int16")
    spans = {"u1": (0.25, 0.75), "u2": (0.8, 1.3), "u3": (0.0, 0.5)}
    root = tmp_path / "kaldi"
    write_lines(root / "wav.scp", f"r1 {clip}")
    write_lines(root / "segments", *(f"{id} r1 {begin} {end}" for id, (begin, end) in spans.items()))
    found = entries(root, tmp_path / "store")
    assert rate == SPEC.sample_rate
    assert set(found) == set(spans)
    store = Store(tmp_path / "store")
    for id, (begin, end) in spans.items():
        stored = store.read(found[id]).wave
        assert len(stored) == int((end - begin) * rate) // SPEC.hop_length * SPEC.hop_length
        assert np.array_equal(stored, wave[round(begin * rate) :][: len(stored)])


def test_a_listed_file_that_is_missing_or_a_folder_is_skipped_with_the_reason(tmp_path: Path) -> None:
    root = plant(tmp_path / "corpus", "a.wav", "b.wav", "folder.wav/c.wav")
    listed = write_lines(root / "list.txt", "a.wav", "b.wav", "gone.wav", "folder.wav", "a.wav")
    preprocess(listed, tmp_path / "store", AS_IS, 0, lambda items, *_: items)
    manifest = (tmp_path / "store/manifest.jsonl").read_text().splitlines()
    assert ["kept" in line for line in manifest] == [True, True, False, False, False]
    assert "gone.wav: cannot be opened (No such file" in manifest[2]
    assert "folder.wav: cannot be opened (Is a directory" in manifest[3]
    assert "another recording has the same id" in manifest[4]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize(("begin", "end"), [(0.0, None), (0.1, None), (0.0, 0.2), (0.15, 0.4), (0.5, 99.0)])
def test_a_part_of_a_file_is_that_part_of_the_whole(
    tmp_path: Path, suffix: str, begin: float, end: float | None
) -> None:
    path = plant(tmp_path, f"a{suffix}") / f"a{suffix}"
    whole, rate = soundfile.read(path, dtype="float32")
    part, part_rate = read_audio(path, begin, end)
    expected = whole[round(begin * rate) : None if end is None else round(end * rate)]
    assert part_rate == rate
    np.testing.assert_allclose(part, expected, atol=1e-4 if suffix == ".ogg" else 0)


def test_a_part_beyond_the_end_has_no_samples(tmp_path: Path) -> None:
    path = plant(tmp_path, "a.wav") / "a.wav"
    with pytest.raises(UserError, match="no samples"):
        read_audio(path, 100.0, 101.0)


def test_linked_folders_are_preprocessed(tmp_path: Path) -> None:
    plant(tmp_path / "data", "p225/1.wav", "p225/2.wav")
    plant(tmp_path / "corpus", "p226/1.wav")
    (tmp_path / "corpus/p225").symlink_to(tmp_path / "data/p225")
    assert sorted(entries(tmp_path / "corpus", tmp_path / "store")) == ["p225/1", "p225/2", "p226/1"]
