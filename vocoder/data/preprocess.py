"""From a corpus of recordings to a store.

There are two passes over the files. The first measures peak levels, from which one gain for the whole corpus follows;
the second resamples, scales and trims each recording and computes its mel. Every input file is recorded in the
manifest as kept, or as skipped with the reason.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vocoder import jobs
from vocoder.corpora import AUTO, Recording, check_layout, escaped, read_corpus
from vocoder.data.store import SPLITS, StoreWriter
from vocoder.errors import UserError
from vocoder.features.audio import (
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
DEFAULT_FRACTION = 0.05  # of the recordings, for dev and for test


@dataclass(frozen=True)
class PreprocessConfig:
    """Settings of preprocessing.

    Raises:
        UserError: a setting is out of range, or contradicts another.
    """

    mel: MelSpec
    layout: str = AUTO  # of the corpus: a name of vocoder.corpora.LAYOUTS; "auto" recognises it
    # One gain for the corpus brings the 95th percentile of the recordings' peaks to this value, so that louder
    # recordings have 3 dB of headroom. None leaves levels unchanged.
    peak: float | None = 0.7
    trim_db: float | None = None  # trims ends that are this far below the loudest frame; None does not trim
    min_seconds: float = 0.3
    silence_peak: float = 0.001  # -60 dBFS: quieter recordings are skipped as silence
    # None: the corpus's own split if it has one, otherwise 5 % each.
    dev_fraction: float | None = None
    test_fraction: float | None = None
    # A regular expression. What it matches of an id decides the split, so that takes of one prompt share a split; None,
    # or no match: the whole id.
    split_by: str | None = None
    # "auto": as the layout names the speakers; "folder": the first folder below the input names the speaker.
    speaker: Literal["auto", "none", "folder"] = "auto"
    hold_out: tuple[str, ...] = ()  # speakers whose recordings all go to the test split; models do not learn them

    def __post_init__(self) -> None:
        check_layout(self.layout)
        if not 0 <= sum(self.fractions) < 1 or min(self.fractions) < 0:
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

    @property
    def fractions(self) -> tuple[float, float]:
        """The shares of dev and test where recordings are split by a hash."""
        given = self.dev_fraction, self.test_fraction
        dev, test = (DEFAULT_FRACTION if value is None else value for value in given)
        return dev, test

    @property
    def own_splits(self) -> bool:
        """Whether a corpus that comes with splits keeps them: where no setting says how to split it."""
        return self.dev_fraction is None and self.test_fraction is None and self.split_by is None


@dataclass(frozen=True)
class ProcessedRecording:
    """The result of preprocessing one recording."""

    wave: np.ndarray  # int16 [F·hop]
    mel: np.ndarray  # float32 [F, n_mels]
    sha256: str  # of the input file, in hex
    clipped: int  # number of samples beyond full scale


def preprocess(root: Path, output: Path, settings: PreprocessConfig, workers: int, track: Track) -> dict[str, Any]:
    """Make a store in `output` from the corpus at `root`; return its description (store.json).

    Args:
        workers: number of worker processes; 0 does everything in this one.
        track: called with the items of each pass; shows progress as they are taken.

    Raises:
        UserError: there are no recordings, the output exists, or fewer than two recordings are usable.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output={output}: exists already; give another name or delete it")
    corpus = read_corpus(root, settings.layout)
    recordings = corpus.recordings
    peaks = track(jobs.parallel_map(measure_peak, recordings, workers), "measuring levels", len(recordings))
    gain = corpus_gain([peak for _, peak in peaks if not isinstance(peak, UserError)], settings)
    with atomic_directory(output) as partial_store, closing(StoreWriter(partial_store, settings.mel)) as writer:
        work = jobs.parallel_map(partial(process_recording, settings=settings, gain=gain), recordings, workers)
        records = _write(writer, track(work, "preprocessing", len(recordings)), settings)
        writer.close()
        own_split = settings.own_splits and corpus.has_splits
        needed = SPLITS if settings.fractions[1] and not own_split else SPLITS[:2]  # a corpus's own may have no test
        _fill_empty_splits(records, settings, needed)
        description = {"layout": corpus.layout} | _description(partial_store, records, settings, gain, own_split)
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
        record: dict[str, Any] = {"id": escaped(recording.id), "source": escaped(str(recording.path))}
        if escaped(recording.id) != recording.id:
            result = UserError("its name is not UTF-8; rename it")
        elif not isinstance(result, UserError) and recording.id in stored_ids:
            result = UserError("another recording has the same id (the same name with another suffix?)")
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
    waveform, _ = read_audio(recording.path, recording.begin, recording.end)
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
    waveform, sample_rate = read_audio(recording.path, recording.begin, recording.end)
    refuse_silence(recording.path, float(np.abs(waveform).max()), settings.silence_peak)
    waveform = resample(waveform, sample_rate, spec.sample_rate) * gain
    if settings.trim_db is not None:
        waveform = trim_silence(waveform, settings.trim_db)
    refuse_short(recording.path, len(waveform) / spec.sample_rate, settings.min_seconds)
    wave = waveform_to_int16(waveform)[: frame_count(len(waveform), spec) * spec.hop_length]
    mel = log_mel(torch.from_numpy(int16_to_waveform(wave)), spec).T.contiguous().numpy()
    clipped = int((np.abs(waveform) > 1).sum())
    sha256 = hashlib.sha256(recording.path.read_bytes()).hexdigest()
    return ProcessedRecording(wave=wave, mel=mel, sha256=sha256, clipped=clipped)


def refuse_silence(path: Path, peak: float, silence_peak: float) -> None:
    """Raises UserError for a recording whose peak is below `silence_peak`."""
    if peak < silence_peak:
        raise UserError(f"{path}: silence (peak {peak:.5f} is below {silence_peak:g})")


def refuse_short(path: Path, seconds: float, min_seconds: float) -> None:
    """Raises UserError for a recording that is shorter than `min_seconds`, after trimming."""
    if seconds < min_seconds:
        raise UserError(f"{path}: too short ({seconds:.2f} s is below min_seconds={min_seconds:g})")


def assign_split(recording: Recording, settings: PreprocessConfig) -> str:
    """train, dev or test: as the corpus has it, unless the settings say how to split; otherwise by a hash.

    The hash is of the id or a part of it, so that a split does not depend on the rest of the corpus. All recordings of
    held-out speakers go to test.
    """
    if _speaker(recording, settings) in settings.hold_out:
        return "test"
    if settings.own_splits and recording.split is not None:
        return recording.split
    fraction, (dev, test) = _hash_fraction(_split_key(recording.id, settings)), settings.fractions
    if fraction < dev:
        return "dev"
    return "test" if fraction < dev + test else "train"


def _split_key(utterance_id: str, settings: PreprocessConfig) -> str:
    """The part of an id that decides the split."""
    match = re.search(settings.split_by, utterance_id) if settings.split_by is not None else None
    return match.group() if match else utterance_id


def _hash_fraction(key: str) -> float:
    """A hash of the key, uniform in [0, 1)."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 16**8


def _fill_empty_splits(records: list[dict[str, Any]], settings: PreprocessConfig, needed_splits: Sequence[str]) -> None:
    """Move a recording from the largest split to each needed one that a small corpus has left empty, in their order.

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
    for needed in needed_splits[: len(kept)]:
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
    return {"auto": recording.speaker, "folder": recording.speaker_folder, "none": None}[settings.speaker]


def _description(
    directory: Path, records: list[dict[str, Any]], settings: PreprocessConfig, gain: float, own_split: bool
) -> dict[str, Any]:
    """The contents of store.json besides the format and the mel's spec.

    Args:
        own_split: whether the split is the corpus's.

    Raises:
        UserError: a held-out speaker has no recordings, or a recording has no speaker although they are required.
    """
    kept = [record for record in records if record["status"] == "kept"]
    everybody = {record["speaker"] for record in kept} - {None}
    learned = {record["speaker"] for record in kept if record["split"] == "train"}
    # In a corpus's own split, the speakers of dev and test may be in no recording of train.
    held_out = set(settings.hold_out) | (everybody - learned if own_split else set())
    speakers = sorted(everybody - held_out)
    missing = sorted(set(settings.hold_out) - everybody)
    if missing:
        raise UserError(
            f"hold_out={','.join(missing)}: no such speaker; there are {', '.join(sorted(everybody)) or 'none'}"
        )
    nobodys = next((record["id"] for record in kept if record["speaker"] is None), None)
    if nobodys is not None and settings.speaker == "folder":
        raise UserError("speaker=folder: some recordings are directly in the input folder, in no speaker's folder")
    if nobodys is not None and everybody:
        raise UserError(f"the corpus names no speaker of {nobodys}, but of others; name it, or give speaker=none")
    samples = {s: sum(r["frames"] for r in kept if r["split"] == s) * settings.mel.hop_length for s in SPLITS}
    return {
        "gain": gain,
        "speakers": speakers,
        "held_out": sorted(held_out),
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
