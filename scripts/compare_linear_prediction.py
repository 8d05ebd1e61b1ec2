"""What linear prediction from the mel is worth: networks with and without it, trained alike, compared.

    python scripts/compare_linear_prediction.py STORE OUTPUT --steps 7500 [--seeds 0 1 2] [--jobs 1] [--set KEY=VALUE …]

residual   bits per sample of the prediction's residual alone, with no network
training   every network for the same number of steps (what a step takes, cost_of_linear_prediction.py measures);
           with --jobs 2 two networks at once, on one core each
bits       per sample: of dev speech on the way, of all test utterances at the end
sound      free-running synthesis of test utterances: each network, other temperatures, mels with noise or smoothed;
           beside it Griffin-Lim, noise through the filter, and the recordings

Each part is kept in OUTPUT and not done again, so that seeds can be added later. OUTPUT/tables.md is there to be read,
OUTPUT/wavs to be listened to. PESQ and STOI want the extra `metrics`.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.ndimage
import torch

from vocoder import jobs, load
from vocoder.audio import INT16_LEVELS, int16_to_grid, int16_to_waveform, read_audio, waveform_to_int16, write_wav
from vocoder.commands import cli
from vocoder.commands import train as train_command
from vocoder.errors import UserError
from vocoder.evaluation import (
    filtered_noise,
    griffin_lim,
    level_in_pauses,
    log_mel_distance,
    pesq,
    stoi,
)
from vocoder.files import read_json, write_json
from vocoder.likelihood import likelihood
from vocoder.mel import hann_window
from vocoder.model import LinearPredictionConfig, extend_edges
from vocoder.model.linear_prediction import LinearPrediction, default_order
from vocoder.spectral import multi_resolution_stft_distance
from vocoder.store import Entry, Store
from vocoder.synthesis import Request

KINDS = ("none", "mel")
EVALUATIONS = 15  # of a training run, on its dev split
UTTERANCES = 12  # synthesised
SECONDS = 4.0  # of the longest of them: a batch takes as long as that
TEMPERATURES = (0.9, 0.8)
MEL_NOISE = (0.1, 0.3, 1.0)  # standard deviations in natural logarithms of amplitude
MEL_BLUR = 1.5  # standard deviation in frames and in bands

Row = dict[str, float]
Rows = dict[str, Row]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="networks trained or run at once, on one core each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of vocoder-train")
    arguments = parser.parse_args()
    store, output = Store(arguments.store), arguments.output
    entries = chosen(store)
    workers = arguments.jobs if arguments.jobs > 1 else 0
    output.mkdir(parents=True, exist_ok=True)
    hold(output / "settings.json", {"store": str(store.directory), "steps": arguments.steps, "set": arguments.set})
    networks = [Network(kind, seed, output) for seed in arguments.seeds for kind in KINDS]

    residual = kept(output / "residual.json", partial(residual_bits, store))
    finish(jobs.run(partial(train, store.directory, arguments.steps, arguments.set), networks, workers))
    bits = {n.name: kept(output / "bits" / f"{n.name}.json", partial(test_bits, store, n)) for n in networks}
    finish(jobs.run(partial(synthesize, store), batches(networks), workers))
    curves = {network.name: curve(network) for network in networks}
    write_json(output / "curves.json", curves)  # for the picture
    report = "\n".join(
        (
            table("Residual alone, bits per sample", {name: {"bits": value} for name, value in residual.items()}),
            table("Dev bits per sample after steps", curves),
            table("Test bits per sample", bits),
            table(f"Free running, {len(entries)} utterances", measure_sound(store, networks, output)),
        )
    )
    (output / "tables.md").write_text(report, encoding="utf-8")
    print(report)


@dataclass(frozen=True)
class Network:
    """One of the networks compared."""

    kind: str
    seed: int
    output: Path

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"

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


# The residual alone


def residual_bits(store: Store) -> Row:
    """Bits per sample of test speech, were each frame of the residual Laplacian with its own scale, known for nothing.

    No code could do without sending the scales: the numbers compare filters, and are no bound for a network.
    """
    order, hop = default_order(store.spec.sample_rate), store.spec.hop_length
    from_mel = LinearPrediction(store.spec, order, LinearPredictionConfig().updates)
    fixed = solved(np.sum([autocorrelations(store, entry, order).sum(0) for entry in store.split("train")], axis=0))
    narrowest = 0.5 * 2 / (INT16_LEVELS - 1)  # a scale of half a level: below, a density means no probability
    bits: dict[str, list[np.ndarray]] = {}
    for entry in store.split("test"):
        utterance = store.read(entry)
        wave = int16_to_grid(utterance.wave).astype(np.float64)
        past = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (order, 0))[:-1], order)[:, ::-1]
        own = np.stack([solved(r) for r in autocorrelations(store, entry, order)])
        mel = torch.from_numpy(np.ascontiguousarray(utterance.mel.T))[None]
        filters = {
            "no prediction": np.zeros((1, order)),
            "one predictor for the corpus": fixed[None],
            "prediction from the mel": from_mel(extend_edges(mel, 1, 1)).coefficients[0].double().numpy(),
            "prediction from the audio, a filter a frame": own.repeat(hop, 0),
        }
        for name, a in filters.items():
            scale = np.abs((wave - (past * a).sum(1)).reshape(-1, hop)).mean(1).clip(min=narrowest)
            bits.setdefault(name, []).append(np.log2(2 * math.e * scale * (INT16_LEVELS - 1) / 2))
    return {name: float(np.concatenate(frames).mean()) for name, frames in bits.items()}


def autocorrelations(store: Store, entry: Entry, order: int) -> np.ndarray:
    """Of each frame's windowed samples [F, order + 1], framed as the mel is."""
    spec = store.spec
    wave = int16_to_grid(store.read(entry).wave).astype(np.float64)
    before = spec.win_length // 2 - round(spec.frame_centre * spec.hop_length)
    padded = np.pad(wave, (before, spec.win_length - spec.hop_length - before), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.win_length)[:: spec.hop_length]
    power = np.abs(np.fft.rfft(frames * hann_window(spec).numpy(), 2 * spec.n_fft)) ** 2
    return np.fft.irfft(power)[:, : order + 1] + 1e-9 * (np.arange(order + 1) == 0)  # digital silence has none


def solved(autocorrelation: np.ndarray) -> np.ndarray:
    """The coefficients [K] that predict best, from autocorrelation [K + 1]."""
    found: np.ndarray = scipy.linalg.solve_toeplitz(autocorrelation[:-1], autocorrelation[1:])
    return found


# Training


def train(store: Path, steps: int, settings: list[str], network: Network) -> None:
    """Train one network as vocoder-train does, or go on with it; nothing where that is done.

    Raises:
        UserError: the training was stopped, or cannot be done.
    """
    overrides = [
        *(f'data="{store}"', f"name={network.name}", f'runs="{network.run.parent}"', "experiment=demo"),
        *(f"model.linear_prediction.kind={network.kind}", f"training.seed={network.seed}"),
        *("training.length.minutes=null", f"training.length.steps={steps}"),
        *(f"training.checkpoint.every={max(1, steps // EVALUATIONS)}", "training.audition.every=0"),
    ]
    if train_command.job(cli.composed("train", [*overrides, *settings])):
        raise UserError(f"{network.name}: stopped; the same command goes on from here")


def curve(network: Network) -> Row:
    """Dev bits per sample by step."""
    lines = (network.run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {str(record["step"]): record["bits/dev"] for record in records if "bits/dev" in record}


def test_bits(store: Store, network: Network) -> Row:
    found = likelihood(load(network.run).model, store, store.split("test"))
    return {"per sample": found.per_sample, "mean of utterances": found.per_utterance}


# Sound


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


def batches(networks: list[Network]) -> list[list[Condition]]:
    """Conditions that can be synthesised at once, together all there are."""
    first = next(network for network in networks if network.kind == "mel")
    spoilt = [Condition(f"{first.name}, mel noise {sigma}", first, mel_noise=sigma) for sigma in MEL_NOISE]
    spoilt.append(Condition(f"{first.name}, mel blurred", first, mel_blur=MEL_BLUR))
    cooler = [[Condition(f"{first.name}, temperature {t}", first, temperature=t)] for t in TEMPERATURES]
    plain = [[Condition(network.name, network), *(spoilt if network == first else [])] for network in networks]
    return [*plain, *cooler]


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
    unit = math.log(10) if store.spec.log_base == "10" else 1.0
    smooth = scipy.ndimage.gaussian_filter(mel, blur) if blur else mel
    moved = smooth + noise / unit * np.random.default_rng(0).standard_normal(mel.shape)
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
        write_wav(path, wave, store.spec.sample_rate)


def measure_sound(store: Store, networks: list[Network], output: Path) -> Rows:
    order = default_order(store.spec.sample_rate)
    prediction = LinearPrediction(store.spec, order, LinearPredictionConfig().updates)
    baselines: dict[str, Callable[[Entry], np.ndarray]] = {
        "recording": lambda entry: int16_to_waveform(store.read(entry).wave),
        "Griffin-Lim": lambda entry: griffin_lim(mel_of(store, entry), store.spec),
        "filtered noise": lambda entry: filtered_noise(mel_of(store, entry), prediction),
    }
    for name, make in baselines.items():
        for entry in chosen(store):
            path = output / "wavs" / name / f"{entry.id}.wav"
            if not path.exists():
                write_wav(path, waveform_to_int16(make(entry)), store.spec.sample_rate)
    names = [*baselines, *(condition.name for batch in batches(networks) for condition in batch)]
    return {name: sound_of(store, output / "wavs" / name) for name in names}


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


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
