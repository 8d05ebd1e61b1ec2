"""Every kind of damage that the script makes is found by the doctor, and nothing is said of whole recordings."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scripts.experiments.break_corpus import DAMAGES, break_corpus
from vocoder.corpora import find_recordings
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.doctor import Diagnosis, diagnose, examination, examine
from vocoder.errors import UserError
from vocoder.features.mel import PRESETS

SPEECH = Path(__file__).parent.parent / "speech"
EXPECTED = {
    "truncated": "Skipped by preprocessing",
    "wrong-byte": "Damaged samples",
    "wrong-byte-flac": "Skipped by preprocessing",
    "empty": "Skipped by preprocessing",
    "html": "Skipped by preprocessing",
    "nan": "Skipped by preprocessing",
    "silence": "Skipped by preprocessing",
    "short": "Skipped by preprocessing",
    "telephone": "Narrow band",
    "clipped": "Clipped",
    "offset": "DC offset",
    "noisy": "Noisy",
    "silent-ends": "Silence at the ends",
    "quiet": "Loudness",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A broken copy of recordings of one voice: two sets of the same clips, so that there are enough."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(4):
        (folder / f"{number}").symlink_to(SPEECH / "allison" if number == 0 else folder / f"copy{number}")
        if number:
            (folder / f"copy{number}").mkdir()
            for clip in (SPEECH / "allison").glob("*.flac"):
                (folder / f"copy{number}/{clip.name}").write_bytes(clip.read_bytes())
    break_corpus(folder, folder.parent / "broken")
    return folder.parent / "broken"


@pytest.fixture(scope="module")
def diagnosis(broken: Path) -> Diagnosis:
    return diagnose(str(broken), "folder", [examine(recording) for recording in find_recordings(broken)])


def findings_of(diagnosis: Diagnosis, id: str) -> set[str]:
    return {finding.title for finding in diagnosis.findings if id in dict(finding.items)}


def test_every_damage_of_the_script_is_expected() -> None:
    assert [Path(name).stem for name in DAMAGES] == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_damage_is_found(diagnosis: Diagnosis, name: str) -> None:
    assert EXPECTED[name] in findings_of(diagnosis, name)


def test_the_same_audio_in_another_format_is_a_duplicate(diagnosis: Diagnosis) -> None:
    (duplicates,) = [finding for finding in diagnosis.findings if finding.title == "Duplicates"]
    assert ("whole-00", "the same audio as duplicate") in duplicates.items


def test_nothing_is_said_of_whole_recordings_but_that_they_are_copies(diagnosis: Diagnosis) -> None:
    whole = [each.id for each in diagnosis.examinations if each.id.startswith("whole")]
    assert whole
    assert set().union(*(findings_of(diagnosis, id) for id in whole)) <= {"Duplicates"}


def test_what_would_be_skipped_is_what_preprocessing_skips(broken: Path, diagnosis: Diagnosis, tmp_path: Path) -> None:
    preprocess(broken, tmp_path / "store", PreprocessConfig(PRESETS["speech_16k"]), 0, lambda items, *_: items)
    records = [json.loads(line) for line in (tmp_path / "store/manifest.jsonl").read_text().splitlines()]
    skipped = {record["id"]: record["reason"] for record in records if record["status"] == "skipped"}
    assert {each.id: each.problem for each in diagnosis.examinations if not each.usable} == skipped
    assert len(skipped) == 7


def test_too_few_recordings_or_an_existing_folder_are_refused(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 6 recordings; more than 14 are needed"):
        break_corpus(SPEECH / "allison", tmp_path / "broken")
    with pytest.raises(UserError, match="exists already"):
        break_corpus(broken, broken)


def test_what_is_measured_of_a_long_recording_is_bounded_in_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 32000
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * rate)
    wave[rate:] = 0.9  # after what is measured
    soundfile.write(tmp_path / "long.wav", wave, rate, subtype="FLOAT")
    monkeypatch.setattr(examination, "LONGEST", rate)
    (found,) = (examine(recording) for recording in find_recordings(tmp_path))
    assert (found.seconds, found.peak) == (4.0, pytest.approx(0.9))
    assert found.offset == pytest.approx(wave[:rate].mean(), abs=1e-6)
