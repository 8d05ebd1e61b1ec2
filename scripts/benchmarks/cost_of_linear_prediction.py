"""What linear prediction costs: seconds of a training step and of generation, with and without it.

    python -m scripts.benchmarks.cost_of_linear_prediction STORE [--model small] [--rounds 40]

Both kinds take turns, step by step, on the same speech; printed are the medians, and the median and the quartiles of
the ratio of neighbours. Run it on an idle machine.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scripts.benchmarks.timing import in_turn
from scripts.experiments.comparison import Network, stepping, trainer_of
from vocoder.commands import cli
from vocoder.engines import pick_engine
from vocoder.synthesis import Request, Vocoder

KINDS = ("none", "mel")
LANES, FRAMES = 8, 8  # generated at once


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
    show(
        f"a training step of {samples} samples",
        in_turn([stepping(trainer) for trainer in trainers], arguments.rounds),
    )
    for engine in ("reference", "cpu"):
        vocoders = [Vocoder(t.model.eval(), pick_engine(t.model, engine)) for t in trainers]
        show(
            f"{LANES} utterances by the {engine} engine, {FRAMES * spec.hop_length} samples of each",
            in_turn([generating(vocoder) for vocoder in vocoders], arguments.rounds // 4),
        )


def generating(vocoder: Vocoder) -> Callable[[], None]:
    """Everything from the mel on: analysis, conditioning, sampling."""
    mel = np.full((vocoder.spec.n_mels, FRAMES), -5.0, np.float32)
    requests = [Request(str(lane), mel) for lane in range(LANES)]

    def work() -> None:
        vocoder.synthesize_batch(requests)

    return work


def show(title: str, seconds: np.ndarray) -> None:
    none, mel = (statistics.median(column) for column in seconds.T)
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75))
    print(f"{title}: none {none:.3f} s, mel {mel:.3f} s, ratio {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    sys.exit(cli.reporting("cost_of_linear_prediction", main))
