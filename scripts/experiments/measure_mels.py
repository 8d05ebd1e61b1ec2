"""Measure what docs/mels.md says of foreign mels, on recordings of speech.

    python -m scripts.experiments.measure_mels RECORDINGS confusion --limit 300
    python -m scripts.experiments.measure_mels RECORDINGS loss --write
    python -m scripts.experiments.measure_mels RECORDINGS mistakes --limit 12

confusion: the mels of every preset offered to a model of every other. The models' training data are a sixth of the
recordings; the share of the others' mels that is refused is printed.
loss: mean absolute error in dB of approximate conversions; --write keeps them for the warnings of vocoder-synthesize.
mistakes: STOI and log-mel L1 of the voice in the package, whose mels are hifigan_22k, given mels of the presets that it
cannot tell from them.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch

import vocoder.features.conversion_losses
from vocoder.errors import UserError
from vocoder.evaluation.metrics import DECIBELS_PER_NEPER, log_mel_distance
from vocoder.features.audio import read_audio, resample
from vocoder.features.convert import convert_approximately, is_exact
from vocoder.features.mel import PRESETS, MelSpec, log_mel
from vocoder.features.mel_input import MelFormat, MelReader
from vocoder.features.recognition import MelStatistics

NAMES = [name for name in PRESETS if name != "speecht5"]  # which equals pwg_16k
TABLE = Path(vocoder.features.conversion_losses.__file__)
INDISTINGUISHABLE = ("hifigan_22k", "tacotron2_22k", "nemo_fastpitch", "vits_22k", "speechbrain_16k", "speech_16k")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="a folder of speech")
    parser.add_argument("measurement", choices=("confusion", "loss", "mistakes"))
    parser.add_argument("--limit", type=int, default=60, help="recordings, spread over the folder")
    parser.add_argument("--write", action="store_true", help="write the losses into the package")
    arguments = parser.parse_args()
    paths = sorted(arguments.recordings.rglob("*.flac"))
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, min(arguments.limit, len(paths))).round().astype(int)]
    torch.set_num_threads(1)
    if arguments.measurement == "confusion":
        print_table(confusion(paths), "{:.0%}".format)
    elif arguments.measurement == "mistakes":
        print_mistakes(paths)
    else:
        losses = conversion_losses(paths)
        print_table(losses, "{:.1f}".format)
        if arguments.write:
            text = TABLE.read_text(encoding="utf-8")
            TABLE.write_text(f"{text[: text.index(' = ')]} = {json.dumps(losses, indent=4)}\n", encoding="utf-8")


def mels_of(path: Path) -> dict[str, np.ndarray]:
    """The mel of a recording in every preset."""
    wave, rate = read_audio(path)
    rates = {PRESETS[name].sample_rate for name in NAMES}
    resampled = {target: torch.from_numpy(resample(wave, rate, target)) for target in rates}
    return {name: log_mel(resampled[PRESETS[name].sample_rate], PRESETS[name]).numpy() for name in NAMES}


def statistics_of(mels: list[np.ndarray]) -> MelStatistics:
    whole = np.concatenate(mels, 1).astype(np.float64)
    return MelStatistics(tuple(whole.mean(1)), tuple(whole.std(1)))


def confusion(paths: list[Path]) -> dict[str, dict[str, float]]:
    """Share of mels refused, by the model's preset and the mels'."""
    train = [mels_of(path) for path in paths[::6]]
    readers = {
        name: MelReader(PRESETS[name], statistics_of([mels[name] for mels in train]), MelFormat(layout="bands_first"))
        for name in NAMES
    }
    rest = [path for i, path in enumerate(paths) if i % 6]
    refused = {model: dict.fromkeys(NAMES, 0) for model in NAMES}
    for path in rest:
        mels = mels_of(path)
        for model, given in product(NAMES, NAMES):
            refused[model][given] += is_refused(readers[model], mels[given])
    return {model: {given: n / len(rest) for given, n in row.items()} for model, row in refused.items()}


def is_refused(reader: MelReader, mel: np.ndarray) -> bool:
    try:
        reader(mel)
    except UserError:
        return True
    return False


def conversion_losses(paths: list[Path]) -> dict[str, dict[str, float]]:
    """Mean absolute error in dB of amplitude, by the given preset and the model's."""
    losses: dict[str, dict[str, list[float]]] = {a: {b: [] for b in NAMES} for a in NAMES}
    for mels in map(mels_of, paths):
        for source, target in product(NAMES, NAMES):
            if not is_exact(PRESETS[source], PRESETS[target]):
                losses[source][target].append(loss_of(mels, source, target))
    return {a: {b: round(float(np.mean(found)), 2) for b, found in row.items() if found} for a, row in losses.items()}


def loss_of(mels: dict[str, np.ndarray], source: str, target: str) -> float:
    spec = PRESETS[target]
    converted = convert_approximately(mels[source], PRESETS[source], spec)
    frames = min(converted.shape[1], mels[target].shape[1])
    error = np.abs(converted[:, :frames] - mels[target][:, :frames]).mean()
    return float(error) * spec.log_unit * DECIBELS_PER_NEPER


def print_mistakes(paths: list[Path]) -> None:
    """STOI and log-mel L1 of the bundled voice, given the mels of other presets as they are."""
    import pystoi  # type: ignore[import-untyped]  # slow to import, as is the voice

    from vocoder import Request, load

    voice = load(mels=MelFormat(preset="hifigan_22k"))  # takes what it is given
    spec = voice.spec
    for name in INDISTINGUISHABLE:
        mels = [mels_of(path)[name] for path in paths]
        waves = voice.synthesize_batch([Request(str(i), mel) for i, mel in enumerate(mels)])
        scores = []
        for path, wave in zip(paths, waves, strict=True):
            original = resample(*read_audio(path), spec.sample_rate)
            late = round((spec.frame_centre - PRESETS[name].frame_centre) * spec.hop_length)  # which nobody hears
            stretched = fitted(wave[late:], len(original))
            score = pystoi.stoi(original, stretched, spec.sample_rate)
            scores.append((score, log_mel_distance(torch.from_numpy(stretched), own_mel(original, spec), spec)))
        print(f"| `{name}` | {np.mean(scores, 0)[0]:.3f} | {np.mean(scores, 0)[1]:.2f} |", flush=True)


def own_mel(wave: np.ndarray, spec: MelSpec) -> torch.Tensor:
    return log_mel(torch.from_numpy(wave), spec)


def fitted(wave: np.ndarray, length: int) -> np.ndarray:
    """The wave cut, or continued by silence, to a length: another hop or rate makes it longer or shorter."""
    return np.pad(wave, (0, max(0, length - len(wave))))[:length]


def print_table(table: dict[str, dict[str, float]], shown: Callable[[float], str]) -> None:
    """As Markdown; an empty cell where there is no value."""

    def lines() -> Iterator[str]:
        yield f"| | {' | '.join(NAMES)} |"
        yield f"| --- |{' --- |' * len(NAMES)}"
        for name, row in table.items():
            yield f"| `{name}` | {' | '.join(shown(row[other]) if other in row else '' for other in NAMES)} |"

    print("\n".join(lines()))


if __name__ == "__main__":
    main()
