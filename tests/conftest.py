"""Shared fixtures: a store of real speech, a store of numbered samples, and the config of a tiny model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from support.compiled_loops import compile_loops

from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import Store, StoreWriter
from vocoder.distributions import MixtureOfLogistics
from vocoder.features.mel import PRESETS, MelSpec
from vocoder.model import ConditioningConfig, ModelConfig, VocoderConfig, WaveNetConfig


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no GPU")


SPEECH = Path(__file__).parent / "speech/allison"


@pytest.fixture(scope="session")
def speech_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The six recordings in tests/speech/allison, preprocessed. Read only."""
    directory = tmp_path_factory.mktemp("speech") / "store"
    preprocess(SPEECH, directory, PreprocessConfig(PRESETS["speech_16k"]), 0, lambda items, *_: items)
    return Store(directory)


@pytest.fixture
def make_counting_store(tmp_path: Path) -> Callable[..., Store]:
    """Stores of utterances u0, u1, … at hop 10: sample n of utterance u is 100 u + n, its frame f is 1000 u + f + 1."""

    def make(lengths: Sequence[int], shard_frames: int = 1000, speakers: Sequence[str] = ()) -> Store:
        spec = MelSpec(16000, 64, 10, 64, 4, 0.0, 8000.0)
        writer, records = StoreWriter(tmp_path, spec, shard_frames), []
        for u, frames in enumerate(lengths):
            wave = (100 * u + np.arange(frames * 10)).astype(np.int16)
            mel = np.repeat(1000 * u + 1 + np.arange(frames, dtype=np.float32)[:, None], 4, axis=1)
            shard, start = writer.append(wave, mel)
            speaker = speakers[u % len(speakers)] if speakers else None
            record = {"id": f"u{u}", "status": "kept", "split": "train", "speaker": speaker}
            records.append(record | {"shard": shard, "start": start, "frames": frames})
        records.append({"id": "broken", "status": "skipped", "reason": "cut short"})
        writer.close()
        statistics = {"mean": [0.0] * 4, "std": [1.0] * 4}
        writer.write_metadata(records, {"speakers": sorted(speakers), "mel_statistics": statistics})
        return Store(tmp_path)

    return make


@pytest.fixture(scope="session")
def tiny_config() -> VocoderConfig:
    """A model small enough to generate in real time on one core: hop 20, receptive field 15."""
    sizes = WaveNetConfig(layers=6, stacks=2, kernel_size=2, residual_channels=8, gate_channels=12, skip_channels=10)
    spec = MelSpec(16000, 256, 20, 256, 8, 0.0, 8000.0)
    return VocoderConfig(spec, ModelConfig(sizes, ConditioningConfig(channels=5)), MixtureOfLogistics(3))


@pytest.fixture(scope="session", autouse=True)
def compiled_loops(tiny_config: VocoderConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    compile_loops(tiny_config, tmp_path_factory.getbasetemp().parent)
