"""What linear prediction from the mel is worth: networks with and without it, trained alike, compared.

    python -m scripts.experiments.compare_linear_prediction STORE OUTPUT --steps 7500 [--seeds 0 1 2]
        [--jobs 1] [--set KEY=VALUE …]

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
    chosen,
    curve,
    finish,
    hold,
    kept,
    mel_of,
    sound_of,
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
    entries = chosen(store)
    workers = arguments.jobs if arguments.jobs > 1 else 0
    output.mkdir(parents=True, exist_ok=True)
    hold(output / "settings.json", {"store": str(store.directory), "steps": arguments.steps, "set": arguments.set})
    networks = [network(kind, seed, output) for seed in arguments.seeds for kind in KINDS]

    residual = kept(output / "residual.json", partial(residual_bits, store))
    finish(jobs.run(partial(train, store.directory, arguments.steps, arguments.set), networks, workers))
    bits = {n.name: kept(output / "bits" / f"{n.name}.json", partial(test_bits, store, n)) for n in networks}
    finish(jobs.run(partial(synthesize, store), batches(networks), workers))
    curves = {n.name: curve(n) for n in networks}
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


def network(kind: str, seed: int, output: Path) -> Network:
    settings = (f"model.linear_prediction.kind={kind}", f"training.seed={seed}")
    return Network(f"{kind}-{seed}", settings, output)


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


# SynthesisOptions


def batches(networks: list[Network]) -> list[list[Condition]]:
    """Conditions that can be synthesised at once, together all there are."""
    first = next(network for network in networks if network.name.startswith("mel"))
    spoilt = [Condition(f"{first.name}, mel noise {sigma}", first, mel_noise=sigma) for sigma in MEL_NOISE]
    spoilt.append(Condition(f"{first.name}, mel blurred", first, mel_blur=MEL_BLUR))
    cooler = [[Condition(f"{first.name}, temperature {t}", first, temperature=t)] for t in TEMPERATURES]
    plain = [[Condition(network.name, network), *(spoilt if network == first else [])] for network in networks]
    return [*plain, *cooler]


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


if __name__ == "__main__":
    sys.exit(cli.report_errors("compare_linear_prediction", main))
