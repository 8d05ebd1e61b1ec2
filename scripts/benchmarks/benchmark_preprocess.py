"""Speed and memory of preprocessing, beside librosa's mel of the same audio.

    python -m scripts.benchmarks.benchmark_preprocess [--minutes 60] [--rate 22050] [--channels 1] [--files 360]
        [--workers 0 1 2] [--long]

The corpus is bursts of noise in WAV files of equal length; with --long it is one file. Each measurement is a process of
its own, timed to the finished store: without its imports, but with the start of its workers, which import, too. "Real
time" is seconds of audio per second; memory is the peak of the process and of its largest worker.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch

from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.features.mel import PRESETS, mel_filterbank

SPEC = PRESETS["hifigan_22k"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="of audio in all")
    parser.add_argument("--rate", type=int, default=SPEC.sample_rate, help="of the files, Hz")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--files", type=int, default=360)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="0 works in the process itself")
    parser.add_argument("--long", action="store_true", help="one file in place of many")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # a folder; and workers, or librosa
    arguments = parser.parse_args()
    if arguments.measure:
        folder, what = arguments.measure
        measure_librosa(Path(folder)) if what == "librosa" else measure(Path(folder), int(what))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = 1 if arguments.long else arguments.files
        write_corpus(Path(folder) / "in", 60 * arguments.minutes / files, files, arguments.rate, arguments.channels)
        seconds = 60 * arguments.minutes
        for what in [*map(str, arguments.workers), *(["librosa"] if not arguments.long else [])]:
            name = what if what == "librosa" else f"preprocess, workers={what}"
            print(f"{name}: {report(folder, what, seconds)}", flush=True)


def report(folder: str, what: str, seconds: float) -> str:
    """Run a measurement in a process of its own."""
    command = [sys.executable, "-m", "scripts.benchmarks.benchmark_preprocess", "--measure", folder, what]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    speed = seconds / found["seconds"]
    return f"{speed:.0f} × real time, peak memory {found['memory']:.0f} MB, of a worker {found['worker_memory']:.0f} MB"


def measure(folder: Path, workers: int) -> None:
    torch.set_num_threads(1)
    mel_filterbank(SPEC)  # librosa imports most of scipy for it
    with tempfile.TemporaryDirectory(dir=folder) as output:
        started = time.perf_counter()
        preprocess(folder / "in", Path(output) / "store", PreprocessConfig(SPEC), workers, lambda items, *_: items)
        print_result(started)


def measure_librosa(folder: Path) -> None:
    """The power mel and its logarithm in one process, without reading twice, level, quantisation or storing."""
    mel_filterbank(SPEC)
    started = time.perf_counter()
    for path in sorted((folder / "in").iterdir()):
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        wave = librosa.resample(wave.mean(1), orig_sr=rate, target_sr=SPEC.sample_rate)
        mel = librosa.feature.melspectrogram(
            y=wave, sr=SPEC.sample_rate, n_fft=SPEC.n_fft, hop_length=SPEC.hop_length, n_mels=SPEC.n_mels,
            fmin=SPEC.fmin, fmax=SPEC.fmax, power=1.0,
        )  # fmt: skip
        np.log(np.maximum(mel, SPEC.log_floor))
    print_result(started)


def print_result(started: float) -> None:
    seconds = time.perf_counter() - started
    own, worker = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "memory": own, "worker_memory": worker}))


def write_corpus(folder: Path, seconds: float, files: int, rate: int, channels: int) -> None:
    """Bursts of noise of a second, with pauses between them."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    second = np.where(np.arange(rate) < 0.7 * rate, 0.3, 0.001)[:, None]
    for number in range(files):
        with soundfile.SoundFile(folder / f"{number:05d}.wav", "w", rate, channels, "PCM_16", format="RF64") as file:
            for _ in range(round(seconds)):
                file.write(second * generator.uniform(-1, 1, (rate, channels)))


if __name__ == "__main__":
    main()
