"""What the scripts share that train networks alike and compare them: each part kept in a folder, and done once."""

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

EVALUATIONS = 15  # of a training run, on its dev split
UTTERANCES = 12  # synthesised
SECONDS = 4.0  # of the longest of them: a batch takes as long as that

Row = dict[str, float]
Rows = dict[str, Row]


@dataclass(frozen=True)
class Network:
    """One of the networks compared: what it is called, and the settings that only it has."""

    name: str
    settings: tuple[str, ...]
    output: Path

    @property
    def run(self) -> Path:
        return self.output / "runs" / self.name


def hold(path: Path, settings: dict[str, Any]) -> None:
    """Raises UserError where the folder holds results of other settings."""
    if path.exists() and read_json(path) != settings:
        raise UserError(f"{path.parent}: holds a comparison with other settings ({path.name}); take another folder")
    write_json(path, settings)


def kept(path: Path, measure: Callable[[], Row]) -> Row:
    """What was measured before, or is measured now."""
    if not path.exists():
        print(f"== {path.stem}", flush=True)
        path.parent.mkdir(exist_ok=True)
        write_json(path, measure())
    row: Row = read_json(path)
    return row


def finish(results: Iterable[tuple[Any, Any]]) -> None:
    for _, result in results:
        if isinstance(result, UserError):
            raise result


# Training


def settings_of(store: Path, network: Network, settings: list[str]) -> list[str]:
    """Of vocoder-train, for the demo's network and schedule."""
    overrides = [f'data="{store}"', f"name={network.name}", f'runs="{network.run.parent}"', "experiment=demo"]
    return [*overrides, "training.audition.every=0", *network.settings, *settings]


def train(store: Path, steps: int, settings: list[str], network: Network) -> None:
    """Train one network as vocoder-train does, or go on with it; nothing where that is done.

    Raises:
        UserError: the training was stopped, or cannot be done.
    """
    length = ["training.length.minutes=null", f"training.length.steps={steps}"]
    every = f"training.checkpoint.every={max(1, steps // EVALUATIONS)}"
    if train_command.job(cli.composed("train", settings_of(store, network, [*length, every, *settings]))):
        raise UserError(f"{network.name}: stopped; the same command goes on from here")


def trainer_of(store: Path, network: Network, settings: list[str]) -> Trainer:
    """Ready to train one network."""
    return trainer_for(from_mapping(Config, cli.composed("train", settings_of(store, network, settings))))


def stepping(trainer: Trainer) -> Callable[[], None]:
    """Work to be timed: one training step after another."""
    step = count()

    def work() -> None:
        trainer.train_step(trainer.data[next(step)].to(trainer.device))

    return work


def curve(network: Network) -> Row:
    """Dev bits per sample by step."""
    lines = (network.run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {str(record["step"]): record["bits/dev"] for record in records if "bits/dev" in record}


def test_bits(store: Store, network: Network) -> Row:
    found = likelihood(load(network.run).model, store, store.split("test"))
    return {"per sample": found.per_sample, "mean of utterances": found.per_utterance}


# SynthesisOptions


@dataclass(frozen=True)
class Condition:
    """One way to synthesise the chosen utterances."""

    name: str
    network: Network
    temperature: float = 1.0
    mel_noise: float = 0.0
    mel_blur: float = 0.0

    @property
    def folder(self) -> Path:
        return self.network.output / "wavs" / self.name


def chosen(store: Store) -> list[Entry]:
    """The longest test utterances that are not too long.

    Raises:
        UserError: there are none.
    """
    frames = SECONDS * store.spec.sample_rate / store.spec.hop_length
    entries = sorted((e for e in store.split("test") if e.frames <= frames), key=lambda e: -e.frames)[:UTTERANCES]
    if not entries:
        raise UserError(f"{store.directory}: no test utterance is shorter than {SECONDS:g} seconds")
    return entries


def mel_of(store: Store, entry: Entry, noise: float = 0.0, blur: float = 0.0) -> np.ndarray:
    """Its log-mel [n_mels, F], smoothed over so many bands and frames, and with noise of so many nepers added."""
    mel = np.ascontiguousarray(store.read(entry).mel.T)
    smooth = scipy.ndimage.gaussian_filter(mel, blur) if blur else mel
    moved = smooth + noise / store.spec.log_unit * np.random.default_rng(0).standard_normal(mel.shape)
    clipped: np.ndarray = moved.clip(store.spec.log_minimum, store.spec.log_maximum).astype(np.float32)
    return clipped


def synthesize(store: Store, batch: list[Condition]) -> None:
    """Write the wavs of conditions with one network and temperature, unless they are there."""
    entries = chosen(store)
    places = [(condition, entry, condition.folder / f"{entry.id}.wav") for condition in batch for entry in entries]
    if all(path.exists() for _, _, path in places):
        return
    print(f"== synthesising {'; '.join(condition.name for condition in batch)}", flush=True)
    vocoder, temperature = load(batch[0].network.run), batch[0].temperature
    requests = [Request(e.id, mel_of(store, e, c.mel_noise, c.mel_blur)) for c, e, _ in places]
    waves = vocoder.synthesize_batch(requests, temperature=temperature)
    for (_, _, path), wave in zip(places, waves, strict=True):
        write_wav(path, waveform_to_int16(wave), store.spec.sample_rate)


def sound_of(store: Store, folder: Path) -> Row:
    """Measures of a condition's wavs against the recordings, the mean of the utterances."""
    rows = [sounds(store, entry, read_audio(folder / f"{entry.id}.wav")[0]) for entry in chosen(store)]
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def sounds(store: Store, entry: Entry, wave: np.ndarray) -> Row:
    rate, recording = store.spec.sample_rate, int16_to_waveform(store.read(entry).wave)
    ours, target = torch.from_numpy(wave), torch.from_numpy(recording)
    row = {
        "log-mel, dB": log_mel_distance(ours, torch.from_numpy(mel_of(store, entry)), store.spec),
        "multi-resolution STFT": float(multi_resolution_stft_distance(ours, target)),
        "level in pauses over the recording's, dB": level_in_pauses(ours, target, rate)
        - level_in_pauses(target, target, rate),
        "level over the recording's, dB": 10 * math.log10((wave**2).mean() / (recording**2).mean()),
        "samples at full scale, %": 100 * float((np.abs(wave) >= 32767 / 32768).mean()),
    }
    for name, measure in {"PESQ-WB": pesq, "STOI": stoi}.items():
        try:
            row[name] = measure(wave, recording, rate)
        except UserError:  # the package is not installed
            continue
    return row


def table(title: str, rows: Rows) -> str:
    """Markdown."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"\n## {title}\n", "| |" + "".join(f" {name} |" for name in columns), "| --- |" + " --- |" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {name} |" + "".join(f" {row[column]:.3f} |" if column in row else " |" for column in columns))
    return "\n".join(lines)
