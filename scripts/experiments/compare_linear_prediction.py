"""Ablation of linear prediction from the mel: networks with and without it, trained with the same settings.

    python -m scripts.experiments.compare_linear_prediction STORE OUTPUT --steps 7500 [--seeds 0 1 2]
        [--jobs 1] [--set KEY=VALUE …]

excitation   bits per sample of the excitation under a simple model, without a network
training     every network for the same number of steps (cost_of_linear_prediction.py measures the time per step);
             with --jobs 2, two networks at once, on one core each
bits         bits per sample: of dev speech during training, of all test utterances at the end
sound        free-running synthesis of test utterances: each network, other temperatures, noisy and smoothed mels;
             for comparison Griffin-Lim, noise through the filter, and the recordings

Results are cached in OUTPUT, so a rerun continues where the last one stopped, and seeds can be added later. The results
are in OUTPUT/tables.md, the speech in OUTPUT/wavs. PESQ and STOI need the extra `metrics`.
"""

import argparse
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
import torch

from scripts.experiments.comparison import (
    Condition,
    Network,
    Row,
    Rows,
    cached,
    claim_folder,
    dev_curve,
    mean_measures,
    mel_of,
    raise_errors,
    selected_entries,
    synthesize,
    table,
    test_bits,
    train,
)
from vocoder import jobs
from vocoder.commands import cli
from vocoder.data.store import Entry, Store
from vocoder.evaluation import filtered_noise, griffin_lim
from vocoder.features.audio import INT16_LEVELS, int16_to_grid, int16_to_waveform, waveform_to_int16, write_wav
from vocoder.features.mel import hann_window
from vocoder.files import write_json
from vocoder.model import LinearPredictionConfig, extend_edges
from vocoder.model.linear_prediction import LinearPrediction, default_order

KINDS = ("none", "mel")
TEMPERATURES = (0.9, 0.8)
MEL_NOISE = (0.1, 0.3, 1.0)  # standard deviations in natural logarithms of amplitude
MEL_BLUR = 1.5  # standard deviation in frames and in bands


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
    entries = selected_entries(store)
    workers = arguments.jobs if arguments.jobs > 1 else 0
    output.mkdir(parents=True, exist_ok=True)
    settings = {"store": str(store.directory), "steps": arguments.steps, "set": arguments.set}
    claim_folder(output / "settings.json", settings)
    networks = [network(kind, seed, output) for seed in arguments.seeds for kind in KINDS]

    excitation = cached(output / "excitation.json", partial(excitation_bits, store))
    raise_errors(jobs.parallel_map(partial(train, store.directory, arguments.steps, arguments.set), networks, workers))
    bits = {n.name: cached(output / "bits" / f"{n.name}.json", partial(test_bits, store, n)) for n in networks}
    raise_errors(jobs.parallel_map(partial(synthesize, store), batches(networks), workers))
    curves = {n.name: dev_curve(n) for n in networks}
    write_json(output / "curves.json", curves)  # for figures_linear_prediction.py
    report = "\n".join(
        (
            table("Excitation alone, bits per sample", {name: {"bits": value} for name, value in excitation.items()}),
            table("Dev bits per sample after steps", curves),
            table("Test bits per sample", bits),
            table(f"Free-running, {len(entries)} utterances", measure_sound(store, networks, output)),
        )
    )
    (output / "tables.md").write_text(report, encoding="utf-8")
    print(report)


def network(kind: str, seed: int, output: Path) -> Network:
    settings = (f"model.linear_prediction.kind={kind}", f"training.seed={seed}")
    return Network(f"{kind}-{seed}", settings, output)


# The excitation alone


def excitation_bits(store: Store) -> Row:
    """Bits per sample of test speech if each frame of the excitation is Laplacian with a known scale of its own.

    The cost of transmitting the scales is not counted, so the numbers compare filters but are no bound for a network.
    """
    order, hop = default_order(store.spec.sample_rate), store.spec.hop_length
    from_mel = LinearPrediction(store.spec, order, LinearPredictionConfig().updates)
    totals = [autocorrelations(store, entry, order).sum(0) for entry in store.split("train")]
    fixed = solve_normal_equations(np.sum(totals, axis=0))
    min_scale = 0.5 * 2 / (INT16_LEVELS - 1)  # half a level; below it, the density does not approximate a probability
    bits: dict[str, list[np.ndarray]] = {}
    for entry in store.split("test"):
        utterance = store.read(entry)
        wave = int16_to_grid(utterance.wave).astype(np.float64)
        past = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (order, 0))[:-1], order)[:, ::-1]
        own = np.stack([solve_normal_equations(r) for r in autocorrelations(store, entry, order)])
        mel = torch.from_numpy(np.ascontiguousarray(utterance.mel.T))[None]
        filters = {
            "no prediction": np.zeros((1, order)),
            "one filter for the corpus": fixed[None],
            "from the mel": from_mel.predictor(from_mel(extend_edges(mel, 1, 1))).coefficients[0].double().numpy(),
            "from the audio, one filter per frame": own.repeat(hop, 0),
        }
        for name, a in filters.items():
            scale = np.abs((wave - (past * a).sum(1)).reshape(-1, hop)).mean(1).clip(min=min_scale)
            bits.setdefault(name, []).append(np.log2(2 * math.e * scale * (INT16_LEVELS - 1) / 2))
    return {name: float(np.concatenate(frames).mean()) for name, frames in bits.items()}


def autocorrelations(store: Store, entry: Entry, order: int) -> np.ndarray:
    """Autocorrelation [F, order + 1] of each windowed frame; the frames are those of the mel."""
    spec = store.spec
    wave = int16_to_grid(store.read(entry).wave).astype(np.float64)
    before = spec.win_length // 2 - round(spec.frame_centre * spec.hop_length)
    padded = np.pad(wave, (before, spec.win_length - spec.hop_length - before), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.win_length)[:: spec.hop_length]
    power = np.abs(np.fft.rfft(frames * hann_window(spec).numpy(), 2 * spec.n_fft)) ** 2
    regularisation = 1e-9 * (np.arange(order + 1) == 0)  # keeps the equations solvable in digital silence
    return np.fft.irfft(power)[:, : order + 1] + regularisation


def solve_normal_equations(autocorrelation: np.ndarray) -> np.ndarray:
    """Least-squares prediction coefficients [K] from autocorrelation [K + 1]."""
    coefficients: np.ndarray = scipy.linalg.solve_toeplitz(autocorrelation[:-1], autocorrelation[1:])
    return coefficients


# Synthesis


def batches(networks: list[Network]) -> list[list[Condition]]:
    """All conditions, grouped by network and temperature, because each group is one batch of synthesis."""
    first = next(network for network in networks if network.name.startswith("mel"))
    degraded = [Condition(f"{first.name}, mel noise {sigma}", first, mel_noise=sigma) for sigma in MEL_NOISE]
    degraded.append(Condition(f"{first.name}, mel blurred", first, mel_blur=MEL_BLUR))
    other_temperatures = [[Condition(f"{first.name}, temperature {t}", first, temperature=t)] for t in TEMPERATURES]
    plain = [[Condition(network.name, network), *(degraded if network == first else [])] for network in networks]
    return [*plain, *other_temperatures]


def measure_sound(store: Store, networks: list[Network], output: Path) -> Rows:
    """Measures of every condition and of the baselines, whose wavs are written if they do not exist."""
    order = default_order(store.spec.sample_rate)
    prediction = LinearPrediction(store.spec, order, LinearPredictionConfig().updates)
    baselines: dict[str, Callable[[Entry], np.ndarray]] = {
        "recording": lambda entry: int16_to_waveform(store.read(entry).wave),
        "Griffin-Lim": lambda entry: griffin_lim(mel_of(store, entry), store.spec),
        "filtered noise": lambda entry: filtered_noise(mel_of(store, entry), prediction),
    }
    for name, make in baselines.items():
        for entry in selected_entries(store):
            path = output / "wavs" / name / f"{entry.id}.wav"
            if not path.exists():
                write_wav(path, waveform_to_int16(make(entry)), store.spec.sample_rate)
    names = [*baselines, *(condition.name for batch in batches(networks) for condition in batch)]
    return {name: mean_measures(store, output / "wavs" / name) for name in names}


if __name__ == "__main__":
    sys.exit(cli.report_errors("compare_linear_prediction", main))
