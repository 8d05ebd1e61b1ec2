"""From a folder of recordings to a store: find, measure, preprocess, split, describe.

Two passes over the files: the first measures levels, because one gain for the whole corpus can only be
known after it; the second does the work. Every input ends as kept or as skipped with a reason.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vocoder import jobs
from vocoder.data.store import SPLITS, StoreWriter
from vocoder.errors import UserError
from vocoder.features.audio import (
    AUDIO_SUFFIXES,
    int16_to_waveform,
    read_audio,
    resample,
    trim_silence,
    waveform_to_int16,
)
from vocoder.features.mel import MelSpec, frame_count, log_mel
from vocoder.files import atomic_directory

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


@dataclass(frozen=True)
class PreprocessConfig:
    """What preprocessing does to recordings."""

    mel: MelSpec
    # One gain brings the peak that 95 % of the utterances stay under to this; the louder rest has 3 dB
    # of headroom. None leaves levels as they are.
    peak: float | None = 0.7
    trim_db: float | None = None  # cut silence this far below the loudest frame off both ends; None keeps it
    min_seconds: float = 0.3
    silence_peak: float = 0.001  # -60 dBFS: quieter recordings are skipped as silence
    dev_fraction: float = 0.05
    test_fraction: float = 0.05
    speaker: Literal["none", "folder"] = "none"  # "folder": the first folder below the input names the speaker
    hold_out: tuple[str, ...] = ()  # speakers all of whose recordings are for testing; no model knows them

    def __post_init__(self) -> None:
        if not 0 <= self.dev_fraction + self.test_fraction < 1:
            raise UserError("dev_fraction and test_fraction must leave something to train on (sum below 1)")
        if self.hold_out and self.speaker == "none":
            raise UserError(f"hold_out={','.join(self.hold_out)}: speakers have names with speaker=folder only")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"peak={self.peak}: must lie between 0 and 1 (full scale), or be null")


@dataclass(frozen=True)
class Source:
    """One input file."""

    path: Path
    id: str  # path below the input folder without suffix, with / between folders

    @property
    def speaker_folder(self) -> str | None:
        return self.id.split("/")[0] if "/" in self.id else None


@dataclass(frozen=True)
class Processed:
    """What preprocessing makes of one recording."""

    wave: np.ndarray  # int16 [F·hop]
    mel: np.ndarray  # float32 [F, n_mels]
    sha256: str  # of the source file
    clipped: int  # samples


def find_audio(root: Path) -> list[Source]:
    """Audio files below `root`, recursively and sorted; hidden files and folders are passed over.

    Raises:
        UserError: the folder is missing or holds no audio.
    """
    if not root.is_dir():
        raise UserError(f"input={root}: no such folder")
    sources = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and not hidden and path.is_file():
            sources.append(Source(path, relative.with_suffix("").as_posix()))
    if not sources:
        raise UserError(f"input={root}: no audio in it or below it ({', '.join(AUDIO_SUFFIXES)})")
    return sources


def preprocess(
    root: Path, output: Path, settings: PreprocessConfig, workers: int, progress: Progress
) -> dict[str, Any]:
    """Make a store of all recordings below `root`; returns its description (store.json).

    Raises:
        UserError: nothing to do it with, the output exists, or too little is left to train on.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output={output}: exists already; give another name or delete it")
    sources = find_audio(root)
    peaks = [
        result for _, result in progress(jobs.run(measure_peak, sources, workers), "measuring levels", len(sources))
    ]
    gain = corpus_gain([peak for peak in peaks if not isinstance(peak, UserError)], settings)
    with atomic_directory(output) as aside, closing(StoreWriter(aside, settings.mel)) as writer:
        records = []
        work = jobs.run(partial(process, settings=settings, gain=gain), sources, workers)
        taken: set[str] = set()
        for source, result in progress(work, "preprocessing", len(sources)):
            record: dict[str, Any] = {"id": _utf8(source.id), "source": _utf8(str(source.path))}
            if _utf8(source.id) != source.id:
                result = UserError("its name is not UTF-8; rename it")
            elif not isinstance(result, UserError) and source.id in taken:
                result = UserError("another file has the same name but for its suffix")
            if isinstance(result, UserError):
                records.append(record | {"status": "skipped", "reason": str(result)})
                continue
            taken.add(source.id)
            shard, start = writer.append(result.wave, result.mel)
            records.append(
                record
                | {"status": "kept", "split": split_of(source, settings), "speaker": _speaker(source, settings)}
                | {"shard": shard, "start": start, "frames": len(result.mel)}
                | {"clipped": result.clipped, "sha256": result.sha256}
            )
        writer.close()
        _ensure_splits(records, settings)
        description = _describe(aside, records, settings, gain)
        writer.describe(records, description)
    return description


def measure_peak(source: Source) -> float:
    """The largest magnitude in a recording, as it is."""
    waveform, _ = read_audio(source.path)
    return float(np.abs(waveform).max())


def corpus_gain(peaks: list[float], settings: PreprocessConfig) -> float:
    """One factor for all recordings; a single loud one does not decide it."""
    audible = [peak for peak in peaks if peak >= settings.silence_peak]
    if settings.peak is None or not audible:
        return 1.0
    return settings.peak / float(np.percentile(audible, 95))


def process(source: Source, settings: PreprocessConfig, gain: float) -> Processed:
    """One recording at the store's sample rate and level, on the int16 grid, with its log-mel.

    Raises:
        UserError: it cannot be read, is silent, or too short.
    """
    spec = settings.mel
    waveform, sample_rate = read_audio(source.path)
    peak = float(np.abs(waveform).max())
    if peak < settings.silence_peak:
        raise UserError(f"{source.path}: silence (peak {peak:.5f} is below {settings.silence_peak:g})")
    waveform = resample(waveform, sample_rate, spec.sample_rate) * gain
    if settings.trim_db is not None:
        waveform = trim_silence(waveform, settings.trim_db)
    seconds = len(waveform) / spec.sample_rate
    if seconds < settings.min_seconds:
        raise UserError(f"{source.path}: too short ({seconds:.2f} s is below min_seconds={settings.min_seconds:g})")
    wave = waveform_to_int16(waveform)[: frame_count(len(waveform), spec) * spec.hop_length]
    mel = log_mel(torch.from_numpy(int16_to_waveform(wave)), spec).T.contiguous().numpy()
    clipped = int((np.abs(waveform) > 1).sum())
    return Processed(wave, mel, hashlib.sha256(source.path.read_bytes()).hexdigest(), clipped)


def split_of(source: Source, settings: PreprocessConfig) -> str:
    """train, dev or test by a hash of the id: the same whatever else is in the corpus. Who is held out is for test."""
    if source.speaker_folder in settings.hold_out:
        return "test"
    position = _hash_position(source.id)
    if position < settings.dev_fraction:
        return "dev"
    return "test" if position < settings.dev_fraction + settings.test_fraction else "train"


def _hash_position(utterance_id: str) -> float:
    return int(hashlib.sha256(utterance_id.encode()).hexdigest()[:8], 16) / 16**8


def _utf8(name: str) -> str:
    """A file name as text; what is not UTF-8 in it as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _ensure_splits(records: list[dict[str, Any]], settings: PreprocessConfig) -> None:
    """A small corpus may hash into fewer splits than it needs: fill train, dev, then test, by hash order."""
    kept = sorted((r for r in records if r["status"] == "kept"), key=lambda r: _hash_position(r["id"]))
    if len(kept) < 2:
        reasons = "; ".join(r["reason"] for r in records[:3] if r["status"] == "skipped")
        raise UserError(
            f"{len(kept)} of {len(records)} recordings could be used, and training needs 2 (one of them to "
            f"evaluate on){': ' + reasons if reasons else ''}"
        )
    for needed in (SPLITS if settings.test_fraction else SPLITS[:2])[: len(kept)]:
        if not any(record["split"] == needed for record in kept):
            movable = [record for record in kept if record["speaker"] not in settings.hold_out]
            if not movable:
                raise UserError(f"hold_out={','.join(settings.hold_out)}: nobody is left to train on")
            counts = {split: sum(record["split"] == split for record in movable) for split in SPLITS}
            largest = max(SPLITS, key=lambda split: counts[split])
            next(record for record in movable if record["split"] == largest)["split"] = needed


def _speaker(source: Source, settings: PreprocessConfig) -> str | None:
    return source.speaker_folder if settings.speaker == "folder" else None


def _describe(
    directory: Path, records: list[dict[str, Any]], settings: PreprocessConfig, gain: float
) -> dict[str, Any]:
    kept = [record for record in records if record["status"] == "kept"]
    speakers = sorted({record["speaker"] for record in kept} - {None} - set(settings.hold_out))
    missing = sorted(set(settings.hold_out) - {record["speaker"] for record in kept})
    if missing:
        raise UserError(f"hold_out={','.join(missing)}: no such speaker; there are {', '.join(speakers)}")
    if settings.speaker == "folder" and any(record["speaker"] is None for record in kept):
        raise UserError("speaker=folder: some recordings lie directly in the input folder, below no speaker's")
    samples = {s: sum(r["frames"] for r in kept if r["split"] == s) * settings.mel.hop_length for s in SPLITS}
    return {
        "gain": gain,
        "speakers": speakers,
        "held_out": sorted(settings.hold_out),
        "kept": len(kept),
        "skipped": len(records) - len(kept),
        "clipped_samples": sum(record["clipped"] for record in kept),
        "splits": {
            split: {
                "utterances": sum(record["split"] == split for record in kept),
                "seconds": samples[split] / settings.mel.sample_rate,
            }
            for split in SPLITS
        },
        "mel_statistics": _mel_statistics(directory, [record for record in kept if record["split"] == "train"]),
    }


def _mel_statistics(directory: Path, records: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Per-band mean and standard deviation in float64, an utterance at a time."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for record in records:
        shard = np.load(directory / f"mel-{record['shard']:05d}.npy", mmap_mode="r")
        mel = shard[record["start"] : record["start"] + record["frames"]].astype(np.float64)
        count, total, squares = count + len(mel), total + mel.sum(0), squares + np.square(mel).sum(0)
    mean = total / count
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist()}
