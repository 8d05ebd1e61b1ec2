"""Time to open a large store for training, and the memory that it takes.

    python -m scripts.benchmarks.measure_scale [--utterances 10000000] [--frames 400]

The store is synthetic: its index is like a real one, but its shards are sparse files, so that 10 million utterances of
five seconds take no room on the disk. A process of its own does what training does: open the index, select the
training split, build the table that segments are drawn from, and draw batches.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from scripts.benchmarks.machine import resident_bytes
from vocoder.data.dataset import Margins, SegmentBatches
from vocoder.data.index import ROW_DTYPE, UtteranceIndex
from vocoder.data.store import FORMAT, SHARD_FRAMES, Store, shard_paths
from vocoder.features.mel import PRESETS

SPEC = PRESETS["speech_16k"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--utterances", type=int, default=10_000_000)
    parser.add_argument("--frames", type=int, default=400, help="of each utterance")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        shards = write_sparse_store(directory, arguments.utterances, arguments.frames)
        size = sum((directory / name).stat().st_size for name in ("index.npy", "names.bin"))
        hours = arguments.utterances * arguments.frames * SPEC.hop_length / SPEC.sample_rate / 3600
        print(f"{arguments.utterances} utterances, {hours:.0f} hours in {shards} shards; index {size / 1e6:.0f} MB")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "scripts.benchmarks.measure_scale", "--measure", directory], check=True)


def measure(directory: Path) -> None:
    before = resident_bytes("RssAnon")
    started = time.perf_counter()
    data = SegmentBatches(Store(directory), 8, 50, Margins(3, 2), 0)
    opened = time.perf_counter() - started
    own = resident_bytes("RssAnon") - before
    print(f"ready to draw batches after {opened:.2f} s; {own / 1e6:.0f} MB of its own", end=", ")
    print(f"{resident_bytes('RssFile') / 1e6:.0f} MB of mapped files, which processes share and the system can drop")
    seconds = []
    for number in range(2000):
        started = time.perf_counter()
        data[number]
        seconds.append(time.perf_counter() - started)
    for description, part in (("the first 100 batches", seconds[:100]), ("the last 100 of 2000", seconds[-100:])):
        print(f"a batch of 8: {1000 * statistics.median(part):.2f} ms (median of {description})")


def write_sparse_store(directory: Path, utterances: int, frames: int) -> int:
    """Write a store of zeros as sparse files; returns the number of shards."""
    per_shard = SHARD_FRAMES // frames
    table = np.zeros(utterances, ROW_DTYPE)
    number = np.arange(utterances)
    table["shard"], table["start"], table["frames"] = number // per_shard, number % per_shard * frames, frames
    table["split"] = np.where(number % 50 == 0, 1, 0)
    table["speaker"], table["name_end"] = -1, (number + 1) * 24
    names = np.char.mod("corpus/part/utterance-%02d", number % 100).astype("S24").view(np.uint8)
    UtteranceIndex(table, names, ()).save(directory)
    shards = -(-utterances // per_shard)
    for shard in range(shards):
        rows = min(per_shard, utterances - shard * per_shard) * frames
        for path, dtype, shape in zip(
            shard_paths(directory, shard), ("<i2", "<f4"), ((rows * SPEC.hop_length,), (rows, SPEC.n_mels)), strict=True
        ):
            write_sparse_array(path, np.dtype(dtype), shape)
    statistics = {"mean": [0.0] * SPEC.n_mels, "std": [1.0] * SPEC.n_mels}
    description = {"format": FORMAT, "mel": asdict(SPEC), "mel_hash": SPEC.hash(), "speakers": []}
    (directory / "store.json").write_text(json.dumps(description | {"mel_statistics": statistics}))
    return shards


def write_sparse_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Write an .npy file of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * dtype.itemsize)


if __name__ == "__main__":
    main()
