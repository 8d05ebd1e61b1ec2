"""An evaluation of real speech by systems that are made up, with ids that a page must not take for markup."""

from pathlib import Path

import numpy as np
import torch

from vocoder.evaluation.baselines import griffin_lim
from vocoder.evaluation.results import Artefact, Evaluation, Rendition, System, Utterance
from vocoder.features.audio import read_audio, resample, waveform_to_int16, write_wav
from vocoder.features.mel import PRESETS, log_mel

SPEECH = Path(__file__).parent.parent / "speech"
SCRIPT_ID = "<script>alert(1)</script>"
ODD_ID = "a/b c&d\"e'"
SPEC = PRESETS["speech_16k"]
SYSTEMS = [
    System("original", "original"),
    System("griffin_lim", "baseline"),
    System("wavenet-small", "model", {"engine": "cpu, AVX-512", "steps": "120 000", "real-time factor": "0.61"}),
    System("wavenet-large", "model", {"engine": "cpu, AVX-512", "steps": "400 000", "real-time factor": "2.35"}),
]
RECORDINGS = {  # id: (file, speaker)
    SCRIPT_ID: ("allison/hello-world.flac", "allison"),
    ODD_ID: ("june/hello-world.flac", "june"),
    "allison/one-moment-please": ("allison/one-moment-please.flac", "allison"),
    "june/one-moment-please": ("june/one-moment-please.flac", "june"),
    "june/activated": ("june/activated.flac", "june"),
}


def versions_of(file: str, seed: int) -> dict[str, np.ndarray]:
    """Waves [T] in [-1, 1) by the names of systems: one model is noisy, the other louder, with a click."""
    wave = resample(*read_audio(SPEECH / file), SPEC.sample_rate) * np.float32(0.7)
    wave = wave[: len(wave) // SPEC.hop_length * SPEC.hop_length]
    noise = np.random.default_rng(seed).normal(size=len(wave)).astype(np.float32)
    large = 1.3 * wave + 0.001 * noise
    large[len(wave) // 2] = 0.95
    return {
        "original": wave,
        "griffin_lim": griffin_lim(log_mel(torch.from_numpy(wave), SPEC).numpy(), SPEC, iterations=8),
        "wavenet-small": wave + (0.004 + 0.002 * seed) * noise,
        "wavenet-large": large.clip(-1, 1),
    }


def example_evaluation(folder: Path) -> Evaluation:
    """Write the wavs into a folder and return an evaluation of them, whose values are made up."""
    utterances = [_utterance(folder, id, seed) for seed, id in enumerate(RECORDINGS)]
    settings = {"model": "runs/small, runs/large", "data": "store", "split": "test", "seeds": "2", "note": "<b>&amp;"}
    failures = [f"wavenet-small: {ODD_ID}.wav: the model has no speaker 'x'; choose one of a, <b>b</b>"]
    return Evaluation(SYSTEMS, utterances, settings, failures)


def _utterance(folder: Path, id: str, seed: int) -> Utterance:
    file, speaker = RECORDINGS[id]
    waves = versions_of(file, seed)
    seconds = len(waves["original"]) / SPEC.sample_rate
    renditions = {}
    for number, (name, wave) in enumerate(waves.items()):
        path = f"wavs/{name}/{id}.wav"
        write_wav(folder / path, waveform_to_int16(wave), SPEC.sample_rate)
        renditions[name] = _rendition(path, name, number, seed, seconds)
    return Utterance(id, seconds, speaker, renditions)


def _rendition(path: str, name: str, number: int, seed: int, seconds: float) -> Rendition:
    if name == "original":
        return Rendition(path, {"flac_bits": 7.5 + 0.3 * seed, "mos": 4.4 + 0.01 * seed, "clicks": 0.0, "dc": 0.0})
    values = {
        "log_mel": 6.0 - number + 0.37 * ((seed * 3 + number) % 5),
        "stft": 1.9 - 0.3 * number + 0.05 * seed,
        "mcd": 6.1 - number + 0.1 * seed,
        "f0_rmse": 31.0 - 5 * number + seed,
        "pesq_wb": 2.1 + 0.5 * number - 0.1 * seed,
        "stoi": 0.85 + 0.03 * number,
        "mos": 2.6 + 0.5 * number + 0.02 * seed,
        "noise_excess": 4.5 - 2.4 * number + 0.1 * seed,
        "clicks": 0.0,
        "dc": -0.0004,
    }
    if name == "griffin_lim":
        values["f0_rmse"] = float("nan")
        return Rendition(path, values)
    values["bits"] = 6.4 - 0.2 * number + 0.05 * seed
    by_seed = [{key: value + shift for key, value in values.items()} for shift in (-0.01, 0.01)]
    bits = {"below -60 dBFS": (3.1 * 900, 900), "-40 to -20 dBFS": ((7.0 - 0.2 * number) * 12000, 12000)}
    return Rendition(path, values, by_seed, _artefacts(name, seconds), bits)


def _artefacts(name: str, seconds: float) -> list[Artefact]:
    if name == "wavenet-small":
        return [Artefact("collapse", 0.1 * seconds, 0.25 * seconds)]
    middle = seconds / 2
    return [Artefact("click", middle, middle + 0.0002), Artefact("clipping", middle + 0.15, middle + 0.2)]
