"""What store.json says of a store: totals, speakers, and the statistics of its mels."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vocoder.data.index import SPLITS
from vocoder.data.store import ArrayFile, shard_paths
from vocoder.features.level import Level
from vocoder.features.mel import MelSpec

Record = dict[str, Any]  # a line of the manifest


def describe(
    directory: Path, records: list[Record], spec: MelSpec, level: Level, held_out: Collection[str]
) -> dict[str, Any]:
    """The contents of store.json besides the format and the mel's spec."""
    kept = [record for record in records if record["status"] == "kept"]
    offered = {record["speaker"] for record in kept if record["split"] != "test"} - {None}
    samples = {s: sum(r["frames"] for r in kept if r["split"] == s) * spec.hop_length for s in SPLITS}
    return {
        "gain": level.gain,
        "level": asdict(level),
        "speakers": sorted(offered - set(held_out)),
        "held_out": sorted(held_out),
        "not_learned": sorted({record["speaker"] for record in kept} - {None} - offered - set(held_out)),
        "kept": len(kept),
        "skipped": len(records) - len(kept),
        "clipped_samples": sum(record["clipped"] for record in kept),
        "splits": {
            split: {
                "utterances": sum(record["split"] == split for record in kept),
                "seconds": samples[split] / spec.sample_rate,
            }
            for split in SPLITS
        },
        "mel_statistics": mel_statistics(directory, [record for record in kept if record["split"] == "train"]),
    }


def mel_statistics(directory: Path, records: list[Record]) -> dict[str, list[float]]:
    """Mean and standard deviation of each band, accumulated in float64 over one utterance at a time."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    files: dict[int, ArrayFile] = {}
    for record in records:
        shard = record["shard"]
        if shard not in files:
            files[shard] = ArrayFile(shard_paths(directory, shard)[1], shard)
        mel = files[shard].read(record["start"], record["start"] + record["frames"]).astype(np.float64)
        count, total, squares = count + len(mel), total + mel.sum(0), squares + np.square(mel).sum(0)
    mean = total / count
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist()}
