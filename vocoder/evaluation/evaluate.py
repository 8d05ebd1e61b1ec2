"""The work of vocoder-evaluate on one utterance: renditions by the baselines, and the measures of all renditions.

The folder of an evaluation:

    wavs/SYSTEM/ID.wav    original, baselines and models; seeds/SYSTEM/N/ID.wav for seeds after the first
    utterances/*.json     what was measured of each utterance; work that is there is not repeated
    likelihoods/, speeds/ of each model
    results.json, utterances.csv, summary.csv, report.html
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from vocoder.errors import UserError
from vocoder.evaluation.artefacts import find_artefacts
from vocoder.evaluation.baselines import griffin_lim, world_vocoder
from vocoder.evaluation.flac import flac_bits
from vocoder.evaluation.measure import Target, measure
from vocoder.evaluation.packages import is_usable
from vocoder.evaluation.recordings import Recording
from vocoder.evaluation.results import Artefact, Rendition, Utterance
from vocoder.features.audio import int16_to_waveform, read_audio, resample, waveform_to_int16, write_wav
from vocoder.features.mel import MelSpec
from vocoder.files import read_json, write_json

ORIGINAL = "original"
Renderer = Callable[[np.ndarray, np.ndarray, MelSpec], np.ndarray]
BASELINES: dict[str, Renderer] = {  # (waveform, mel, spec) -> waveform
    "griffin_lim": lambda waveform, mel, spec: griffin_lim(mel, spec),
    "world": lambda waveform, mel, spec: world_vocoder(waveform, spec.sample_rate),
}
NEEDS = {"world": "pyworld"}  # packages of baselines
FORMAT = 2  # of the files in utterances/; a new number makes older ones be measured again


@dataclass(frozen=True)
class TeacherForced:
    """What a model assigns to a recording: bits per sample, and total bits and samples by level."""

    per_sample: float
    by_level: dict[str, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One utterance to measure.

    Attributes:
        wavs: for each model or folder of wavs the paths of its waves, one for each seed.
        likelihoods: by the names of models.
    """

    recording: Recording
    wavs: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    likelihoods: Mapping[str, TeacherForced] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What is measured of every utterance, and where the results go."""

    folder: Path
    spec: MelSpec
    measures: tuple[str, ...]
    baselines: tuple[str, ...] = ()

    def wav(self, system: str, id: str) -> Path:
        """The path of a wav in the folder. Raises UserError where the id leads out of it."""
        home = self.folder / "wavs" / system
        path = home / f"{id}.wav"
        if not path.resolve().is_relative_to(home.resolve()):
            raise UserError(f"{id}: leads out of {home}")
        return path


def available_baselines() -> tuple[str, ...]:
    """The baselines whose packages are installed."""
    return tuple(name for name in BASELINES if name not in NEEDS or is_usable(NEEDS[name]))


def measure_utterance(task: Task, measurement: Measurement) -> Utterance:
    """Render the utterance by the baselines, write their wavs and the original's, and measure all renditions.

    The result is also written to the folder; where it is there already, made of the same, it is read.

    Raises:
        UserError: the recording or a wav cannot be read, or the results cannot be written.
    """
    wave = task.recording.wave()
    path, key = _result_path(task, measurement), _key(task, measurement, wave)
    if path.exists():
        found = read_json(path)
        if found.get("key") == key:
            return Utterance.from_json(found["utterance"])
    utterance = _measure(task, measurement, wave)
    write_json(path, {"key": key, "utterance": asdict(utterance)})
    return utterance


def _measure(task: Task, measurement: Measurement, wave: np.ndarray) -> Utterance:
    spec, id = measurement.spec, task.recording.id
    waveform, mel = int16_to_waveform(wave), task.recording.mel()
    target = Target(waveform, torch.from_numpy(mel), spec)
    wavs: dict[str, Sequence[Path]] = {ORIGINAL: [measurement.wav(ORIGINAL, id)]}
    write_wav(wavs[ORIGINAL][0], wave, spec.sample_rate)
    for name in measurement.baselines:
        wavs[name] = [measurement.wav(name, id)]
        rendered = BASELINES[name](waveform, mel, spec)
        write_wav(wavs[name][0], waveform_to_int16(rendered), spec.sample_rate)
    for name, paths in task.wavs.items():
        wavs[name] = [_bring_in(path, name, id, measurement) for path in paths]
    renditions = {}
    for name, paths in wavs.items():
        values, artefacts = zip(*(_measure_wav(path, target, measurement) for path in paths), strict=True)
        likelihood = task.likelihoods.get(name)
        extra = {ORIGINAL: {"flac_bits": flac_bits(wave, spec.sample_rate)}}.get(name, {})
        extra |= {"bits": likelihood.per_sample} if likelihood else {}
        wanted = {key: value for key, value in extra.items() if key in measurement.measures}
        renditions[name] = Rendition(
            wav=paths[0].relative_to(measurement.folder).as_posix(),
            values=_mean(values) | wanted,
            by_seed=list(values) if len(values) > 1 else [],
            artefacts=list(artefacts[0]),
            bits_by_level=likelihood.by_level if likelihood else {},
        )
    return Utterance(id, len(wave) / spec.sample_rate, task.recording.speaker, renditions)


def _bring_in(path: Path, system: str, id: str, measurement: Measurement) -> Path:
    """The path itself if it is in the folder, or that of a copy there, resampled to the recordings' rate."""
    if path.resolve().is_relative_to(measurement.folder.resolve()):
        return path
    copy, sample_rate = measurement.wav(system, id), measurement.spec.sample_rate
    write_wav(copy, waveform_to_int16(resample(*read_audio(path), sample_rate)), sample_rate)
    return copy


def _measure_wav(path: Path, target: Target, measurement: Measurement) -> tuple[dict[str, float], list[Artefact]]:
    """The values and artefacts of a wav. Raises UserError where it cannot be read."""
    waveform, sample_rate = read_audio(path)
    values = measure(waveform, target, measurement.measures)
    numbers, artefacts = find_artefacts(waveform, target.waveform, sample_rate)
    return values | {name: value for name, value in numbers.items() if name in measurement.measures}, artefacts


def _mean(values: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each measure over seeds; what one seed lacks is left out."""
    names = [name for name in values[0] if all(name in other for other in values)]
    return {name: float(np.mean([other[name] for other in values])) for name in names}


def _result_path(task: Task, measurement: Measurement) -> Path:
    """Named by a hash of the id, which may be longer than a file's name."""
    digest = hashlib.sha256(task.recording.id.encode()).hexdigest()[:24]
    return measurement.folder / "utterances" / f"{digest}.json"


def _key(task: Task, measurement: Measurement, wave: np.ndarray) -> str:
    """A hash of everything that the results depend on: settings, the recording, and the waves of the systems."""
    settings = (FORMAT, measurement.spec, measurement.measures, measurement.baselines, dict(task.likelihoods))
    digest = hashlib.sha256(repr(settings).encode() + wave.tobytes())
    for name, paths in sorted(task.wavs.items()):
        for path in paths:
            try:
                digest.update(json.dumps([name, str(path)]).encode() + path.read_bytes())
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()
