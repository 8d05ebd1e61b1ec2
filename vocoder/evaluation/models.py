"""What a model contributes to an evaluation: waves of its own mels for each sampling seed, and exact likelihoods."""

import hashlib
import json
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vocoder.errors import UserError
from vocoder.evaluation.evaluate import TeacherForced
from vocoder.evaluation.likelihood import bits_by_level, frame_bits
from vocoder.evaluation.recordings import Recording
from vocoder.files import read_json, write_errors_as_user_errors, write_json
from vocoder.synthesis import Request, Source, SynthesisOptions, Vocoder, synthesize_into
from vocoder.synthesis.bulk import provenance_of


@dataclass(frozen=True)
class Model:
    """A model under evaluation.

    Attributes:
        name: of its folder of wavs.
        folder: of the evaluation.
        speaker: for every utterance; None takes the recordings' own.
    """

    name: str
    vocoder: Vocoder
    folder: Path
    temperature: float = 1.0
    speaker: str | None = None

    def wavs(self, seed: int) -> Path:
        """The folder of the wavs of the seed with this number, from 0."""
        return self.folder / "wavs" / self.name if seed == 0 else self.folder / "seeds" / self.name / str(seed)

    def synthesize(
        self,
        recordings: Sequence[Recording],
        seed: int,
        progress: Callable[[int], None] = lambda samples: None,
        *,
        overwrite: bool = False,
    ) -> Iterator[tuple[str, int | UserError]]:
        """Write a wav for each recording's mel; yield (id, samples) or (id, error). Finished wavs are skipped.

        Raises:
            UserError: the folder holds wavs made by another model or with other options, and `overwrite` is not set.
        """
        options = SynthesisOptions(seed, self.temperature, speaker=self.speaker)
        sources = [self._source(recording) for recording in recordings]
        started, samples = time.monotonic(), 0
        for id, result in synthesize_into(
            self.wavs(seed), self.vocoder, sources, options, progress, overwrite=overwrite
        ):
            samples += result if isinstance(result, int) else 0
            yield id, result
        if samples and seed == 0:
            self._record_speed(samples, time.monotonic() - started)

    def likelihoods(self, recordings: Iterable[Recording]) -> Iterator[tuple[str, TeacherForced | UserError]]:
        """Yield (id, likelihood of the recording) or (id, error); what was computed before is read."""
        path = self.folder / "likelihoods" / f"{self.name}.jsonl"
        model = str(provenance_of(self.vocoder, SynthesisOptions(speaker=self.speaker))["model"])
        known = dict(_read_lines(path))
        with write_errors_as_user_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a", encoding="utf-8")
        with file:
            for recording in recordings:
                try:
                    wave, mel = recording.wave(), recording.mel()
                    key = _key(model, self._speaker_of(recording), wave, mel)
                    if key not in known:
                        known[key] = self._likelihood(recording, wave, mel)
                        with write_errors_as_user_errors(path):
                            file.write(json.dumps({"key": key, **asdict(known[key])}) + "\n")
                            file.flush()
                    yield recording.id, known[key]
                except UserError as error:
                    yield recording.id, error

    def details(self) -> dict[str, str]:
        """What a report says of the model: its size and engine, and speed and memory when its wavs were made."""
        speed = self._speed_path()
        facts = {"model": self.vocoder.model.describe(), "engine": self.vocoder.engine.describe()}
        return facts | (dict(read_json(speed)) if speed.exists() else {})

    def _source(self, recording: Recording) -> Source:
        def read() -> Request:
            return Request(recording.id, recording.mel(), self._speaker_of(recording))

        try:
            wave = recording.wave()
        except UserError as error:
            return Source(recording.id, read, problem=str(error))
        frames = len(wave) // self.vocoder.spec.hop_length
        return Source(recording.id, read, frames, hashlib.sha256(wave.tobytes()).hexdigest())

    def _speaker_of(self, recording: Recording) -> str | None:
        return self.speaker or self.vocoder.model.speaker_name(recording.speaker)

    def _likelihood(self, recording: Recording, wave: np.ndarray, mel: np.ndarray) -> TeacherForced:
        model = self.vocoder.model
        bits = frame_bits(model, wave, mel, model.speaker_index(self._speaker_of(recording)))
        return TeacherForced(float(bits.sum() / len(wave)), bits_by_level(bits, wave))

    def _speed_path(self) -> Path:
        return self.folder / "speeds" / f"{self.name}.json"

    def _record_speed(self, samples: int, seconds: float) -> None:
        speech = samples / self.vocoder.sample_rate
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB on Linux
        speed = {"speed": f"{speech / seconds:.3g} × real time", "peak memory": f"{peak / 2**20:.2f} GiB"}
        write_json(self._speed_path(), speed)


def _read_lines(path: Path) -> Iterator[tuple[str, TeacherForced]]:
    """(key, likelihood) of each line; a last line that was cut off is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        by_level = {band: (bits, samples) for band, (bits, samples) in record["by_level"].items()}
        yield record["key"], TeacherForced(record["per_sample"], by_level)


def _key(model: str, speaker: str | None, wave: np.ndarray, mel: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps([model, speaker]).encode())
    digest.update(wave.tobytes() + np.ascontiguousarray(mel).tobytes())
    return digest.hexdigest()


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each model: the run's folder, with the step of a checkpoint; numbered where two are the same."""
    names: list[str] = []
    for path in paths:
        resolved = path.resolve()
        is_checkpoint = resolved.parent.name == "checkpoints"
        name = f"{resolved.parent.parent.name}-{resolved.name}" if is_checkpoint else resolved.name
        taken = {*names, "original", "griffin_lim", "world"}
        numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, len(taken) + 2))
        names.append(next(candidate for candidate in numbered if candidate not in taken))
    return names
