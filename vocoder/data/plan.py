"""What the second pass is to do, decided from the surveys of all recordings: which parts of them, with which gain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vocoder.corpora import Recording
from vocoder.data.config import PreprocessConfig
from vocoder.data.gains import decide_gains
from vocoder.data.given_mels import GivenMels
from vocoder.data.survey import Survey
from vocoder.data.utterance import Part
from vocoder.errors import UserError


@dataclass(frozen=True)
class Input:
    """A recording and the parts of it that are to be processed: none, with the reason; all of it; or pieces."""

    recording: Recording
    problem: UserError | None = None
    parts: list[Part] = field(default_factory=list)
    survey: Survey | None = None


@dataclass(frozen=True)
class Plan:
    """The work of the second pass: its recordings in order, and the gain that all have in common, if they do."""

    inputs: list[Input]
    gain: float | None

    @property
    def parts(self) -> list[Part]:
        return [part for found in self.inputs for part in found.parts]


def make_plan(
    recordings: Sequence[Recording],
    surveys: Sequence[Survey | UserError],
    mels: GivenMels | None,
    settings: PreprocessConfig,
) -> Plan:
    """Decide the gain, and what is done to each recording, from the surveys of all.

    Raises:
        UserError: as `decide_gains`.
    """
    decided = decide_gains(recordings, surveys, settings)
    inputs = [
        _input(recording, result, gain, problem, mels)
        for recording, result, gain, problem in zip(recordings, surveys, decided.gains, decided.problems, strict=True)
    ]
    return Plan(inputs, decided.common)


def _input(
    recording: Recording, result: Survey | UserError, gain: float, problem: str | None, mels: GivenMels | None
) -> Input:
    if isinstance(result, UserError):
        return Input(recording, result)
    if problem is not None:
        return Input(recording, UserError(f"{recording.path}: {problem}"))
    try:
        mel = mels.path(recording.id) if mels is not None else None
    except UserError as error:
        return Input(recording, error)
    parts = [Part(recording.path, start or 0, stop, mel, gain) for start, stop in pairwise(result.borders)]
    return Input(recording, parts=parts, survey=result)
