"""From recordings to a store: usable files are kept unchanged, all others are skipped with a reason."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from vocoder import files
from vocoder.corpora import Recording, find_recordings
from vocoder.data import preprocess as module
from vocoder.data.labels import assign_split
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import SPLITS, Store
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform, read_audio
from vocoder.features.mel import MelSpec, log_mel

SPEC = MelSpec(16000, 256, 100, 256, 10, 0.0, 8000.0)
AS_IS = PreprocessConfig(SPEC, peak=None)
GOOD = ["plain", "d é j à/voix 'un'", 'he said "hi"', "deep/er/below", "LOUD", "stereo 22050"]
BROKEN = {
    "cut.wav": "truncated",
    "page.wav": "not readable",
    "nothing.wav": "not readable",
    "nan.wav": "NaN",
    "cut.flac": "not readable",
    "header only.wav": "no samples",
    "silent.wav": "silence",
    "brief.wav": "too short",
}


def silently(items: Iterable[Any], *_: Any) -> Iterable[Any]:
    return items


def make(root: Path, output: Path, settings: PreprocessConfig = AS_IS, workers: int = 0) -> dict[str, Any]:
    return preprocess(root, output, settings, workers, silently)


def manifest(store: Path) -> dict[str, dict[str, Any]]:
    """The records of the manifest by file name."""
    lines = (store / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return {Path(json.loads(line)["source"]).name: json.loads(line) for line in lines}


def noise(seconds: float = 0.4, peak: float = 0.5, rate: int = 16000, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
    samples[len(samples) // 2 :][:1] = 1
    return peak * samples


def write(path: Path, samples: np.ndarray, rate: int = 16000, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def write_recordings(root: Path, count: int, peak: float = 0.5) -> Path:
    for number in range(count):
        write(root / f"{number:03d}.wav", noise(peak=peak, seed=number))
    return root


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good files in four formats, eight broken ones, and hidden and other files, which are to be ignored."""
    root = tmp_path_factory.mktemp("a 'messy' corpus")
    write(root / "plain.wav", noise(0.4333))
    write(root / "d é j à/voix 'un'.flac", noise())
    write(root / 'he said "hi".ogg', noise())
    write(root / "deep/er/below.mp3", noise(0.8))
    write(root / "LOUD.WAV", noise(), format="WAV")
    write(root / "stereo 22050.wav", np.stack([noise(rate=22050)] * 2, 1), rate=22050)

    for name in ("cut.wav", "cut.flac"):
        whole = write(root / name, noise()).read_bytes()
        (root / name).write_bytes(whole[: len(whole) // 2])
    (root / "page.wav").write_text("<!DOCTYPE html><title>404</title>" * 100)
    (root / "nothing.wav").touch()
    write(root / "nan.wav", np.append(noise(), np.nan), subtype="FLOAT")
    write(root / "header only.wav", noise(0))
    write(root / "silent.wav", noise(peak=0.0002))
    write(root / "brief.wav", noise(0.1))

    for hidden in (".hidden.wav", "._plain.wav", ".cache/copy.wav"):
        write(root / hidden, noise())
    (root / "notes.txt").write_text("not audio")
    return root


@pytest.fixture(scope="module")
def messy_store(messy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("stores") / "messy store"
    make(messy, output)
    return output


def test_all_formats_are_found_at_any_depth_but_no_hidden_files(messy: Path) -> None:
    found = find_recordings(messy)
    assert sorted(recording.id for recording in found) == sorted(GOOD + [Path(name).stem for name in BROKEN])
    assert [recording.path for recording in found] == sorted(recording.path for recording in found)


def test_all_good_files_are_kept_and_all_broken_ones_skipped(messy_store: Path) -> None:
    assert sorted(entry.id for entry in Store(messy_store).entries) == sorted(GOOD)
    assert {name for name, line in manifest(messy_store).items() if line["status"] == "skipped"} == set(BROKEN)
    description = Store(messy_store).description
    assert (description["kept"], description["skipped"]) == (len(GOOD), len(BROKEN))
    assert sum(split["utterances"] for split in description["splits"].values()) == len(GOOD)


@pytest.mark.parametrize("name", BROKEN)
def test_the_manifest_has_the_reason_for_each_skipped_file(messy_store: Path, name: str) -> None:
    reason = manifest(messy_store)[name]["reason"]
    assert BROKEN[name] in reason
    assert name in reason


@pytest.mark.slow
def test_a_store_does_not_depend_on_the_number_of_workers(messy: Path, messy_store: Path, tmp_path: Path) -> None:
    make(messy, tmp_path / "store", workers=2)
    names = sorted(file.name for file in messy_store.iterdir())
    assert sorted(file.name for file in (tmp_path / "store").iterdir()) == names
    for name in names:
        assert (tmp_path / "store" / name).read_bytes() == (messy_store / name).read_bytes(), name


def test_the_wave_is_the_recording_cut_to_whole_frames(messy: Path, messy_store: Path) -> None:
    store = Store(messy_store)
    entries = {entry.id: entry for entry in store.entries}
    for name in ("plain.wav", "d é j à/voix 'un'.flac", "LOUD.WAV"):
        original = soundfile.read(messy / name, dtype="int16")[0]
        entry = entries[str(Path(name).with_suffix(""))]
        assert entry.frames == len(original) // SPEC.hop_length
        assert np.array_equal(store.read(entry).wave, original[: entry.frames * SPEC.hop_length])


def test_a_stored_mel_is_computed_from_the_whole_stored_wave(messy_store: Path, speech_store: Store) -> None:
    for store in (Store(messy_store), speech_store):
        for entry in store.entries:
            utterance = store.read(entry)
            assert len(utterance.wave) == entry.frames * store.spec.hop_length
            expected = log_mel(torch.from_numpy(int16_to_waveform(utterance.wave)), store.spec).T
            torch.testing.assert_close(torch.tensor(utterance.mel), expected, rtol=0, atol=1e-6)


def test_mel_statistics_are_those_of_the_training_split(speech_store: Store) -> None:
    mels = np.concatenate([speech_store.read(entry).mel for entry in speech_store.split("train")]).astype(np.float64)
    mean, std = speech_store.mel_statistics
    np.testing.assert_allclose(mean, mels.mean(0), atol=1e-5)
    np.testing.assert_allclose(std, mels.std(0), rtol=1e-5)


def test_there_is_one_gain_for_the_corpus_and_a_single_loud_file_does_not_decide_it(tmp_path: Path) -> None:
    root = write_recordings(tmp_path / "corpus", 40, peak=0.2)
    write(root / "loud.wav", noise(peak=0.99))
    description = make(root, tmp_path / "store", PreprocessConfig(SPEC, peak=0.6))
    assert description["gain"] == pytest.approx(3, rel=1e-3)
    store = Store(tmp_path / "store")
    for entry in store.entries:
        if entry.id == "loud":
            continue
        original, _ = read_audio(root / f"{entry.id}.wav")
        np.testing.assert_allclose(int16_to_waveform(store.read(entry).wave), 3 * original[:6400], atol=1e-3)
    clipped = {name: line["clipped"] for name, line in manifest(tmp_path / "store").items()}
    assert clipped.pop("loud.wav") > 1000
    assert not any(clipped.values())


def test_trimming_removes_silence_at_both_ends(tmp_path: Path) -> None:
    padding = np.zeros(8000)
    for number in range(2):
        write(tmp_path / f"in/{number}.wav", np.concatenate([padding, noise(1.0, seed=number), padding]))
    make(tmp_path / "in", tmp_path / "kept")
    make(tmp_path / "in", tmp_path / "trimmed", replace(AS_IS, trim_db=40))
    assert [entry.frames for entry in Store(tmp_path / "kept").entries] == [320, 320]
    assert all(160 <= entry.frames < 180 for entry in Store(tmp_path / "trimmed").entries)


def test_a_split_is_a_function_of_the_id_alone() -> None:
    ids = [f"speaker/{number}" for number in range(5000)]
    splits = [assign_split(Recording(Path(id), id), AS_IS) for id in ids]
    assert splits == [assign_split(Recording(Path(id), id), AS_IS) for id in ids]
    for split, fraction in (("dev", 0.05), ("test", 0.05), ("train", 0.9)):
        assert splits.count(split) / len(ids) == pytest.approx(fraction, abs=0.01)
    assert (
        assign_split(Recording(Path("a"), "a"), replace(AS_IS, dev_fraction=0.5, test_fraction=0.5 - 1e-9)) != "train"
    )


def test_adding_files_to_a_large_corpus_does_not_change_the_splits_of_others(tmp_path: Path) -> None:
    settings = replace(AS_IS, dev_fraction=0.2, test_fraction=0.2)
    root = write_recordings(tmp_path / "corpus", 30)
    make(root, tmp_path / "before", settings)
    for number in range(15):
        write(root / f"added/{number}.wav", noise(seed=number))
    make(root, tmp_path / "after", settings)
    after = {entry.id: entry.split for entry in Store(tmp_path / "after").entries}
    before = {entry.id: entry.split for entry in Store(tmp_path / "before").entries}
    assert set(before.values()) == set(SPLITS)
    assert before.items() <= after.items()


def test_takes_of_a_prompt_share_a_split() -> None:
    settings = replace(AS_IS, split_by=r"arctic_[ab]\d+")
    takes = [[f"{who}/arctic_a{prompt:04d}_{take}" for who in "xy" for take in range(3)] for prompt in range(400)]
    by_prompt = [{assign_split(Recording(Path(id), id), settings) for id in ids} for ids in takes]
    assert all(len(splits) == 1 for splits in by_prompt)
    assert set.union(*by_prompt) == set(SPLITS)
    whole = [{assign_split(Recording(Path(id), id), AS_IS) for id in ids} for ids in takes]
    assert any(len(splits) > 1 for splits in whole)


def test_ids_without_a_match_are_split_by_the_whole_id() -> None:
    for id in (f"speech/{number}" for number in range(300)):
        recording = Recording(Path(id), id)
        assert assign_split(recording, replace(AS_IS, split_by="arctic")) == assign_split(recording, AS_IS)


def test_filling_an_empty_split_moves_all_takes_of_a_prompt(tmp_path: Path) -> None:
    for prompt in "abc":
        for take in range(2):
            write(tmp_path / "in" / f"{prompt}_{take}.wav", noise(seed=take))
    make(tmp_path / "in", tmp_path / "store", replace(AS_IS, split_by="^[abc]"))
    entries = Store(tmp_path / "store").entries
    assert {entry.split for entry in entries} == set(SPLITS)
    assert len({(entry.id[0], entry.split) for entry in entries}) == 3


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(UserError, match=r"split_by=\[ab: not a regular expression"):
        replace(AS_IS, split_by="[ab")


@pytest.mark.parametrize(("count", "splits"), [(2, {"train", "dev"}), (3, set(SPLITS)), (6, set(SPLITS))])
def test_a_small_corpus_has_no_empty_split_that_it_needs(tmp_path: Path, count: int, splits: set[str]) -> None:
    make(write_recordings(tmp_path / "in", count), tmp_path / "store")
    assert {entry.split for entry in Store(tmp_path / "store").entries} == splits


def test_the_first_folder_names_the_speaker(tmp_path: Path) -> None:
    names = [f"{who}/{number}" for who in ("al", "zoë", "zoë/chapter") for number in range(5)]
    for name in names:
        write(tmp_path / "in" / f"{name}.wav", noise())
    make(tmp_path / "in", tmp_path / "store", replace(AS_IS, speaker="folder"))
    store = Store(tmp_path / "store")
    assert store.speakers == ("al", "zoë")
    assert {e.id: e.speaker for e in store.entries} == {name: name.split("/")[0] for name in names}


def test_a_speaker_without_a_training_recording_is_told_and_not_offered(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / f"in/ann/{number}.wav", noise(seed=number))
    settings = replace(AS_IS, speaker="folder", dev_fraction=0.3, test_fraction=0.3)
    ids = [f"bob/{number}" for number in range(1000)]
    outside = [id for id in ids if assign_split(Recording(Path(id), id), settings) != "train"][:4]
    for id in outside:
        write(tmp_path / f"in/{id}.wav", noise())
    description = make(tmp_path / "in", tmp_path / "store", settings)
    store = Store(tmp_path / "store")
    assert store.speakers == ("ann",)
    assert description["not_learned"] == ["bob"]
    assert {e.id: e.split for e in store.entries if e.speaker == "bob"} == dict.fromkeys(outside, "test")
    assert {e.split for e in store.entries if e.speaker == "ann"} == set(SPLITS)


def test_a_recording_outside_all_speaker_folders_is_refused(tmp_path: Path) -> None:
    write_recordings(tmp_path / "in", 2)
    with pytest.raises(UserError, match="speaker=folder"):
        make(tmp_path / "in", tmp_path / "store", replace(AS_IS, speaker="folder"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_second_of_two_files_that_differ_only_in_suffix_is_skipped(tmp_path: Path) -> None:
    write_recordings(tmp_path / "in", 2)
    write(tmp_path / "in/000.flac", noise())
    description = make(tmp_path / "in", tmp_path / "store")
    assert (description["kept"], description["skipped"]) == (2, 1)
    assert len({entry.id for entry in Store(tmp_path / "store").entries}) == 2


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        make(tmp_path / "nowhere", tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no audio"):
        make(tmp_path / "empty", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_existing_output_is_not_touched(tmp_path: Path) -> None:
    root = write_recordings(tmp_path / "in", 2)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        make(root, tmp_path / "store")
    with pytest.raises(UserError, match="exists already"):
        make(root, tmp_path / "store/thesis.txt")
    assert [path.read_text() for path in (tmp_path / "store").iterdir()] == ["mine"]


def test_fewer_than_two_usable_recordings_are_refused_and_leave_no_store(tmp_path: Path) -> None:
    write_recordings(tmp_path / "in", 1)
    (tmp_path / "in/page.wav").write_text("<html>")
    with pytest.raises(UserError, match=r"1 of 2 recordings.*page\.wav"):
        make(tmp_path / "in", tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_interrupted_run_leaves_no_store(tmp_path: Path) -> None:
    def interrupted(items: Iterable[Any], label: str, total: int) -> Iterable[Any]:
        for number, item in enumerate(items):
            if label == "preprocessing" and number == 2:
                assert any(path.name.endswith(".partial") for path in tmp_path.iterdir())
                raise KeyboardInterrupt
            yield item

    write_recordings(tmp_path / "in", 4)
    with pytest.raises(KeyboardInterrupt):
        preprocess(tmp_path / "in", tmp_path / "store", AS_IS, 0, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_files_at_another_scale_are_named_and_the_others_are_as_without_them(tmp_path: Path) -> None:
    root = write_recordings(tmp_path / "in", 36)
    settings = PreprocessConfig(SPEC)
    without = make(root, tmp_path / "without", settings)
    for number in range(4):
        write(root / f"integers {number}.wav", 32768 * noise(seed=number), subtype="FLOAT")
    description = make(root, tmp_path / "with", settings)
    assert description["gain"] == without["gain"]
    assert description["skipped"] == 4
    lines = manifest(tmp_path / "with")
    assert all("another scale" in lines[f"integers {number}.wav"]["reason"] for number in range(4))
    stores = [Store(tmp_path / name) for name in ("with", "without")]
    waves = [[store.read(entry).wave for entry in store.entries] for store in stores]
    assert all(np.array_equal(*pair) for pair in zip(*waves, strict=True))


def test_audio_of_formats_that_are_not_read_is_named(tmp_path: Path) -> None:
    root = write_recordings(tmp_path / "in", 2)
    soundfile.write(root / "a.aiff", noise(), 16000)
    soundfile.write(root / "b.opus", noise(), 16000, format="OGG", subtype="OPUS")
    soundfile.write(root / "c.caf", noise(), 16000)
    (root / "d.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (root / "notes.txt").write_text("not audio")
    description = make(root, tmp_path / "store")
    assert (description["kept"], description["skipped"]) == (5, 1)
    lines = manifest(tmp_path / "store")
    assert len(lines) == 6
    assert "d.m4a: .m4a is not read; convert it" in lines["d.m4a"]["reason"]
    (tmp_path / "other").mkdir()
    (root / "d.m4a").rename(tmp_path / "other/d.m4a")
    with pytest.raises(UserError, match=r"no audio files.*\.m4a files must be converted"):
        make(tmp_path / "other", tmp_path / "none")


def test_a_long_recording_becomes_utterances_that_join_to_it(tmp_path: Path) -> None:
    """A single file of 40 seconds is enough for a store, and no sample is lost but those of partial frames."""
    recording = noise(40.0)
    write(tmp_path / "in/chapter.wav", recording)
    settings = replace(AS_IS, max_seconds=10.0, dev_fraction=0.3, test_fraction=0.3)
    description = make(tmp_path / "in", tmp_path / "store", settings)
    store = Store(tmp_path / "store")
    original = soundfile.read(tmp_path / "in/chapter.wav", dtype="int16")[0]
    lines = [json.loads(line) for line in (tmp_path / "store/manifest.jsonl").read_text().splitlines()]
    assert description["kept"] == len(lines) >= 4
    ends = [round(line["begin"] * 16000) for line in lines[1:]] + [len(original)]
    for entry, line, end in zip(store.entries, lines, ends, strict=True):
        begin = round(line["begin"] * 16000)
        frames = (end - begin) // SPEC.hop_length
        assert np.array_equal(store.read(entry).wave, original[begin : begin + frames * SPEC.hop_length])
        assert (end - begin) / 16000 <= 10
    assert [entry.id for entry in store.entries] == [f"chapter-{n:04d}" for n in range(1, len(lines) + 1)]
    assert {entry.split for entry in store.entries} == set(SPLITS)


def test_whatever_goes_wrong_in_one_file_costs_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(part: Any, processing: Any) -> Any:
        if part.path.name == "001.wav":
            raise MemoryError("Unable to allocate 4.7 GiB")
        return process(part, processing)

    process = module.process
    monkeypatch.setattr(module, "process", fragile)
    description = make(write_recordings(tmp_path / "in", 4), tmp_path / "store")
    assert (description["kept"], description["skipped"]) == (3, 1)
    reason = manifest(tmp_path / "store")["001.wav"]["reason"]
    assert "001.wav: cannot be processed (MemoryError: Unable to allocate 4.7 GiB)" in reason


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1, max_size=60)
STRANGE = ["-rf", "..wav", "a\nb", "é", "e\u0301", "\udcff", "<script>", "%s", "a" * 240, " ", "~", "$HOME", "\u202e"]


@hypothesis_settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.one_of(NAMES, st.sampled_from(STRANGE)), max_size=6), data=st.data())
def test_any_names_and_contents_give_a_store_that_accounts_for_every_file(
    tmp_path: Path, names: list[str], data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    root = write_recordings(folder / "in", 2)
    os.symlink(".", root / "loop")
    good = (root / "000.wav").read_bytes()
    written = {"000.wav", "001.wav"}
    for name in names:
        encoded = name.encode("utf-8", "surrogatepass")
        path = os.fsencode(root) + b"/" + encoded[:250] + b".wav"
        content = data.draw(
            st.sampled_from([good, good[: len(good) // 2], b"", b"RIFF", b"<html>" * 50, os.urandom(99)])
        )
        if not encoded.startswith(b".") and not os.path.lexists(path):
            Path(os.fsdecode(path)).write_bytes(content)
            written.add(os.fsdecode(os.path.basename(path)))
    description = make(root, folder / "store")
    assert description["kept"] + description["skipped"] == len(written)
    assert sorted(path.name for path in folder.iterdir()) == ["in", "store"]
    assert len({entry.id for entry in Store(folder / "store").entries}) == description["kept"]


KILLED = """
import sys, time
from pathlib import Path
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.features.mel import MelSpec

def slowly(items, *_):
    for item in items:
        time.sleep(0.02)
        yield item
        print("item", flush=True)

spec = MelSpec(16000, 256, 100, 256, 10, 0.0, 8000.0)
preprocess(Path(sys.argv[1]), Path(sys.argv[2]), PreprocessConfig(spec), 0, slowly)
"""


@pytest.mark.slow
@pytest.mark.parametrize("items", [1, 13, 19, 23])
def test_a_killed_run_leaves_no_store_and_its_repetition_is_the_undisturbed_one(tmp_path: Path, items: int) -> None:
    """Killed after so many of the 24 items of both passes."""
    root = write_recordings(tmp_path / "in", 12)
    make(root, tmp_path / "undisturbed", PreprocessConfig(SPEC))
    command = [sys.executable, "-c", KILLED, str(root), str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        for _ in range(items):
            running.stdout.readline()
        running.kill()
    assert not (tmp_path / "store").exists()
    left = list(tmp_path.glob(".store.*.partial"))
    assert len(left) == (1 if items > 12 else 0)
    make(root, tmp_path / "store", PreprocessConfig(SPEC))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "store", "undisturbed"]
    names = sorted(path.name for path in (tmp_path / "undisturbed").iterdir())
    for name in names:
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_what_a_living_run_is_making_is_not_removed(tmp_path: Path) -> None:
    with files.atomic_directory(tmp_path / "store") as partial:
        files.remove_partial(tmp_path / "store")
        assert partial.exists()
    assert (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_seconds": 0.5},
        {"max_seconds": 2.0, "min_seconds": 1.0},
        {"peak": 0},
        {"peak": 1.5},
        {"dev_fraction": 0.5, "test_fraction": 0.5},
    ],
)
def test_invalid_settings_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        replace(AS_IS, **wrong)


MEASURE = """
import resource, sys
from pathlib import Path
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.features.mel import PRESETS
preprocess(Path(sys.argv[1]), Path(sys.argv[2]), PreprocessConfig(PRESETS["speech_16k"]), 0, lambda items, *_: items)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path) -> None:
    minute = np.random.default_rng(0).integers(-9000, 9000, (44100 * 60, 2)).astype(np.int16)
    peaks = []  # MB
    for minutes in (2, 20):
        folder = tmp_path / f"in{minutes}"
        folder.mkdir()
        with soundfile.SoundFile(folder / "chapter.wav", "w", 44100, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        arguments = [sys.executable, "-c", MEASURE, str(folder), str(tmp_path / f"store{minutes}")]
        peaks.append(float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 120  # of 18 minutes more, which are 190 MB as 16-bit samples and 380 as floats
