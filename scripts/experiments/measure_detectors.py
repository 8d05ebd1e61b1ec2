"""Measure the detectors of artefacts: how many of known artefacts they find, and how often they are wrong.

    python -m scripts.experiments.measure_detectors FOLDER [FOLDER ...] [--utterances 30] [--output TABLE.md]

Needs pyworld. Of every folder of recordings it takes utterances at equal distances in the order of names, and prints
two tables in Markdown: the recall of artefacts put at random places into the recording and into its renditions, and
the false alarms in renditions that have no artefact. A click counts as found within 1 ms, anything else where the
found stretch overlaps it.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from vocoder.commands import cli
from vocoder.errors import UserError
from vocoder.evaluation import griffin_lim
from vocoder.evaluation.artefacts import find_artefacts
from vocoder.evaluation.baselines import world_vocoder
from vocoder.evaluation.results import Artefact
from vocoder.features.audio import int16_to_waveform, read_audio, waveform_to_int16
from vocoder.features.mel import MelSpec, log_mel

CARRIERS = ("original", "griffin_lim", "world", "noisy")  # renditions that artefacts are put into, in turn
KINDS = ("click", "clipping", "collapse")
CLICK_TOLERANCE = 0.001  # seconds
Injection = tuple[np.ndarray, list[tuple[float, float]]]  # the waveform, and where artefacts are in it, in seconds
Inject = Callable[[np.ndarray, int, np.random.Generator], Injection]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--utterances", type=int, default=30, help="of each folder")
    parser.add_argument("--output", type=Path, help="file for the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    alarms: dict[tuple[str, str, str], int] = defaultdict(int)
    minutes: dict[tuple[str, str], float] = defaultdict(float)
    for number, path in enumerate(p for folder in arguments.folders for p in _chosen(folder, arguments.utterances)):
        generator = np.random.default_rng(number)
        target, sample_rate = read_audio(path)
        rendered = renditions(target, sample_rate, generator)
        for name, waveform in rendered.items():
            _, artefacts = find_artefacts(waveform, target, sample_rate)
            minutes[path.parent.name, name] += len(target) / sample_rate / 60
            for kind in KINDS:
                alarms[path.parent.name, name, kind] += sum(artefact.kind == kind for artefact in artefacts)
        carrier = rendered[CARRIERS[number % len(CARRIERS)]][: len(target)]
        for kind, severity, inject in injections():
            waveform, places = inject(carrier, sample_rate, generator)
            _, artefacts = find_artefacts(waveform, target, sample_rate)
            found[kind, severity] += [_is_found(place, kind, artefacts) for place in places]
        for name, unit, size, changed in slow_changes(carrier):
            before, after = (find_artefacts(w, target, sample_rate)[0].get(name) for w in (carrier, changed))
            if before is not None and after is not None:
                errors[name, f"{size} {unit}"].append(abs(after - before - size))
    lines = [*recall_table(found), "", *error_table(errors), "", *alarm_table(alarms, minutes)]
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def _chosen(folder: Path, count: int) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".flac"))
    if not paths:
        raise UserError(f"{folder}: holds no wav or flac files; give a folder that does")
    return paths[:: max(1, len(paths) // count)][:count]


def renditions(target: np.ndarray, sample_rate: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Waveforms without artefacts of a recording [T], by names; of 16 bits but for the requantised one's source."""
    spec = MelSpec(sample_rate, 1024, 256, 1024, 80, 0.0, sample_rate / 2)
    mel = log_mel(torch.from_numpy(target), spec).numpy()
    rms = np.sqrt(np.square(target).mean())
    made = {
        "original": target,
        "griffin_lim": griffin_lim(mel, spec, 32),
        "world": world_vocoder(target, sample_rate),
        "noisy": target + 10 ** (-30 / 20) * rms * generator.standard_normal(len(target)),
        "3 dB louder": target * 10 ** (3 / 20),
        "3 dB quieter": target * 10 ** (-3 / 20),
        "requantised": target + generator.uniform(-0.5, 0.5, len(target)) / 32768,
    }
    return {name: int16_to_waveform(waveform_to_int16(waveform)) for name, waveform in made.items()}


def injections() -> Iterator[tuple[str, str, Inject]]:
    """(kind, severity, function that puts it in) of every artefact."""
    for amplitude in (0.05, 0.1, 0.2, 0.5, 1.0):
        yield "click", f"one sample, ± {amplitude}", _clicks(amplitude, 1)
    for samples in (1, 2, 3):
        yield "click", f"spike at ± 1, samples: {samples}", _clicks(2.0, samples)
    for decibels in (0.5, 1, 3, 6, 12):
        yield "clipping", f"{decibels} dB below the peak", _clipped(10 ** (-decibels / 20))
    for milliseconds in (100, 150, 200, 300, 500):
        for name, source in _COLLAPSES.items():
            yield "collapse", f"{name}, {milliseconds} ms", _replaced(milliseconds / 1000, source)


def _clicks(amplitude: float, samples: int) -> Inject:
    """Impulses about every 250 ms, cut off at ±1."""

    def inject(waveform: np.ndarray, sample_rate: int, generator: np.random.Generator) -> Injection:
        places = np.arange(sample_rate // 8, len(waveform) - sample_rate // 8, sample_rate // 4)
        places += generator.integers(-sample_rate // 20, sample_rate // 20, len(places))
        clicked = waveform.copy()
        for place in places.tolist():
            clicked[place : place + samples] += generator.choice([-amplitude, amplitude])
        return clicked.clip(-1, 1), [
            (place / sample_rate, (place + samples) / sample_rate) for place in places.tolist()
        ]

    return inject


def _clipped(level: float) -> Inject:
    """The waveform cut off at `level` of its peak. A place is a run of three samples or more."""

    def inject(waveform: np.ndarray, sample_rate: int, generator: np.random.Generator) -> Injection:
        limit = level * np.abs(waveform).max()
        edges = np.flatnonzero(np.diff(np.abs(np.pad(waveform, 1)) >= limit)).reshape(-1, 2)
        places = [(start / sample_rate, stop / sample_rate) for start, stop in edges.tolist() if stop - start >= 3]
        return waveform.clip(-limit, limit), places

    return inject


def _replaced(seconds: float, source: Callable[[int, float, np.random.Generator], np.ndarray]) -> Inject:
    """Speech, a stretch with at least a quarter of the power of the loudest, replaced by something else."""

    def inject(waveform: np.ndarray, sample_rate: int, generator: np.random.Generator) -> Injection:
        samples = int(seconds * sample_rate)
        energy = np.cumsum(np.append(0, np.square(waveform, dtype=np.float64)))
        power = energy[samples:] - energy[:-samples]
        if len(power) == 0:
            return waveform, []
        start = int(generator.choice(np.flatnonzero(power > 0.25 * power.max())))
        replaced = waveform.copy()
        rms = float(np.sqrt(energy[-1] / len(waveform)))
        replaced[start : start + samples] = source(samples, rms, generator).clip(-1, 1)
        return replaced, [(start / sample_rate, (start + samples) / sample_rate)]

    return inject


_COLLAPSES: dict[str, Callable[[int, float, np.random.Generator], np.ndarray]] = {
    "white noise 10 dB quieter": lambda n, rms, generator: 10**-0.5 * rms * generator.standard_normal(n),
    "white noise at the level of speech": lambda n, rms, generator: rms * generator.standard_normal(n),
    "white noise 12 dB louder": lambda n, rms, generator: 4 * rms * generator.standard_normal(n),
    "saturated noise": lambda n, rms, generator: np.sign(generator.standard_normal(n)),
    "silence": lambda n, rms, generator: 1e-4 * generator.standard_normal(n),
    "a constant of 0.5": lambda n, rms, generator: np.full(n, 0.5),
}


def slow_changes(waveform: np.ndarray) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """(measure, unit, size, waveform) with a drift of the level or an offset of that size."""
    for decibels in (-6.0, -3.0, -1.0, 1.0, 3.0, 6.0):
        gain = np.linspace(-decibels / 2, decibels / 2, len(waveform))
        yield "level_drift", "dB", decibels, waveform * 10 ** (gain / 20)
    for percent in (0.1, 0.5, 2.0):
        yield "dc", "%", percent, waveform + percent / 100


def _is_found(place: tuple[float, float], kind: str, artefacts: list[Artefact]) -> bool:
    margin = CLICK_TOLERANCE if kind == "click" else 0.0
    return any(a.kind == kind and a.start < place[1] + margin and a.stop > place[0] - margin for a in artefacts)


def recall_table(found: dict[tuple[str, str], list[bool]]) -> list[str]:
    rows = [f"| {kind} | {severity} | {len(x)} | {np.mean(x):.3f} |" for (kind, severity), x in found.items() if x]
    return ["| artefact | severity | number | recall |", "| --- | --- | --: | --: |", *rows]


def error_table(errors: dict[tuple[str, str], list[float]]) -> list[str]:
    rows = [f"| {name} | {size} | {np.median(x):.4f} | {np.max(x):.4f} |" for (name, size), x in errors.items()]
    return ["| measure | change | median error | largest error |", "| --- | --: | --: | --: |", *rows]


def alarm_table(alarms: dict[tuple[str, str, str], int], minutes: dict[tuple[str, str], float]) -> list[str]:
    rows = []
    for (voice, name), duration in sorted(minutes.items()):
        rates = " | ".join(f"{alarms[voice, name, kind] / duration:.2f}" for kind in KINDS)
        rows.append(f"| {voice} | {name} | {duration:.2f} | {rates} |")
    heading = ["| recordings | rendition | minutes | clicks / min | clippings / min | collapses / min |"]
    return [*heading, "| --- | --- | --: | --: | --: | --: |", *rows]


if __name__ == "__main__":
    sys.exit(cli.report_errors("measure_detectors", main))
