"""What linear prediction costs: seconds of a training step and of generation, with and without it.

    python scripts/cost_of_linear_prediction.py STORE [--model small] [--rounds 40]

Both kinds take turns, step by step, on the same speech; printed are the medians, and the median and the quartiles of
the ratio of neighbours. Run it on an idle machine.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch

from vocoder.commands import cli
from vocoder.commands.train import Settings, trainer_for
from vocoder.engines import Noise, ReferenceEngine
from vocoder.errors import UserError
from vocoder.model import VocoderModel
from vocoder.settings import from_mapping
from vocoder.synthesis import conditioning_blocks, silence_conditioning
from vocoder.training import Trainer

KINDS = ("none", "mel")
WARM_UP = 3  # rounds that do not count
LANES, FRAMES = 8, 4  # generated at once


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    trainers = {kind: trainer_of(kind, arguments.store, arguments.model) for kind in KINDS}
    spec = trainers["mel"].store.spec
    batch = trainers["mel"].settings.batch
    samples = batch.size * batch.segment_frames * spec.hop_length
    show(
        f"a training step of {samples} samples",
        in_turn([stepping(trainers[kind]) for kind in KINDS], arguments.rounds),
    )
    show(
        f"{LANES} utterances by the reference engine, {FRAMES * spec.hop_length} samples of each",
        in_turn([generating(trainers[kind].model.eval()) for kind in KINDS], arguments.rounds // 4),
    )


def trainer_of(kind: str, store: Path, model: str) -> Trainer:
    """As `vocoder-train experiment=demo` makes it."""
    overrides = [f'data="{store}"', "name=cost", f"model={model}", "experiment=demo"]
    return trainer_for(
        from_mapping(Settings, cli.composed("train", [*overrides, f"model.linear_prediction.kind={kind}"]))
    )


def stepping(trainer: Trainer) -> Callable[[], None]:
    step = count()

    def work() -> None:
        trainer.train_step(trainer.data[next(step)].to(trainer.device))

    return work


def generating(model: VocoderModel) -> Callable[[], None]:
    """Everything from the mel on: analysis, conditioning, sampling."""
    mel = torch.full((LANES, model.spec.n_mels, FRAMES), -5.0, device=model.device)
    noise = Noise(0, [str(lane) for lane in range(LANES)], model.distribution.uniforms)

    def work() -> None:
        blocks: Iterator[object] = ReferenceEngine(model).generate(
            silence_conditioning(model, mel, None), conditioning_blocks(model, mel, None), noise
        )
        for _ in blocks:
            pass

    return work


def in_turn(works: list[Callable[[], None]], rounds: int) -> np.ndarray:
    """Seconds [rounds, works] of several kinds of work, one after another in each round."""
    seconds = []
    for _ in range(WARM_UP + rounds):
        row = []
        for work in works:
            started = time.perf_counter()
            work()
            row.append(time.perf_counter() - started)
        seconds.append(row)
    return np.array(seconds[WARM_UP:])


def show(title: str, seconds: np.ndarray) -> None:
    none, mel = (statistics.median(column) for column in seconds.T)
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75))
    print(f"{title}: none {none:.3f} s, mel {mel:.3f} s, ratio {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
