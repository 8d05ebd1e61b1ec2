"""A corpus summed up: hours, speakers, distributions, findings, and the commands that follow."""

import math
from dataclasses import replace

import pytest

from vocoder.doctor import Examination, diagnose, suggested_commands, text_report
from vocoder.doctor.histogram import histogram

GOOD = Examination(
    id="a",
    path="/c/a.wav",
    sample_rate=24000,
    channels=1,
    format="WAV",
    width="PCM_16",
    seconds=3600.0,
    peak=0.5,
    loudness=-24.0,
    noise_floor=-60.0,
    offset=0.0,
    clipped=0.0,
    impulses=0,
    leading=0.1,
    trailing=0.1,
    bandwidth=11500.0,
    content="a",
)
UNREADABLE = Examination(id="x", path="/c/x.wav", problem="/c/x.wav: not readable as audio")


def several(count: int, **changes: object) -> list[Examination]:
    return [replace(GOOD, id=f"u{n}", content=str(n), **changes) for n in range(count)]


def test_a_good_corpus_has_no_findings() -> None:
    diagnosis = diagnose("/c", "folder", several(3))
    assert diagnosis.findings == []
    assert "Nothing to complain of." in text_report(diagnosis, [])
    assert diagnosis.hours == pytest.approx(3)


def test_hours_are_those_of_usable_recordings_by_speaker_and_split() -> None:
    examined = [
        replace(GOOD, id="1", content="1", speaker="ann", split="train"),
        replace(GOOD, id="2", content="2", speaker="bob", split="dev", seconds=1800.0),
        replace(GOOD, id="3", content="3", speaker="bob", split="train", problem="silence"),
        UNREADABLE,
    ]
    diagnosis = diagnose("/c", "kaldi", examined)
    assert diagnosis.hours == pytest.approx(1.5)
    assert diagnosis.speakers == pytest.approx({"ann": 1.0, "bob": 0.5})
    assert diagnosis.splits == pytest.approx({"train": 1.0, "dev": 0.5})
    assert diagnosis.counts["sample_rate"] == {"24000": 3}
    assert [id for id, _ in diagnosis.findings[0].items] == ["3", "x"]


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"clipped": 0.01}, "Clipped"),
        ({"offset": -0.02}, "DC offset"),
        ({"noise_floor": -35.0}, "Noisy"),
        ({"trailing": 0.8}, "Silence at the ends"),
        ({"leading": 0.8}, "Silence at the ends"),
        ({"bandwidth": 8000.0}, "Narrow band"),
        ({"impulses": 1}, "Damaged samples"),
        ({"loudness": -50.0, "noise_floor": -90.0}, "Loudness"),
        ({"content": "0"}, "Duplicates"),
        ({"problem": "silence"}, "Skipped by preprocessing"),
    ],
)
def test_each_trouble_of_one_recording_is_one_finding(changes: dict[str, object], title: str) -> None:
    bad = replace(GOOD, id="bad", **({"content": "bad"} | changes))
    diagnosis = diagnose("/c", "folder", [*several(9), bad])
    assert [(finding.title, [id for id, _ in finding.items]) for finding in diagnosis.findings] == [(title, ["bad"])]


def test_a_recording_of_8_khz_is_not_narrow_for_its_rate() -> None:
    assert diagnose("/c", "folder", several(3, sample_rate=8000, bandwidth=3900.0)).findings == []


def test_of_two_recordings_with_one_id_the_second_is_skipped() -> None:
    twice = [GOOD, replace(GOOD, path="/c/a.flac", content="b")]
    diagnosis = diagnose("/c", "folder", twice)
    assert [each.usable for each in diagnosis.examinations] == [True, False]
    assert "/c/a.flac: another recording has the same id" in text_report(diagnosis, [])


def test_a_corpus_without_anything_usable_is_reported_too() -> None:
    diagnosis = diagnose("/c", "folder", [UNREADABLE])
    text = text_report(diagnosis, suggested_commands(diagnosis, "auto", "auto"))
    assert "1 recordings, 0 usable" in text
    assert "Suggested" not in text


@pytest.mark.parametrize(
    ("changes", "hours", "words"),
    [
        ({}, 1, ["mel=hifigan_22k"]),
        ({"sample_rate": 16000, "bandwidth": 8000.0}, 1, ["mel=speech_16k"]),
        ({"bandwidth": 7500.0}, 1, ["mel=speech_16k"]),
        ({"leading": 0.7}, 1, ["trim_db=40"]),
        ({}, 20, ["experiment=ljspeech"]),
    ],
)
def test_commands_follow_from_what_was_found(changes: dict[str, object], hours: int, words: list[str]) -> None:
    diagnosis = diagnose("/data/My Corpus-1.1", "folder", several(hours, **changes))
    text = " ".join(suggested_commands(diagnosis, "auto", "auto"))
    assert all(word in text.split() for word in words)
    assert "input='/data/My Corpus-1.1' output=data/my_corpus_1_1" in text
    assert ("trim_db=40" in text) == ("leading" in changes)
    assert ("experiment" in text) == (hours == 20)


def test_many_speakers_and_given_settings_are_in_the_commands() -> None:
    examined = [replace(each, speaker=str(n % 2)) for n, each in enumerate(several(6))]
    text = " ".join(suggested_commands(diagnose("/vctk", "vctk", examined), "vctk", "folder"))
    assert {"layout=vctk", "speaker=folder", "experiment=vctk"} <= set(text.split())


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    bad = replace(GOOD, id="a\x1b[2J\nb", impulses=1)
    text = text_report(diagnose("/c\x07", "folder", [bad]), [])
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"a\x1b[2J\nb: 1 sample" in text


def test_a_histogram_counts_every_value_once_within_its_picture() -> None:
    values = [0.0, 5.0, 5.0, 10.0, -20.0]
    shown = histogram(values, "offset", "dB")
    assert sum(bar.count for bar in shown.bars) == len(values)
    assert max(bar.height for bar in shown.bars) == 1
    assert shown.highest == 2
    assert all(bar.left >= 0 and bar.left + bar.width <= 1 + 1e-9 for bar in shown.bars)
    assert all(0 <= place <= 1 for place, _ in shown.ticks)


@pytest.mark.parametrize("value", [0.0, -120.0, 1e-9, 5.0])
def test_a_histogram_of_one_value_is_one_bar(value: float) -> None:
    shown = histogram([value] * 3, "x", "y")
    assert [bar.count for bar in shown.bars] == [3]
    assert all(math.isfinite(bar.left + bar.width + bar.height) for bar in shown.bars)
