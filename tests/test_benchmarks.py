"""What the benchmark of several samples per step measures, on a tiny model."""

from scripts.benchmarks.benchmark_steps import FRAMES, synthesis
from vocoder.features.mel import PRESETS
from vocoder.model import VocoderConfig, build_model


def test_an_utterance_has_the_frames_that_the_benchmark_counts(tiny_config: VocoderConfig) -> None:
    waves = synthesis(build_model(tiny_config), "float32", 1, 2)()
    assert [len(wave) for wave in waves] == [FRAMES * tiny_config.mel.hop_length] * 2


def test_no_preset_has_as_many_bands_as_the_benchmark_has_frames() -> None:
    assert all(spec.n_mels != FRAMES for spec in PRESETS.values())
