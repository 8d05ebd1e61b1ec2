"""vocoder-synthesize: waveforms from mels, past bad files, with a list of them at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vocoder.audio import AUDIO_SUFFIXES, read_audio, write_wav
from vocoder.commands import cli
from vocoder.errors import UserError
from vocoder.mel import check_mel
from vocoder.mel_files import MEL_SUFFIXES, read_mel
from vocoder.settings import from_mapping
from vocoder.store import Entry, Store
from vocoder.synthesis import Request, Vocoder, load

NOT_ALL = 1  # exit code when some inputs could not be synthesised; none at all is an error of use


@dataclass(frozen=True)
class Settings:
    """The command's config."""

    model: str
    input: str
    output: str
    split: str
    limit: int | None
    speaker: str | None
    seed: int
    temperature: float
    batch: int
    device: str


def main() -> None:
    """The console script."""
    cli.run("synthesize", job)


def job(config: dict[str, Any]) -> int:
    """Synthesise every input; returns 1 where some could not be, 2 where none could."""
    settings = from_mapping(Settings, config)
    for name, value in (("batch", settings.batch), ("limit", settings.limit)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: must be at least 1")
    vocoder = load(settings.model, settings.device)
    sources = list(find_sources(vocoder, settings))[: settings.limit]
    requests, failures = read_all(vocoder, sources)
    synthesize_all(vocoder, requests, settings)
    for failure in failures:
        print(f"vocoder-synthesize: not synthesised: {failure}", file=sys.stderr)
    if not requests:
        return cli.USER_ERROR
    return NOT_ALL if failures else 0


@dataclass(frozen=True)
class Source:
    """An input that is not read yet."""

    id: str
    read: Callable[[], Request]


def find_sources(vocoder: Vocoder, settings: Settings) -> Iterator[Source]:
    """What `input` names: a store's split, one file, or the files of a folder.

    Raises:
        UserError: there is nothing there to synthesise, or the store's mels are not the model's.
    """
    path = Path(settings.input)
    if (path / "store.json").exists():
        return _from_store(vocoder, Store(path), settings)
    if path.is_file():
        return iter([_from_file(vocoder, path, path.stem, settings.speaker)])
    if not path.is_dir():
        raise UserError(f"input={path}: no such file or folder")
    suffixes = AUDIO_SUFFIXES + MEL_SUFFIXES
    files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    if not files:
        raise UserError(f"input={path}: no mels or audio in it or below it ({', '.join(suffixes)})")
    ids = [file.relative_to(path).with_suffix("").as_posix() for file in files]
    return (_from_file(vocoder, file, id, settings.speaker) for file, id in zip(files, ids, strict=True))


def read_all(vocoder: Vocoder, sources: list[Source]) -> tuple[list[Request], list[str]]:
    """Requests that can be synthesised, shortest first, and a line for each that cannot."""
    requests: list[Request] = []
    failures: list[str] = []
    taken: set[str] = set()
    for source in sources:
        try:
            if source.id in taken:
                raise UserError(f"{source.id}: another input has the same name but for its suffix")
            taken.add(source.id)
            request = source.read()
            check_mel(torch.from_numpy(request.mel), vocoder.spec)
            vocoder.model.speaker_index(request.speaker)
            requests.append(request)
        except UserError as error:
            message = str(error)
            failures.append(message if source.id in message else f"{source.id}: {message}")
    return sorted(requests, key=lambda request: request.mel.shape[1]), failures


def synthesize_all(vocoder: Vocoder, requests: list[Request], settings: Settings) -> None:
    """Write a wav for each request, a batch at a time, with the real-time factor and the time left."""
    rate = vocoder.sample_rate
    total = sum(request.mel.shape[1] for request in requests) * vocoder.spec.hop_length
    output = Path(settings.output)
    started = time.monotonic()
    shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of speech [{elapsed}<{remaining}{postfix}]"
    with tqdm(total=total / rate, dynamic_ncols=True, desc="synthesising", bar_format=shape) as bar:
        for first in range(0, len(requests), settings.batch):
            batch = requests[first : first + settings.batch]
            shown = bar.n
            length = sum(request.mel.shape[1] for request in batch) * vocoder.spec.hop_length / rate
            padded = max(request.mel.shape[1] for request in batch) * len(batch) * vocoder.spec.hop_length

            def advance(samples: int, share: float = length / padded) -> None:
                bar.update(samples * share)
                bar.set_postfix({"× real time": f"{bar.n / (time.monotonic() - started):.3f}"}, refresh=False)

            waves = vocoder.synthesize_batch(batch, settings.seed, temperature=settings.temperature, progress=advance)
            bar.update(shown + length - bar.n)
            for request, wave in zip(batch, waves, strict=True):
                write_wav(_inside(output, request.id), wave, rate)
    if requests:
        elapsed = time.monotonic() - started
        seconds = total / rate
        print(f"{output}: {len(requests)} wavs, {seconds:.1f} s of speech in {elapsed:.1f} s,", end=" ")
        print(f"{seconds / elapsed:.3f} × real time")


def _from_store(vocoder: Vocoder, store: Store, settings: Settings) -> Iterator[Source]:
    if store.spec != vocoder.spec:
        raise UserError(
            f"input={store.directory}: its mels are not the model's ({store.spec.differences(vocoder.spec)}); "
            "preprocess the recordings with the model's mel, or give the recordings themselves"
        )
    entries = store.split(settings.split)
    if not entries:
        raise UserError(f"split={settings.split}: {store.directory} has no utterances in it; choose another split")
    for entry in entries:
        speaker = settings.speaker or (entry.speaker if vocoder.model.speakers else None)
        yield Source(entry.id, partial(_read_entry, store, entry, speaker))


def _read_entry(store: Store, entry: Entry, speaker: str | None) -> Request:
    return Request(entry.id, store.read(entry).mel.T.copy(), speaker)


def _from_file(vocoder: Vocoder, path: Path, id: str, speaker: str | None) -> Source:
    def read() -> Request:
        if path.suffix.lower() in AUDIO_SUFFIXES:
            return Request(id, vocoder.mel(*read_audio(path)), speaker)
        if path.suffix.lower() in MEL_SUFFIXES:
            return Request(id, read_mel(path), speaker)
        raise UserError(f"{path}: neither audio nor a mel file ({', '.join(AUDIO_SUFFIXES + MEL_SUFFIXES)})")

    return Source(id, read)


def _inside(output: Path, id: str) -> Path:
    """The wav of an utterance; its id must not lead out of the output folder."""
    path = output / f"{id}.wav"
    if not path.resolve().is_relative_to(output.resolve()):
        raise UserError(f"{id}: leads out of {output}")
    return path
