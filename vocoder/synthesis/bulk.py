"""Synthesis of many utterances into a folder: whole files only, what is there already is not done again."""

import errno
import hashlib
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vocoder.engines import Frame
from vocoder.errors import UserError
from vocoder.features.audio import read_comment, write_wav
from vocoder.files import read_json, write_json
from vocoder.synthesis.batching import Job, generate
from vocoder.synthesis.sources import Source
from vocoder.synthesis.vocoder import Vocoder, check_temperature

DESCRIPTION = "synthesis.json"  # in the output folder: what its wavs were made with


@dataclass(frozen=True)
class SynthesisOptions:
    """What decides how an utterance sounds, beside the model and its mel."""

    seed: int = 0
    temperature: float = 1.0
    folded: bool = False
    speaker: str | None = None  # in place of each source's own


def synthesize_into(
    output: Path,
    vocoder: Vocoder,
    sources: list[Source],
    sound: SynthesisOptions,
    progress: Callable[[int], None] = lambda samples: None,
    *,
    overwrite: bool = False,
) -> Iterator[tuple[str, int | UserError]]:
    """Write OUTPUT/<id>.wav for each source; yield (id, its samples) as each is written, or what was wrong with it.

    Each wav says in its comment what it was made of. Those that an earlier run or another shard made of the same are
    passed over; others are replaced only where they are to be overwritten, and an input never is.

    Raises:
        UserError: the folder holds wavs of another model or other settings, or cannot be written to.
    """
    check_temperature(sound.temperature)
    check_folder(output)
    described = described_by(vocoder, sound)
    same = check_description(output, described, overwrite)
    inputs = {source.path.resolve() for source in sources if source.path}
    to_do: list[Source] = []
    for source in sources:
        try:
            if is_to_do(output, source, described, inputs, overwrite):
                to_do.append(source)
        except UserError as error:
            yield source.id, error
    to_do.sort(key=lambda source: -source.frames)  # the longest first, lest one of them is alone at the end
    with closing((_folded if sound.folded else _together)(vocoder, to_do, sound, progress)) as waves:
        for source, wave in waves:
            if isinstance(wave, UserError):
                yield source.id, named(source, wave)
                continue
            same = same or check_description(output, described, overwrite)  # another shard may have written one
            if not same:
                write_json(output / DESCRIPTION, described)
                same = True
            try:
                write_wav(inside(output, source.id), wave, vocoder.sample_rate, made_of(source, described))
            except UserError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno in FOR_ALL:
                    raise
                yield source.id, error
            else:
                yield source.id, len(wave)


FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what will not go better with the next file


def is_to_do(output: Path, source: Source, described: dict[str, object], inputs: set[Path], overwrite: bool) -> bool:
    """False where the wav is there and made of the same.

    Raises:
        UserError: it cannot be made, or something else is in its place.
    """
    if source.problem:
        raise UserError(source.problem)
    path = inside(output, source.id)
    if not path.exists():
        return True
    if read_comment(path) == made_of(source, described):
        return False
    if path.resolve() in inputs:
        raise UserError(f"{path}: is an input; choose another output folder")
    if not overwrite:
        raise UserError(f"{path}: is there, made of something else; overwrite=true replaces it")
    return True


def made_of(source: Source, described: dict[str, object]) -> str:
    """What a wav is made of: its input, the model and the settings."""
    digest = hashlib.sha256(f"{source.id}\0{source.stamp}\0{json.dumps(described, sort_keys=True)}".encode())
    return f"synthesised, {digest.hexdigest()}"


def named(source: Source, error: UserError) -> UserError:
    """An error that says which of the sources it is of."""
    names = [source.id, *([str(source.path)] if source.path else [])]
    return error if str(error).startswith(tuple(f"{name}:" for name in names)) else UserError(f"{names[-1]}: {error}")


Waves = Generator[tuple[Source, np.ndarray | UserError], None, None]


def _together(
    vocoder: Vocoder, sources: list[Source], sound: SynthesisOptions, progress: Callable[[int], None]
) -> Waves:
    def frames(source: Source) -> Iterator[Frame]:
        yield from vocoder.frames(source.read(), sound.seed)

    jobs = [Job(source, partial(frames, source)) for source in sources]
    return generate(vocoder.engine, jobs, sound.temperature, progress)


def _folded(vocoder: Vocoder, sources: list[Source], sound: SynthesisOptions, progress: Callable[[int], None]) -> Waves:
    """One after another, each in pieces at the same time."""
    for source in sources:
        try:
            wave = vocoder.synthesize_folded(
                source.read(), sound.seed, temperature=sound.temperature, progress=progress
            )
            yield source, wave
        except UserError as error:
            yield source, error


def described_by(vocoder: Vocoder, sound: SynthesisOptions) -> dict[str, object]:
    digest = hashlib.sha256(vocoder.model.describe().encode() + repr(vocoder.model).encode())
    digest.update(repr((vocoder.spec, vocoder.model.distribution)).encode())
    for name, tensor in sorted(vocoder.model.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return {
        "model": digest.hexdigest(),
        "engine": vocoder.engine.arithmetic,
        "seed": sound.seed,
        "temperature": sound.temperature,
        "fold": sound.folded,
        "speaker": sound.speaker,
    }


def check_description(output: Path, described: dict[str, object], overwrite: bool) -> bool:
    """Whether the folder's wavs were made as described; False where there are none.

    Raises:
        UserError: they were made otherwise, and are not to be overwritten.
    """
    path = output / DESCRIPTION
    if not path.exists():
        return False
    try:
        theirs = read_json(path)
    except UserError:
        if not overwrite:
            raise
        return False
    changed = [key for key in described if not isinstance(theirs, dict) or theirs.get(key) != described[key]]
    if changed and not overwrite:
        differ = " and ".join(changed)
        raise UserError(f"output={output}: its wavs differ in {differ}; choose another folder, or overwrite=true")
    return not changed


def check_folder(output: Path) -> None:
    """Raises UserError where no folder can be."""
    for place in (output, *output.parents):
        if place.exists():
            if not place.is_dir():
                raise UserError(f"output={output}: {place} is a file; choose another folder")
            return


def inside(output: Path, id: str) -> Path:
    """The wav of an utterance; its id must not lead out of the output folder."""
    path = output / f"{id}.wav"
    try:
        leads_out = not path.resolve().is_relative_to(output.resolve())
    except (OSError, RuntimeError) as error:  # a circle of links, a name too long
        raise UserError(f"{path}: cannot be written ({error})") from None
    if leads_out:
        raise UserError(f"{id}: leads out of {output}")
    return path
