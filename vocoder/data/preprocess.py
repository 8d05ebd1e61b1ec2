"""From a folder of recordings to a store.

There are two passes over the files. The first measures peak levels, from which one gain for the whole corpus follows;
the second resamples, scales and trims each recording and computes its mel. Every input file is recorded in the
manifest as kept, or as skipped with the reason.
"""

import hashlib
import re
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

# (items, label, total) -> the same items, while the share of them that is done is shown
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]


@dataclass(frozen=True)
class PreprocessConfig:
    """Settings of preprocessing.

    Raises:
        UserError: a setting is out of range, or contradicts another.
    """

    mel: MelSpec
    # One gain for the corpus brings the 95th percentile of the recordings' peaks to this value, so that louder
    # recordings have 3 dB of headroom. None leaves levels unchanged.
    peak: float | None = 0.7
    trim_db: float | None = None  # trims ends that are this far below the loudest frame; None does not trim
    min_seconds: float = 0.3
    silence_peak: float = 0.001  # -60 dBFS: quieter recordings are skipped as silence
    dev_fraction: float = 0.05
    test_fraction: float = 0.05
    # A regular expression. What it matches of an id decides the split, so that takes of one prompt share a split; None,
    # or no match: the whole id.
    split_by: str | None = None
    speaker: Literal["none", "folder"] = "none"  # "folder": the first folder below the input names the speaker
    hold_out: tuple[str, ...] = ()  # speakers whose recordings all go to the test split; models do not learn them

    def __post_init__(self) -> None:
        if not 0 <= self.dev_fraction + self.test_fraction < 1:
            raise UserError("dev_fraction and test_fraction must add up to less than 1, to leave a train split")
        if self.split_by is not None:
            try:
                re.compile(self.split_by)
            except re.error as error:
                raise UserError(f"split_by={self.split_by}: not a regular expression ({error})") from error
        if self.hold_out and self.speaker == "none":
            raise UserError(f"hold_out={','.join(self.hold_out)}: speakers have names only with speaker=folder")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"peak={self.peak}: must be above 0 and at most 1 (full scale), or null")


@dataclass(frozen=True)
class Recording:
    """One input file."""

    path: Path
    id: str  # path below the input folder without suffix, with / between folders

    @property
    def speaker_folder(self) -> str | None:
        """The first folder below the input; None for files directly in the input."""
        return self.id.split("/")[0] if "/" in self.id else None


@dataclass(frozen=True)
class ProcessedRecording:
    """The result of preprocessing one recording."""

    wave: np.ndarray  # int16 [F·hop]
    mel: np.ndarray  # float32 [F, n_mels]
    sha256: str  # of the input file, in hex
    clipped: int  # number of samples beyond full scale


def find_recordings(root: Path, setting: str = "input") -> list[Recording]:
    """The audio files below `root`, recursively, sorted by path; hidden files and folders are ignored.

    Args:
        setting: name of the setting that gives the folder, for errors.

    Raises:
        UserError: the folder is missing or contains no audio files.
    """
    if not root.is_dir():
        raise UserError(f"{setting}={root}: no such folder")
    recordings = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and not hidden and path.is_file():
            recordings.append(Recording(path, relative.with_suffix("").as_posix()))
    if not recordings:
        raise UserError(f"{setting}={root}: no audio files in it or below it ({', '.join(AUDIO_SUFFIXES)})")
    return recordings


def preprocess(root: Path, output: Path, settings: PreprocessConfig, workers: int, track: Track) -> dict[str, Any]:
    """Make a store in `output` from all recordings below `root`; return its description (store.json).

    Args:
        workers: number of worker processes; 0 does everything in this one.
        track: called with the items of each pass; shows progress as they are taken.

    Raises:
        UserError: there are no recordings, the output exists, or fewer than two recordings are usable.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output={output}: exists already; give another name or delete it")
    recordings = find_recordings(root)
    peaks = track(jobs.parallel_map(measure_peak, recordings, workers), "measuring levels", len(recordings))
    gain = corpus_gain([peak for _, peak in peaks if not isinstance(peak, UserError)], settings)
    with atomic_directory(output) as partial_store, closing(StoreWriter(partial_store, settings.mel)) as writer:
        work = jobs.parallel_map(partial(process_recording, settings=settings, gain=gain), recordings, workers)
        records = _write(writer, track(work, "preprocessing", len(recordings)), settings)
        writer.close()
        _fill_empty_splits(records, settings)
        description = _description(partial_store, records, settings, gain)
        writer.write_metadata(records, description)
    return description


def _write(
    writer: StoreWriter,
    results: Iterable[tuple[Recording, ProcessedRecording | UserError]],
    settings: PreprocessConfig,
) -> list[dict[str, Any]]:
    """Append the usable recordings to the store; return the manifest's record of each."""
    records = []
    stored_ids: set[str] = set()
    for recording, result in results:
        record: dict[str, Any] = {"id": _escaped(recording.id), "source": _escaped(str(recording.path))}
        if _escaped(recording.id) != recording.id:
            result = UserError("its name is not UTF-8; rename it")
        elif not isinstance(result, UserError) and recording.id in stored_ids:
            result = UserError("another file has the same name with another suffix")
        if isinstance(result, UserError):
            records.append(record | {"status": "skipped", "reason": str(result)})
            continue
        stored_ids.add(recording.id)
        shard, start = writer.append(result.wave, result.mel)
        records.append(
            record
            | {"status": "kept", "split": assign_split(recording, settings), "speaker": _speaker(recording, settings)}
            | {"shard": shard, "start": start, "frames": len(result.mel)}
            | {"clipped": result.clipped, "sha256": result.sha256}
        )
    return records


def measure_peak(recording: Recording) -> float:
    """The largest magnitude in the input file, before any processing.

    Raises:
        UserError: the file cannot be read.
    """
    waveform, _ = read_audio(recording.path)
    return float(np.abs(waveform).max())


def corpus_gain(peaks: list[float], settings: PreprocessConfig) -> float:
    """One gain for all recordings, from the 95th percentile of their peaks: a few loud ones do not decide it."""
    audible = [peak for peak in peaks if peak >= settings.silence_peak]
    if settings.peak is None or not audible:
        return 1.0
    return settings.peak / float(np.percentile(audible, 95))


def process_recording(recording: Recording, settings: PreprocessConfig, gain: float) -> ProcessedRecording:
    """Resample, scale, trim and quantise a recording, and compute its log-mel from the quantised wave.

    Raises:
        UserError: it cannot be read, is silent, or is too short.
    """
    spec = settings.mel
    waveform, sample_rate = read_audio(recording.path)
    peak = float(np.abs(waveform).max())
    if peak < settings.silence_peak:
        raise UserError(f"{recording.path}: silence (peak {peak:.5f} is below {settings.silence_peak:g})")
    waveform = resample(waveform, sample_rate, spec.sample_rate) * gain
    if settings.trim_db is not None:
        waveform = trim_silence(waveform, settings.trim_db)
    seconds = len(waveform) / spec.sample_rate
    if seconds < settings.min_seconds:
        raise UserError(f"{recording.path}: too short ({seconds:.2f} s is below min_seconds={settings.min_seconds:g})")
    wave = waveform_to_int16(waveform)[: frame_count(len(waveform), spec) * spec.hop_length]
    mel = log_mel(torch.from_numpy(int16_to_waveform(wave)), spec).T.contiguous().numpy()
    clipped = int((np.abs(waveform) > 1).sum())
    sha256 = hashlib.sha256(recording.path.read_bytes()).hexdigest()
    return ProcessedRecording(wave=wave, mel=mel, sha256=sha256, clipped=clipped)


def assign_split(recording: Recording, settings: PreprocessConfig) -> str:
    """train, dev or test by a hash of the id or a part of it, so that it does not depend on the rest of the corpus.

    All recordings of held-out speakers go to test.
    """
    if recording.speaker_folder in settings.hold_out:
        return "test"
    fraction = _hash_fraction(_split_key(recording.id, settings))
    if fraction < settings.dev_fraction:
        return "dev"
    return "test" if fraction < settings.dev_fraction + settings.test_fraction else "train"


def _split_key(utterance_id: str, settings: PreprocessConfig) -> str:
    """The part of an id that decides the split."""
    match = re.search(settings.split_by, utterance_id) if settings.split_by is not None else None
    return match.group() if match else utterance_id


def _hash_fraction(key: str) -> float:
    """A hash of the key, uniform in [0, 1)."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 16**8


def _escaped(name: str) -> str:
    """A file name with any bytes that are not UTF-8 as backslash escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _fill_empty_splits(records: list[dict[str, Any]], settings: PreprocessConfig) -> None:
    """Move a recording from the largest split to each one that a small corpus has left empty: train, dev, then test.

    Recordings are taken in the order of their hashes; those that share what decides their split move together. The
    records are changed in place.

    Raises:
        UserError: fewer than two recordings are usable, or all of them are held out.
    """

    def key(record: dict[str, Any]) -> str:
        return _split_key(record["id"], settings)

    kept = sorted((r for r in records if r["status"] == "kept"), key=lambda r: _hash_fraction(key(r)))
    if len(kept) < 2:
        reasons = "; ".join(r["reason"] for r in records[:3] if r["status"] == "skipped")
        raise UserError(
            f"{len(kept)} of {len(records)} recordings are usable, but at least 2 are needed (one of them for "
            f"evaluation){': ' + reasons if reasons else ''}"
        )
    for needed in (SPLITS if settings.test_fraction else SPLITS[:2])[: len(kept)]:
        if not any(record["split"] == needed for record in kept):
            movable = [record for record in kept if record["speaker"] not in settings.hold_out]
            if not movable:
                raise UserError(f"hold_out={','.join(settings.hold_out)}: no speaker is left to train on")
            counts = {split: sum(record["split"] == split for record in movable) for split in SPLITS}
            largest = max(SPLITS, key=lambda split: counts[split])
            moved = key(next(record for record in movable if record["split"] == largest))
            for record in movable:
                if key(record) == moved:
                    record["split"] = needed


def _speaker(recording: Recording, settings: PreprocessConfig) -> str | None:
    return recording.speaker_folder if settings.speaker == "folder" else None


def _description(
    directory: Path, records: list[dict[str, Any]], settings: PreprocessConfig, gain: float
) -> dict[str, Any]:
    """The contents of store.json besides the format and the mel's spec.

    Raises:
        UserError: a held-out speaker has no recordings, or a recording has no speaker although they are required.
    """
    kept = [record for record in records if record["status"] == "kept"]
    speakers = sorted({record["speaker"] for record in kept} - {None} - set(settings.hold_out))
    missing = sorted(set(settings.hold_out) - {record["speaker"] for record in kept})
    if missing:
        raise UserError(f"hold_out={','.join(missing)}: no such speaker; there are {', '.join(speakers)}")
    if settings.speaker == "folder" and any(record["speaker"] is None for record in kept):
        raise UserError("speaker=folder: some recordings are directly in the input folder, in no speaker's folder")
    samples = {s: sum(r["frames"] for r in kept if r["split"] == s) * settings.mel.hop_length for s in SPLITS}
    return {
        "gain": gain,
        "peak": settings.peak,
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
    """Mean and standard deviation of each band, accumulated in float64 over one utterance at a time."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for record in records:
        shard = np.load(directory / f"mel-{record['shard']:05d}.npy", mmap_mode="r")
        mel = shard[record["start"] : record["start"] + record["frames"]].astype(np.float64)
        count, total, squares = count + len(mel), total + mel.sum(0), squares + np.square(mel).sum(0)
    mean = total / count
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist()}
