"""Synthesis of many utterances into a folder: every wav is whole, and finished wavs are skipped."""

import errno
import hashlib
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vocoder.errors import UserError
from vocoder.features.audio import read_comment, write_wav
from vocoder.features.mel_input import MelFormat
from vocoder.files import read_json, write_json
from vocoder.synthesis.batching import generate
from vocoder.synthesis.sources import Source
from vocoder.synthesis.vocoder import Vocoder, check_temperature

PROVENANCE = "synthesis.json"  # in the output folder: the model and settings that its wavs were made with
FATAL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors of writing that the next file would meet too


@dataclass(frozen=True)
class SynthesisOptions:
    """What determines an utterance's wave, besides the model and the mel."""

    seed: int = 0
    temperature: float = 1.0
    folded: bool = False
    speaker: str | None = None  # replaces each source's own


def synthesize_into(
    output: Path,
    vocoder: Vocoder,
    sources: list[Source],
    options: SynthesisOptions,
    progress: Callable[[int], None] = lambda samples: None,
    *,
    overwrite: bool = False,
) -> Iterator[tuple[str, int | UserError]]:
    """Write OUTPUT/<id>.wav for each source; yield (id, number of samples) once it is written, or (id, error).

    Each wav's comment holds a hash of the input, model and options. A wav that an earlier run or another shard made
    from the same source, model and options is skipped. Other wavs are replaced only with `overwrite`, and inputs never.

    Raises:
        UserError: the folder holds wavs made with another model or other options, or cannot be written to.
    """
    check_temperature(options.temperature)
    check_folder(output)
    folder = OutputFolder(output, provenance_of(vocoder, options), overwrite)
    inputs = {source.path.resolve() for source in sources if source.path}
    to_do: list[Source] = []
    for source in sources:
        try:
            if folder.needs(source, inputs):
                to_do.append(source)
        except UserError as error:
            yield source.id, error
    to_do.sort(key=lambda source: -source.frames)  # longest first, so that all lanes finish at about the same time
    synthesize = _synthesize_folded if options.folded else _synthesize_batched
    with closing(synthesize(vocoder, to_do, options, progress)) as waves:
        for source, wave in waves:
            yield source.id, _write(folder, source, wave, vocoder.sample_rate)


class OutputFolder:
    """A folder of wavs that were all made with one model and one set of options.

    Raises:
        UserError: its wavs were made with others, and `overwrite` is not set.
    """

    def __init__(self, path: Path, provenance: dict[str, object], overwrite: bool) -> None:
        self.path, self.provenance, self.overwrite = path, provenance, overwrite
        self._recorded = self._check_provenance()

    def needs(self, source: Source, inputs: set[Path]) -> bool:
        """Whether the source's wav is still to be made; False where it exists and was made from the same.

        Raises:
            UserError: it cannot be made, or another file is in its place.
        """
        if source.problem:
            raise UserError(source.problem)
        path = self.wav(source.id)
        if not path.exists():
            return True
        if read_comment(path) == self.comment(source):
            return False
        if path.resolve() in inputs:
            raise UserError(f"{path}: is an input; choose another output folder")
        if not self.overwrite:
            raise UserError(f"{path}: exists, and was made from something else; overwrite=true replaces it")
        return True

    def write(self, source: Source, wave: np.ndarray, sample_rate: int) -> None:
        """Write the source's wav. Raises UserError where it cannot be written."""
        write_wav(self.wav(source.id), wave, sample_rate, self.comment(source))

    def record_provenance(self) -> None:
        """Write synthesis.json unless it is there.

        Raises:
            UserError: another shard wrote one meanwhile, for another model or other options.
        """
        if not (self._recorded or self._check_provenance()):
            write_json(self.path / PROVENANCE, self.provenance)
        self._recorded = True

    def wav(self, id: str) -> Path:
        """The path of an utterance's wav.

        Raises:
            UserError: it is outside the folder, or no valid path.
        """
        path = self.path / f"{id}.wav"
        try:
            outside = not path.resolve().is_relative_to(self.path.resolve())
        except (OSError, RuntimeError) as error:  # a loop of symbolic links, or a name too long
            raise UserError(f"{path}: cannot be written ({error})") from None
        if outside:
            raise UserError(f"{id}: leads out of {self.path}")
        return path

    def comment(self, source: Source) -> str:
        """The comment of a wav: a hash of its source, the model and the options."""
        given = {key: value for key, value in self.provenance.items() if key != "mel" or value}  # a later key
        settings = json.dumps(given, sort_keys=True)
        digest = hashlib.sha256(f"{source.id}\0{source.stamp}\0{settings}".encode())
        return f"synthesised, {digest.hexdigest()}"

    def _check_provenance(self) -> bool:
        """Whether synthesis.json exists and agrees with `provenance`; errors as the class."""
        path = self.path / PROVENANCE
        if not path.exists():
            return False
        try:
            existing = read_json(path)
        except UserError:
            if not self.overwrite:
                raise
            return False
        current = self.provenance
        changed = [key for key in current if not isinstance(existing, dict) or existing.get(key) != current[key]]
        if changed and not self.overwrite:
            raise UserError(
                f"output={self.path}: its wavs differ in {' and '.join(changed)}; "
                "choose another folder, or overwrite=true"
            )
        return not changed


def _write(folder: OutputFolder, source: Source, wave: np.ndarray | UserError, sample_rate: int) -> int | UserError:
    """Write a wav and return its number of samples, or the error of this source alone; raises those of the folder."""
    if isinstance(wave, UserError):
        return with_name(wave, source)
    folder.record_provenance()
    try:
        folder.write(source, wave, sample_rate)
    except UserError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in FATAL_ERRNOS:
            raise
        return error
    return len(wave)


def with_name(error: UserError, source: Source) -> UserError:
    """The error, with the source's path or id in front unless it is there already."""
    names = [source.id, *([str(source.path)] if source.path else [])]
    return error if str(error).startswith(tuple(f"{name}:" for name in names)) else UserError(f"{names[-1]}: {error}")


Waves = Generator[tuple[Source, np.ndarray | UserError], None, None]


def _synthesize_batched(
    vocoder: Vocoder, sources: list[Source], options: SynthesisOptions, progress: Callable[[int], None]
) -> Waves:
    """Many sources at the same time, by continuous batching."""
    tasks = [vocoder.task(source, source.read, options.seed) for source in sources]
    return generate(vocoder.engine, tasks, options.temperature, progress)


def _synthesize_folded(
    vocoder: Vocoder, sources: list[Source], options: SynthesisOptions, progress: Callable[[int], None]
) -> Waves:
    """One source after another, the pieces of each at the same time."""
    for source in sources:
        try:
            wave = vocoder.synthesize_folded(
                source.read(), options.seed, temperature=options.temperature, progress=progress
            )
            yield source, wave
        except UserError as error:
            yield source, error


def provenance_of(vocoder: Vocoder, options: SynthesisOptions) -> dict[str, object]:
    """The content of synthesis.json: a hash of the model's structure and weights, the engine, and the options."""
    digest = hashlib.sha256(vocoder.model.describe().encode() + repr(vocoder.model).encode())
    digest.update(repr((vocoder.spec, vocoder.model.distribution, vocoder.model.pre_emphasis)).encode())
    for name, tensor in sorted(vocoder.model.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return {
        "model": digest.hexdigest(),
        "engine": vocoder.engine.arithmetic,
        "seed": options.seed,
        "temperature": options.temperature,
        "postfilter": vocoder.postfilter.passes,
        "fold": options.folded,
        "speaker": options.speaker,
    } | mels_of(vocoder)


def mels_of(vocoder: Vocoder) -> dict[str, object]:
    """What the mels were made with, where the vocoder was told, with a hash of the statistics."""
    mels = vocoder.mels
    if mels == MelFormat():
        return {"mel": None}
    statistics = mels.statistics and hashlib.sha256(Path(mels.statistics).read_bytes()).hexdigest()
    return {"mel": asdict(mels) | {"statistics": statistics}}


def check_folder(output: Path) -> None:
    """Raises UserError where a file is in the way of the folder."""
    for place in (output, *output.parents):
        if place.exists():
            if not place.is_dir():
                raise UserError(f"output={output}: {place} is a file; choose another folder")
            return
