"""The library's interface: synthesis from mels, mels of waveforms, and loading of checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vocoder.errors import UserError
from vocoder.features.audio import read_audio, waveform_to_int16
from vocoder.features.mel import PRESETS, log_mel
from vocoder.model import ConditioningConfig, VocoderConfig, build_model, save_checkpoint
from vocoder.synthesis import MelFormat, Request, Vocoder, load
from vocoder.synthesis.postfilter import PASSES

SECOND = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)


@pytest.fixture(scope="module")
def vocoder(tiny_config: VocoderConfig) -> Vocoder:
    return untrained_vocoder(tiny_config)


def untrained_vocoder(config: VocoderConfig) -> Vocoder:
    torch.manual_seed(0)
    model = build_model(config)
    model.initialise_output(0.1 * torch.randn(10_000))  # quiet noise; at full scale all waves would clip alike
    return Vocoder(model)


def noise_mel(vocoder: Vocoder, frames: int = 6, seed: int = 0) -> np.ndarray:
    waveform = np.random.default_rng(seed).uniform(-0.1, 0.1, 400 + frames * vocoder.spec.hop_length)
    return vocoder.mel(waveform, vocoder.sample_rate)[:, :frames]


# Mel in, wave out


@pytest.mark.parametrize("frames", [1, 6, 33])
def test_a_wave_has_hop_length_16_bit_samples_for_each_frame(vocoder: Vocoder, frames: int) -> None:
    wave = vocoder.synthesize(noise_mel(vocoder, frames))
    assert wave.shape == (frames * 20,)
    assert wave.dtype == np.float32
    assert np.abs(wave).max() <= 1
    assert np.array_equal(wave * 32768, np.rint(wave * 32768))
    assert len(np.unique(wave)) > 10


def test_the_wave_is_a_function_of_seed_and_id(vocoder: Vocoder) -> None:
    mel = noise_mel(vocoder)
    wave = vocoder.synthesize(mel, seed=1, id="a")
    assert np.array_equal(vocoder.synthesize(torch.from_numpy(mel), seed=1, id="a"), wave)
    assert np.array_equal(vocoder.synthesize(mel[None], seed=1, id="a"), wave)
    assert not np.array_equal(vocoder.synthesize(mel, seed=2, id="a"), wave)
    assert not np.array_equal(vocoder.synthesize(mel, seed=1, id="b"), wave)


def test_the_postfilter_is_left_out_by_default_where_it_does_not_fit(tiny_config: VocoderConfig) -> None:
    def passes(config: VocoderConfig) -> int:
        return untrained_vocoder(config).postfilter.passes

    hardly_overlapping = replace(tiny_config.mel, win_length=tiny_config.mel.hop_length + 1)
    unconditional = replace(tiny_config.model, conditioning=ConditioningConfig(kind="none"))
    assert passes(tiny_config) == PASSES
    assert passes(replace(tiny_config, mel=hardly_overlapping)) == 0
    assert passes(replace(tiny_config, model=unconditional)) == 0


@pytest.mark.parametrize("fold", [False, True])
def test_the_wave_is_the_models_draw_after_the_postfilter(vocoder: Vocoder, fold: bool) -> None:
    mel, unfiltered = noise_mel(vocoder, 80), Vocoder(vocoder.model, postfilter=0)
    drawn = waveform_to_int16(unfiltered.synthesize(mel, fold=fold))
    wave = waveform_to_int16(vocoder.synthesize(mel, fold=fold))
    assert not np.array_equal(wave, drawn)
    assert np.array_equal(wave, vocoder.postfilter(mel, drawn))


def test_the_wave_depends_on_the_mel_and_the_temperature(vocoder: Vocoder) -> None:
    wave = vocoder.synthesize(noise_mel(vocoder))
    assert not np.array_equal(vocoder.synthesize(noise_mel(vocoder, seed=1)), wave)
    assert not np.array_equal(vocoder.synthesize(noise_mel(vocoder), temperature=0.5), wave)


def test_each_wave_of_a_batch_has_its_own_length(vocoder: Vocoder) -> None:
    frames, added = [4, 9, 1], []
    requests = [Request(str(n), noise_mel(vocoder, n)) for n in frames]
    waves = vocoder.synthesize_batch(requests, progress=added.append)
    assert [wave.shape for wave in waves] == [(n * 20,) for n in frames]
    assert {wave.dtype for wave in waves} == {np.dtype(np.float32)}
    assert sum(added) == sum(frames) * 20


def test_a_batch_of_one_equals_synthesize(vocoder: Vocoder) -> None:
    (wave,) = vocoder.synthesize_batch([Request("a", noise_mel(vocoder))], seed=3)
    assert np.array_equal(wave, vocoder.synthesize(noise_mel(vocoder), seed=3, id="a"))


def test_each_request_of_a_batch_has_its_own_speaker(tiny_config: VocoderConfig) -> None:
    model = replace(tiny_config.model, speaker_channels=4)
    vocoder = untrained_vocoder(replace(tiny_config, model=model, speakers=("ann", "bob")))
    mel = noise_mel(vocoder)
    ann, bob = vocoder.synthesize_batch([Request("same", mel, "ann"), Request("same", mel, "bob")])
    assert not np.array_equal(ann, bob)
    for speaker in ("eve", None):
        with pytest.raises(UserError, match="ann, bob"):
            vocoder.synthesize(mel, speaker=speaker)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda mel: mel[:5], "5 bands"),
        (lambda mel: np.stack([mel, mel]), "two axes"),
        (lambda mel: mel[:, :0], "no frames"),
        (lambda mel: np.where(mel == mel.max(), np.nan, mel), "NaN"),
        (lambda mel: mel * 20, "another log"),
        (lambda mel: mel - mel.mean() + 3, "another log"),
    ],
)
def test_a_mel_that_is_not_of_the_spec_is_refused(vocoder: Vocoder, spoil: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        vocoder.synthesize(spoil(noise_mel(vocoder)))


def test_a_bad_request_costs_itself_alone(vocoder: Vocoder) -> None:
    requests = [Request("bad", np.array(1.0, np.float32)), Request("good", noise_mel(vocoder))]
    waves = dict(vocoder.synthesize_each(requests))
    assert "two axes" in str(waves[0])
    assert isinstance(waves[1], np.ndarray)


def test_a_mel_with_frames_first_gives_the_same_wave(vocoder: Vocoder) -> None:
    mel = noise_mel(vocoder)
    wave = vocoder.synthesize(mel)
    assert np.array_equal(vocoder.synthesize(mel.T), wave)
    assert np.array_equal(vocoder.synthesize(mel.T, fold=True), vocoder.synthesize(mel, fold=True))
    assert np.array_equal(np.concatenate(list(vocoder.stream([mel[:, :3].T, mel[:, 3:].T]))), wave)


def test_a_square_mel_needs_its_layout_unless_the_vocoder_made_it(vocoder: Vocoder) -> None:
    own = vocoder.mel(SECOND[: 8 * vocoder.spec.hop_length], 16000)
    assert own.shape == (8, 8)
    wave = vocoder.synthesize(own)
    foreign = own.copy()
    with pytest.raises(UserError, match="layout"):
        vocoder.synthesize(foreign)
    with pytest.raises(UserError, match="layout"):
        list(vocoder.stream([foreign]))
    assert np.array_equal(vocoder.synthesize(foreign, mels=MelFormat(layout="bands_first")), wave)
    assert np.array_equal(vocoder.synthesize(foreign.T, mels=MelFormat(layout="frames_first")), wave)


TENSORS = {
    "bfloat16": lambda mel: torch.from_numpy(mel).bfloat16(),
    "with gradients": lambda mel: torch.from_numpy(mel).requires_grad_(),
    "reversed twice": lambda mel: mel[:, ::-1].copy()[:, ::-1],
}


@pytest.mark.parametrize("kind", TENSORS)
def test_every_entry_point_takes_tensors_and_arrays_of_any_kind(vocoder: Vocoder, kind: str) -> None:
    given = TENSORS[kind](noise_mel(vocoder))
    wave = vocoder.synthesize(given)
    assert np.array_equal(vocoder.synthesize_batch([Request("", given)])[0], wave)
    assert np.array_equal(np.concatenate(list(vocoder.stream([given[:, :2], given[:, :0], given[:, 2:]]))), wave)
    assert vocoder.frames_to_draw(Request("", given)) == 6


def test_statistics_undo_a_normalisation_in_every_entry_point(vocoder: Vocoder, tmp_path: Path) -> None:
    mel = noise_mel(vocoder)
    mean, scale = np.full(8, -4.0, np.float32), np.full(8, 2.0, np.float32)
    np.savez(tmp_path / "stats.npz", mean=mean, scale=scale)
    mels = MelFormat(statistics=str(tmp_path / "stats.npz"))
    told, normalised = Vocoder(vocoder.model, mels=mels), (mel + 4) / 2
    wave = told.synthesize(normalised)
    assert np.array_equal(wave, vocoder.synthesize(((normalised * 2) - 4).astype(np.float32)))
    assert np.array_equal(vocoder.synthesize(normalised, mels=mels), wave)
    assert np.array_equal(np.concatenate(list(told.stream([normalised]))), wave)


def test_a_model_with_statistics_refuses_another_presets_mel_by_name(tiny_config: VocoderConfig) -> None:
    spec = PRESETS["hifigan_22k"]
    vocoder = untrained_vocoder(replace(tiny_config, mel=spec))
    recordings = sorted((Path(__file__).parent.parent / "speech/allison").glob("*.flac"))
    own = np.concatenate([vocoder.mel(*read_audio(path)) for path in recordings], 1)
    vocoder.model.set_mel_statistics(torch.from_numpy(own.mean(1)), torch.from_numpy(own.std(1)))
    vocoder = Vocoder(vocoder.model, postfilter=0)
    log10 = (own[:, 100:130] / np.log(10)).astype(np.float32)  # as of pwg_22k
    for read in (vocoder.synthesize, lambda mel: list(vocoder.stream([mel, mel]))):
        with pytest.raises(UserError, match=r"looks like \w+, and the model takes hifigan_22k: mel\.from=\w+"):
            read(log10)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_not_positive_and_finite_is_refused(vocoder: Vocoder, temperature: float) -> None:
    with pytest.raises(UserError, match="temperature"):
        vocoder.synthesize(noise_mel(vocoder), temperature=temperature)


# Mels of waveforms


def test_the_mel_of_a_waveform_is_log_mel_of_the_spec(vocoder: Vocoder) -> None:
    expected = log_mel(torch.from_numpy(SECOND), vocoder.spec).numpy()
    assert np.array_equal(vocoder.mel(SECOND, 16000), expected)
    assert expected.shape == (8, 800)


def test_a_waveform_of_another_rate_is_resampled_first(vocoder: Vocoder) -> None:
    faster = (0.3 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)).astype(np.float32)
    mel = vocoder.mel(faster, 44100)
    assert mel.shape == (8, 800)
    band = vocoder.mel(SECOND, 16000).mean(1).argmax()
    assert np.abs(mel - vocoder.mel(SECOND, 16000))[band, 20:-20].max() < 0.01


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.stack([SECOND, SECOND]), "one axis"),
        (np.append(SECOND, np.nan), "NaN"),
        (np.append(SECOND, -np.inf), "infinite"),
        (SECOND[:50], "too short"),
        (SECOND[:0], "too short"),
    ],
)
def test_an_invalid_waveform_is_refused(vocoder: Vocoder, waveform: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        vocoder.mel(waveform, 16000)


def test_load_takes_a_run_as_a_path_or_as_text(tmp_path: Path, tiny_config: VocoderConfig) -> None:
    model = build_model(tiny_config)
    for name, bits in (("step-00000001", 8.0), ("step-00000002", 7.0)):
        with torch.no_grad():
            model.wavenet.output.bias.fill_(bits)
        metrics = {"step": 1, "dev_bits": bits}
        save_checkpoint(tmp_path / "run/checkpoints" / name, tiny_config, {"model": model.state_dict()}, metrics)
    for path in (tmp_path / "run", str(tmp_path / "run")):
        assert (load(path, "cpu").model.wavenet.output.bias == 7.0).all()
