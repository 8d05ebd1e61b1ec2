"""Shared by the scripts that train several networks and compare them; results are cached in an output folder."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch

from vocoder import load
from vocoder.commands import cli
from vocoder.commands import train as train_command
from vocoder.commands.train import Config, trainer_for
from vocoder.data.store import Entry, Store
from vocoder.errors import UserError
from vocoder.evaluation import level_in_pauses, log_mel_distance, pesq, stoi
from vocoder.evaluation.likelihood import likelihood
from vocoder.evaluation.spectral import multi_resolution_stft_distance
from vocoder.features.audio import int16_to_waveform, read_audio, waveform_to_int16, write_wav
from vocoder.files import read_json, write_json
from vocoder.settings import from_mapping
from vocoder.synthesis import Request
from vocoder.training import Trainer

EVALUATIONS = 15  # on the dev split, per training run
UTTERANCES = 12  # to synthesise
MAX_SECONDS = 4.0  # of an utterance; a batch takes as long as its longest

Row = dict[str, float]
Rows = dict[str, Row]


@dataclass(frozen=True)
class Network:
    """One of the networks to compare: its name, and the settings in which it differs from the others."""

    name: str
    settings: tuple[str, ...]
    output: Path

    @property
    def run(self) -> Path:
        return self.output / "runs" / self.name


def claim_folder(path: Path, settings: dict[str, Any]) -> None:
    """Record in the file `path` the settings that the results in its folder belong to.

    Raises:
        UserError: the folder has results of other settings.
    """
    if path.exists() and read_json(path) != settings:
        raise UserError(f"{path.parent}: contains a comparison with other settings ({path.name}); use another folder")
    write_json(path, settings)


def cached(path: Path, measure: Callable[[], Row]) -> Row:
    """The result stored in `path`; if there is none, measure and store it."""
    if not path.exists():
        print(f"== {path.stem}", flush=True)
        path.parent.mkdir(exist_ok=True)
        write_json(path, measure())
    row: Row = read_json(path)
    return row


def raise_errors(results: Iterable[tuple[Any, Any]]) -> None:
    """Consume the results of `jobs.parallel_map` and raise the first UserError among them."""
    for _, result in results:
        if isinstance(result, UserError):
            raise result


# Training


def settings_of(store: Path, network: Network, settings: list[str]) -> list[str]:
    """Overrides of vocoder-train: the demo's network, with one sample per step, and schedule; then the others."""
    overrides = [f'data="{store}"', f"name={network.name}", f'runs="{network.run.parent}"', "experiment=demo"]
    as_measured = ["model.wavenet.samples_per_step=1", "model.wavenet.head_context=0", "training.audition.every=0"]
    return [*overrides, *as_measured, *network.settings, *settings]


def train(store: Path, steps: int, settings: list[str], network: Network) -> None:
    """Train one network as vocoder-train does, resuming an unfinished run; a finished run is left as it is.

    Raises:
        UserError: the training was interrupted, or cannot be done.
    """
    length = ["training.length.minutes=null", f"training.length.steps={steps}"]
    every = f"training.checkpoint.every={max(1, steps // EVALUATIONS)}"
    if train_command.job(cli.compose("train", settings_of(store, network, [*length, every, *settings]))):
        raise UserError(f"{network.name}: interrupted; rerun the same command to resume")


def trainer_of(store: Path, network: Network, settings: list[str]) -> Trainer:
    """A trainer for one network."""
    return trainer_for(from_mapping(Config, cli.compose("train", settings_of(store, network, settings))))


def step_runner(trainer: Trainer) -> Callable[[], None]:
    """A function to be timed: each call is the next training step."""
    step = count()

    def work() -> None:
        trainer.train_step(trainer.data[next(step)].to(trainer.device))

    return work


def dev_curve(network: Network) -> Row:
    """Dev bits per sample by training step."""
    lines = (network.run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {str(record["step"]): record["bits/dev"] for record in records if "bits/dev" in record}


def test_bits(store: Store, network: Network) -> Row:
    """Bits per sample of all test utterances, in both averages."""
    found = likelihood(load(network.run).model, store, store.split("test"))
    return {"per sample": found.per_sample, "mean of utterances": found.per_utterance}


# Synthesis


@dataclass(frozen=True)
class Condition:
    """One condition of the listening material: a network, a temperature, and how its mels are degraded."""

    name: str
    network: Network
    temperature: float = 1.0
    mel_noise: float = 0.0  # standard deviation in nepers of amplitude
    mel_blur: float = 0.0  # standard deviation of the smoothing in frames and bands

    @property
    def folder(self) -> Path:
        return self.network.output / "wavs" / self.name


def selected_entries(store: Store) -> list[Entry]:
    """The UTTERANCES longest test utterances of at most MAX_SECONDS.

    Raises:
        UserError: there are none.
    """
    frames = MAX_SECONDS * store.spec.sample_rate / store.spec.hop_length
    entries = sorted((e for e in store.split("test") if e.frames <= frames), key=lambda e: -e.frames)[:UTTERANCES]
    if not entries:
        raise UserError(f"{store.directory}: no test utterance is shorter than {MAX_SECONDS:g} seconds")
    return entries


def mel_of(store: Store, entry: Entry, noise: float = 0.0, blur: float = 0.0) -> np.ndarray:
    """Log-mel [n_mels, F] of an utterance, smoothed and with added noise; units as in `Condition`."""
    mel = np.ascontiguousarray(store.read(entry).mel.T)
    smoothed = scipy.ndimage.gaussian_filter(mel, blur) if blur else mel
    noisy = smoothed + noise / store.spec.log_unit * np.random.default_rng(0).standard_normal(mel.shape)
    clipped: np.ndarray = noisy.clip(store.spec.log_minimum, store.spec.log_maximum).astype(np.float32)
    return clipped


def synthesize(store: Store, batch: list[Condition]) -> None:
    """Write the wavs of conditions that share a network and a temperature, unless all exist already."""
    entries = selected_entries(store)
    outputs = [(condition, entry, condition.folder / f"{entry.id}.wav") for condition in batch for entry in entries]
    if all(path.exists() for _, _, path in outputs):
        return
    print(f"== synthesising {'; '.join(condition.name for condition in batch)}", flush=True)
    vocoder, temperature = load(batch[0].network.run, postfilter=0), batch[0].temperature
    requests = [Request(e.id, mel_of(store, e, c.mel_noise, c.mel_blur)) for c, e, _ in outputs]
    waves = vocoder.synthesize_batch(requests, temperature=temperature)
    for (_, _, path), wave in zip(outputs, waves, strict=True):
        write_wav(path, waveform_to_int16(wave), store.spec.sample_rate)


def mean_measures(store: Store, folder: Path) -> Row:
    """Measures of the wavs in `folder` against the recordings, averaged over the utterances."""
    rows = [measures(store, entry, read_audio(folder / f"{entry.id}.wav")[0]) for entry in selected_entries(store)]
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def measures(store: Store, entry: Entry, wave: np.ndarray) -> Row:
    """All objective measures of one wave; PESQ and STOI only if their packages are installed."""
    rate, recording = store.spec.sample_rate, int16_to_waveform(store.read(entry).wave)
    synthesised, target = torch.from_numpy(wave), torch.from_numpy(recording)
    row = {
        "log-mel, dB": log_mel_distance(synthesised, torch.from_numpy(mel_of(store, entry)), store.spec),
        "multi-resolution STFT": float(multi_resolution_stft_distance(synthesised, target)),
        "level in pauses over the recording's, dB": level_in_pauses(synthesised, target, rate)
        - level_in_pauses(target, target, rate),
        "level over the recording's, dB": 10 * math.log10((wave**2).mean() / (recording**2).mean()),
        "samples at full scale, %": 100 * float((np.abs(wave) >= 32767 / 32768).mean()),
    }
    perceptual: dict[str, Callable[..., float | None]] = {"PESQ-WB": pesq, "STOI": stoi}
    for name, measure in perceptual.items():
        try:
            value = measure(wave, recording, rate)
        except UserError:  # the package is not installed
            continue
        row[name] = math.nan if value is None else value
    return row


def table(title: str, rows: Rows) -> str:
    """A Markdown table; a row may lack some of the columns."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"\n## {title}\n", "| |" + "".join(f" {name} |" for name in columns), "| --- |" + " --- |" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {name} |" + "".join(f" {row[column]:.3f} |" if column in row else " |" for column in columns))
    return "\n".join(lines)
