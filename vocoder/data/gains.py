"""The gain of each recording: from peaks the same for the whole corpus, from loudness that of what is to be as loud."""

from collections.abc import Sequence
from dataclasses import dataclass

from vocoder.corpora import Recording
from vocoder.data.config import PreprocessConfig
from vocoder.data.level import CorpusLevel, corpus_level
from vocoder.data.survey import Survey
from vocoder.errors import UserError
from vocoder.features.loudness import GatedPower

Key = str | int | None  # what recordings of one gain share


@dataclass(frozen=True)
class Gains:
    """The gain of each recording, in their order, and why a recording cannot be used."""

    gains: list[float]
    problems: list[str | None]
    common: float | None  # the gain, if all share one


def decide_gains(
    recordings: Sequence[Recording], surveys: Sequence[Survey | UserError], settings: PreprocessConfig
) -> Gains:
    """The gains that the settings ask for.

    Raises:
        UserError: each speaker is to have a gain, and no recording has one.
    """
    peaks = [result.peak for result in surveys if isinstance(result, Survey)]
    level = corpus_level(peaks, settings.target_peak, settings.silence_peak)
    if settings.loudness is None:
        problems = [level.problem(result.peak) if isinstance(result, Survey) else None for result in surveys]
        return Gains([level.gain] * len(surveys), problems, level.gain)
    keys = _keys(recordings, settings)
    by_key = loudness_gains(settings.loudness, keys, surveys, level)
    problems = [_problem(level, result, by_key.get(key)) for key, result in zip(keys, surveys, strict=True)]
    common = by_key.get(None, 1.0) if settings.loudness_of == "corpus" else None
    return Gains([by_key.get(key, 1.0) for key in keys], problems, common)


def loudness_gains(
    target: float, keys: Sequence[Key], surveys: Sequence[Survey | UserError], level: CorpusLevel
) -> dict[Key, float]:
    """The gain that brings all recordings of a key together to `target` (LUFS): their gated blocks count alike.

    Recordings that are silent or at another scale do not count. A key all of whose recordings are such has no gain.
    """
    blocks: dict[Key, list[GatedPower]] = {}
    for key, result in zip(keys, surveys, strict=True):
        if isinstance(result, UserError) or not level.silence_peak <= result.peak <= level.highest:
            continue
        if result.loudness is not None and result.loudness.blocks:
            blocks.setdefault(key, []).append(result.loudness)
    return {key: 10 ** ((target - _together(found).lufs) / 20) for key, found in blocks.items()}


def _together(found: Sequence[GatedPower]) -> GatedPower:
    blocks = sum(each.blocks for each in found)
    return GatedPower(sum(each.power * each.blocks for each in found) / blocks, blocks)


def _keys(recordings: Sequence[Recording], settings: PreprocessConfig) -> list[Key]:
    if settings.loudness_of == "recording":
        return list(range(len(recordings)))
    if settings.loudness_of == "corpus":
        return [None] * len(recordings)
    speakers: list[Key] = [recording.speaker_by(settings.speaker) for recording in recordings]
    if not any(speakers):
        raise UserError("loudness_of=speaker: no recording has a speaker; give speaker=folder, or loudness_of=corpus")
    return speakers


def _problem(level: CorpusLevel, result: Survey | UserError, gain: float | None) -> str | None:
    if isinstance(result, UserError):
        return None
    problem = level.problem(result.peak, gain)
    if problem is None and gain is None:
        return "too quiet for its loudness to be measured (all of it is below -70 LUFS)"
    return problem
