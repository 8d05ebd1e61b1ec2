"""Cost of linear prediction: seconds of a training step and of generation, with and without it.

    python -m scripts.benchmarks.cost_of_linear_prediction STORE [--model small] [--rounds 40]

The two take turns, step by step, on the same speech. Printed are their medians, and the median and the quartiles of the
ratio within each turn. Run it on an idle machine.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scripts.benchmarks.timing import time_interleaved
from scripts.experiments.comparison import Network, step_runner, trainer_of
from vocoder.commands import cli
from vocoder.engines import pick_engine
from vocoder.synthesis import Request, Vocoder

KINDS = ("none", "mel")
LANES, FRAMES = 8, 8  # utterances generated at the same time, and their length


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    networks = [Network("cost", (f"model.linear_prediction.kind={kind}",), Path()) for kind in KINDS]
    trainers = [trainer_of(arguments.store, network, [f"model={arguments.model}"]) for network in networks]
    spec = trainers[0].store.spec
    batch = trainers[0].config.batch
    samples = batch.size * batch.segment_frames * spec.hop_length
    print_ratio(
        f"a training step of {samples} samples",
        time_interleaved([step_runner(trainer) for trainer in trainers], arguments.rounds),
    )
    for engine in ("reference", "cpu"):
        vocoders = [Vocoder(t.model.eval(), pick_engine(t.model, engine), postfilter=0) for t in trainers]
        print_ratio(
            f"{LANES} utterances by the {engine} engine, {FRAMES * spec.hop_length} samples of each",
            time_interleaved([generation_of(vocoder) for vocoder in vocoders], arguments.rounds // 4),
        )


def generation_of(vocoder: Vocoder) -> Callable[[], None]:
    """A function to be timed: analysis of the mel, conditioning and sampling."""
    mel = np.full((vocoder.spec.n_mels, FRAMES), -5.0, np.float32)
    requests = [Request(str(lane), mel) for lane in range(LANES)]

    def work() -> None:
        vocoder.synthesize_batch(requests)

    return work


def print_ratio(title: str, seconds: np.ndarray) -> None:
    without, with_prediction = (statistics.median(column) for column in seconds.T)
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75))
    print(f"{title}: none {without:.3f} s, mel {with_prediction:.3f} s", end=", ")
    print(f"ratio {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    sys.exit(cli.report_errors("cost_of_linear_prediction", main))
