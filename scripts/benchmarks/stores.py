"""A store of noise for benchmarks and torture tests."""

from pathlib import Path

import numpy as np

from vocoder.data.store import Store, StoreWriter
from vocoder.features.mel import PRESETS


def noise_store(folder: Path, mel: str, utterances: int = 1) -> Store:
    """Write ten seconds of noise in utterances of equal length; every fifth of them is in the dev split."""
    spec, rng = PRESETS[mel], np.random.default_rng(0)
    frames = 10 * spec.sample_rate // spec.hop_length // utterances
    writer, records = StoreWriter(folder, spec), []
    for u in range(utterances):
        wave = (3000 * rng.standard_normal(frames * spec.hop_length)).astype(np.int16)
        shard, start = writer.append(wave, rng.standard_normal((frames, spec.n_mels)).astype(np.float32) - 5)
        record = {"id": f"noise-{u}", "status": "kept", "split": "dev" if u % 5 == 4 else "train", "speaker": None}
        records.append(record | {"shard": shard, "start": start, "frames": frames})
    writer.close()
    statistics = {"mean": [-5.0] * spec.n_mels, "std": [1.0] * spec.n_mels}
    writer.write_metadata(records, {"speakers": [], "mel_statistics": statistics})
    return Store(folder)
