"""What linear prediction from the mel is worth: networks with and without it, trained for the same time, compared.

    python scripts/compare_linear_prediction.py STORE OUTPUT [--minutes 30] [--seeds 0 1 2] [--jobs 1]

residual     bits per sample of the prediction's residual alone, with no network
costs        of a training step and of a generated sample, both kinds in turn: wants an otherwise idle machine
training     as many steps as --minutes hold at that speed, so that what else runs meanwhile does not count;
             with --jobs 2 two networks at once, on one core each
bits         per sample, of all held-out utterances
sound        free-running synthesis of held-out utterances: each network, other temperatures, mels with noise added;
             beside it Griffin-Lim, noise through the filter, and the recordings

Each part is kept in OUTPUT and not done again. OUTPUT/tables.md is there to be read, OUTPUT/wavs to be listened to.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
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
from vocoder.engines import Noise, ReferenceEngine
from vocoder.errors import UserError
from vocoder.evaluation import (
    filtered_noise,
    griffin_lim,
    level_in_pauses,
    log_mel_distance,
    multi_resolution_stft_distance,
)
from vocoder.likelihood import likelihood
from vocoder.mel import hann_window
from vocoder.model import LinearPredictionConfig, extend_edges, find_checkpoint
from vocoder.model.linear_prediction import LinearPrediction, default_order
from vocoder.store import Entry, Store
from vocoder.synthesis import Request, conditioning_blocks, silence_conditioning

KINDS = ("none", "mel")
EVALUATIONS = 15  # of a training run, on its dev split
UTTERANCES = 12  # synthesised, of the test split
SECONDS = 4.0  # of the longest of them: a batch takes as long as that
TEMPERATURES = (0.9, 0.8)
MEL_NOISE = (0.1, 0.3, 1.0)  # standard deviations in natural logarithms of amplitude
MEL_BLUR = 1.5  # standard deviation in frames and in bands
COST_ROUNDS, COST_STEPS = 4, 12  # of training, in turn
COST_BATCH, COST_FRAMES = 8, 8  # of generation

Rows = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="networks trained or run at once, on one core each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of vocoder-train")
    arguments = parser.parse_args()
    store, output = Store(arguments.store), arguments.output
    workers = arguments.jobs if arguments.jobs > 1 else 0
    output.mkdir(parents=True, exist_ok=True)
    train = partial(train_network, store.directory, settings=("experiment=demo", *arguments.set))
    networks = [Network(kind, seed, output) for seed in arguments.seeds for kind in KINDS]

    residual = kept(output / "residual.json", lambda: residual_bits(store))
    costs = kept(output / "costs.json", lambda: measure_costs(train, output))
    steps = {kind: round(60 * arguments.minutes / costs["seconds of a training step"][kind]) for kind in KINDS}
    finish(jobs.run(partial(train_fully, train, steps), networks, workers))
    bits = kept(output / "bits.json", lambda: held_out_bits(store, networks))
    finish(jobs.run(partial(synthesize, store), batches(networks), workers))
    report = "\n".join(
        (
            table("Residual alone, bits per sample", residual),
            table("Costs", costs),
            table("Dev bits per sample after minutes", curves(networks, costs)),
            table("Held-out bits per sample", bits),
            table(f"Free running, {len(chosen(store))} utterances", measure_sound(store, networks, output)),
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


def kept(path: Path, measure: Callable[[], Rows]) -> Rows:
    """What was measured before, or is measured now."""
    if not path.exists():
        print(f"== {path.stem}", flush=True)
        path.write_text(json.dumps(measure(), indent=2))
    rows: Rows = json.loads(path.read_text())
    return rows


def finish(results: Iterable[tuple[Any, Any]]) -> None:
    for _, result in results:
        if isinstance(result, UserError):
            raise result


# The residual alone


def residual_bits(store: Store) -> Rows:
    """Bits per sample of held-out speech, were each frame of the residual Laplacian with its own, known scale."""
    order = default_order(store.spec.sample_rate)
    from_mel = LinearPrediction(store.spec, order, LinearPredictionConfig().updates)
    fixed = solved(sum(autocorrelations(store, entry, order).mean(0) for entry in store.split("train")))
    bits: dict[str, list[np.ndarray]] = {}
    for entry in held_out(store):
        utterance = store.read(entry)
        wave = int16_to_grid(utterance.wave).astype(np.float64)
        past = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (order, 0))[:-1], order)[:, ::-1]
        own = np.stack([solved(r) for r in autocorrelations(store, entry, order)])
        mel = torch.from_numpy(np.ascontiguousarray(utterance.mel.T))[None]
        coefficients = from_mel(extend_edges(mel, 1, 1)).coefficients[0].double().numpy()
        filters = {
            "no prediction": np.zeros((1, order)),
            "one predictor for the corpus": fixed[None],
            "prediction from the mel": coefficients,
            "prediction from the audio itself": own.repeat(store.spec.hop_length, 0),
        }
        for name, a in filters.items():
            frames = (wave - (past * a).sum(1)).reshape(-1, store.spec.hop_length)
            scale = np.maximum(np.abs(frames).mean(1), 0.5 / INT16_LEVELS)  # no level is narrower than a bin
            bits.setdefault(name, []).append(np.log2(2 * math.e * scale * (INT16_LEVELS - 1) / 2))
    return {name: {"bits": float(np.concatenate(frames).mean())} for name, frames in bits.items()}


def autocorrelations(store: Store, entry: Entry, order: int) -> np.ndarray:
    """Of each frame's windowed samples [F, order + 1], framed as the mel is."""
    spec = store.spec
    wave = int16_to_grid(store.read(entry).wave).astype(np.float64)
    side = (spec.win_length - spec.hop_length) // 2
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, side, mode="reflect"), spec.win_length)
    power = np.abs(np.fft.rfft(frames[:: spec.hop_length] * hann_window(spec).numpy(), 2 * spec.n_fft)) ** 2
    return np.fft.irfft(power)[:, : order + 1] + 1e-9 * (np.arange(order + 1) == 0)  # digital silence has none


def solved(autocorrelation: np.ndarray) -> np.ndarray:
    """The coefficients [K] that predict best, from autocorrelation [K + 1]."""
    found: np.ndarray = scipy.linalg.solve_toeplitz(autocorrelation[:-1], autocorrelation[1:])
    return found


# Costs


def measure_costs(train: Callable[..., None], output: Path) -> Rows:
    """Median seconds of each kind, and the median of their ratios from round to round."""
    training: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for attempt in range(COST_ROUNDS):
        for kind in KINDS:
            network = Network(kind, attempt, output / "costs")
            train(network, COST_STEPS, ("training.log_every=1", "training.checkpoint.dev_seconds=1"))
            training[kind].append(statistics.median(seconds_of_steps(network)[2:]))
    engines = {kind: generation(Network(kind, 0, output / "costs")) for kind in KINDS}
    generating: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for attempt in range(2 * COST_ROUNDS + 1):
        for kind, generate in engines.items():
            started = time.perf_counter()
            generate()
            if attempt:  # the first warms up
                generating[kind].append(time.perf_counter() - started)
    return {
        "seconds of a training step": in_short(training),
        f"seconds to generate {COST_FRAMES} frames of {COST_BATCH} utterances": in_short(generating),
    }


def in_short(seconds: dict[str, list[float]]) -> dict[str, float]:
    ratios = [mel / none for none, mel in zip(seconds["none"], seconds["mel"], strict=True)]
    return {kind: statistics.median(seconds[kind]) for kind in KINDS} | {"mel / none": statistics.median(ratios)}


def seconds_of_steps(network: Network) -> list[float]:
    """Of each step of a run that logged all of them."""
    batch = find_checkpoint(network.run).train_state()["settings"]["batch"]
    samples = batch["size"] * batch["segment_frames"] * find_checkpoint(network.run).config.mel.hop_length
    return [samples / record["samples_per_second"] for record in log_of(network) if "samples_per_second" in record]


def log_of(network: Network) -> list[dict[str, float]]:
    return [json.loads(line) for line in (network.run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def generation(network: Network) -> Callable[[], None]:
    """A function that generates a few frames with the reference engine."""
    model = load(network.run).model
    mel = torch.full((COST_BATCH, model.spec.n_mels, COST_FRAMES), -5.0)
    noise = Noise(0, [str(lane) for lane in range(COST_BATCH)], model.distribution.uniforms)
    history, blocks = silence_conditioning(model, mel, None), list(conditioning_blocks(model, mel, None))

    def generate() -> None:
        for _ in ReferenceEngine(model).generate(history, blocks, noise):
            pass

    return generate


# Training


def train_fully(train: Callable[..., None], steps: dict[str, int], network: Network) -> None:
    """All the steps of one network; the command goes on where it was, and does nothing where it was done."""
    every = max(1, steps[network.kind] // EVALUATIONS)
    train(network, steps[network.kind], (f"training.checkpoint.every={every}",))


def train_network(
    store: Path, network: Network, steps: int, more: tuple[str, ...], settings: tuple[str, ...] = ()
) -> None:
    """Raises UserError where vocoder-train fails."""
    print(f"== training {network.name}", flush=True)
    command = [
        *(str(Path(sys.executable).with_name("vocoder-train")), f"data={store}"),
        *(f"name={network.name}", f"runs={network.run.parent}", *settings),
        *(f"model.linear_prediction.kind={network.kind}", f"training.seed={network.seed}"),
        *("training.length.minutes=null", f"training.length.steps={steps}", "training.audition.every=0", *more),
    ]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # one, in a worker beside others
    finished = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
    if finished.returncode:
        raise UserError(f"{network.name}: vocoder-train failed: {finished.stderr.strip().splitlines()[-1]}")


def curves(networks: list[Network], costs: Rows) -> Rows:
    """Dev bits per sample of each network over the minutes that its steps take."""
    rows: Rows = {}
    for network in networks:
        minutes = costs["seconds of a training step"][network.kind] / 60
        dev = [(record["step"] * minutes, record["bits/dev"]) for record in log_of(network) if "bits/dev" in record]
        rows[network.name] = {f"{at:.0f}": bits for at, bits in dev}
    return rows


def held_out(store: Store) -> list[Entry]:
    return [entry for entry in store.split("dev") + store.split("test") if entry.frames >= 4]


def held_out_bits(store: Store, networks: list[Network]) -> Rows:
    rows: Rows = {}
    for network in networks:
        found = likelihood(load(network.run).model, store, held_out(store))
        rows[network.name] = {"per sample": found.per_sample, "mean of utterances": found.per_utterance}
    return rows


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
    """The longest test utterances that are not too long."""
    frames = SECONDS * store.spec.sample_rate / store.spec.hop_length
    return sorted((e for e in store.split("test") if e.frames <= frames), key=lambda e: -e.frames)[:UTTERANCES]


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
    print(f"== synthesising {', '.join(condition.name for condition in batch)}", flush=True)
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


def sound_of(store: Store, folder: Path) -> dict[str, float]:
    """Measures of a condition's wavs against the recordings, the mean of the utterances."""
    rows = []
    for entry in chosen(store):
        wave = torch.from_numpy(read_audio(folder / f"{entry.id}.wav")[0])
        target = torch.from_numpy(int16_to_waveform(store.read(entry).wave))
        rate = store.spec.sample_rate
        pauses = level_in_pauses(wave, target, rate) - level_in_pauses(target, target, rate)
        row = {
            "log-mel, dB": log_mel_distance(wave, torch.from_numpy(mel_of(store, entry)), store.spec),
            "multi-resolution STFT": multi_resolution_stft_distance(wave, target),
            "noise in pauses over the recording's, dB": pauses,
            "level over the recording's, dB": float(10 * torch.log10(wave.square().mean() / target.square().mean())),
            "samples at full scale, %": 100 * float((wave.abs() >= 32767 / 32768).float().mean()),
        }
        rows.append(row)
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


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
