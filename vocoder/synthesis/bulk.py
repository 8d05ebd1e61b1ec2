"""Synthesis of many utterances into a folder: whole files only, what is there already is not done again."""

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vocoder.audio import write_wav
from vocoder.engines import Frame
from vocoder.errors import UserError
from vocoder.files import read_json, write_json
from vocoder.synthesis.batching import Job, generate
from vocoder.synthesis.sources import Source
from vocoder.synthesis.vocoder import Vocoder, check_temperature

DESCRIPTION = "synthesis.json"  # in the output folder: what its wavs were made with


@dataclass(frozen=True)
class Sound:
    """What decides how an utterance sounds, beside the model and its mel."""

    seed: int = 0
    temperature: float = 1.0
    folded: bool = False
    speaker: str | None = None  # in place of each source's own


def synthesize_into(
    output: Path,
    vocoder: Vocoder,
    sources: list[Source],
    sound: Sound,
    progress: Callable[[int], None] = lambda samples: None,
    *,
    overwrite: bool = False,
) -> Iterator[tuple[str, int | UserError]]:
    """Write OUTPUT/<id>.wav for each source; yield (id, its samples) as each is written, or what was wrong with it.

    What an earlier run or another shard wrote with the same model and settings is passed over, unless it is to be
    overwritten. Wavs of others count as not there once the folder is said to be overwritten.

    Raises:
        UserError: the folder holds wavs of another model or other settings, or cannot be written to.
    """
    check_temperature(sound.temperature)
    check_folder(output)
    described = described_by(vocoder, sound)
    same = check_description(output, described, overwrite)
    to_do = [source for source in sources if overwrite or not is_done(output, source.id)]
    to_do.sort(key=lambda source: -source.frames)  # the longest first, lest one of them is alone at the end
    with closing((_folded if sound.folded else _together)(output, vocoder, to_do, sound, progress)) as waves:
        for source, wave in waves:
            if isinstance(wave, UserError):
                yield source.id, wave if source.id in str(wave) else UserError(f"{source.id}: {wave}")
                continue
            path = inside(output, source.id)
            # Before the first wav, which is how those that came before are told from it; or another shard did it.
            same = same or check_description(output, described, overwrite)
            if not same:
                write_json(output / DESCRIPTION, described)
                same = True
            write_wav(path, wave, vocoder.sample_rate)
            yield source.id, len(wave)


def is_done(output: Path, id: str) -> bool:
    """Whether the wav is there, and was written after the folder's description."""
    wav, description = output / f"{id}.wav", output / DESCRIPTION
    try:
        return wav.stat().st_mtime_ns >= description.stat().st_mtime_ns
    except FileNotFoundError:
        return False


Waves = Generator[tuple[Source, np.ndarray | UserError], None, None]


def _together(
    output: Path, vocoder: Vocoder, sources: list[Source], sound: Sound, progress: Callable[[int], None]
) -> Waves:
    def frames(source: Source) -> Iterator[Frame]:
        inside(output, source.id)  # before the work, not after it
        yield from vocoder.frames(source.read(), sound.seed)

    jobs = [Job(source, partial(frames, source)) for source in sources]
    return generate(vocoder.engine, jobs, sound.temperature, progress)


def _folded(
    output: Path, vocoder: Vocoder, sources: list[Source], sound: Sound, progress: Callable[[int], None]
) -> Waves:
    """One after another, each in pieces at the same time."""
    for source in sources:
        try:
            inside(output, source.id)
            request = source.read()
            yield (
                source,
                vocoder.synthesize_folded(request, sound.seed, temperature=sound.temperature, progress=progress),
            )
        except UserError as error:
            yield source, error


def described_by(vocoder: Vocoder, sound: Sound) -> dict[str, object]:
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
    theirs = read_json(path)
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
    if not path.resolve().is_relative_to(output.resolve()):
        raise UserError(f"{id}: leads out of {output}")
    return path
