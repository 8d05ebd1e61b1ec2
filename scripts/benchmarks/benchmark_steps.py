"""Speed of networks with one sample per step and with several, side by side; or of any other networks.

    python -m scripts.benchmarks.benchmark_steps [NETWORK …] [--mel speech_16k] [--rounds 3]

A NETWORK is a quoted list of settings of vocoder-train, such as "model=r9y9 model.wavenet.samples_per_step=2". Without
any, they are small with one sample per step, and with four. Measured are training (two segments of 10 240 samples),
synthesis of many utterances of 120 frames, and of one at a time. The networks take turns in every round; a figure is
the median of the rounds. Weights are random.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np

from scripts.benchmarks.machine import describe_machine
from scripts.benchmarks.networks import random_mel, untrained_model
from scripts.benchmarks.timing import time_interleaved
from scripts.benchmarks.training_steps import trainer_step
from vocoder.engines import pick_engine
from vocoder.engines.cpu import fastest_precision
from vocoder.model import VocoderModel
from vocoder.synthesis import Request, Vocoder

FRAMES, UTTERANCES = 120, 128  # no preset has 120 bands: a square mel would be refused, its axes cannot be told apart
ONE, FOUR = "model.wavenet.samples_per_step=1 model.wavenet.head_context=0", "model.wavenet.samples_per_step=4"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[ONE, FOUR])
    parser.add_argument("--mel", default="speech_16k")
    parser.add_argument("--precision", default=fastest_precision())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    mel, precision, networks = arguments.mel, arguments.precision, [text.split() for text in arguments.networks]
    print(describe_machine())
    print(f"{mel}, {precision}: samples/s")

    steps = [trainer_step(*network, precision=precision, mel=mel) for network in networks]
    report("training", steps[0].samples, [step.run for step in steps], 3 * arguments.rounds, arguments.networks)
    models = [untrained_model(mel, *network) for network in networks]
    for name, utterances, threads in ((f"{UTTERANCES} utterances", UTTERANCES, None), ("one stream, 1 thread", 1, 1)):
        samples = utterances * FRAMES * models[0].spec.hop_length
        works = [synthesis(model, precision, threads, utterances) for model in models]
        report(name, samples, works, arguments.rounds, arguments.networks)


def synthesis(
    model: VocoderModel, precision: str, threads: int | None, utterances: int
) -> Callable[[], list[np.ndarray]]:
    """Synthesis of so many utterances, side by side; the post-filter, which costs both the same, is left out."""
    vocoder = Vocoder(model, pick_engine(model, "cpu", precision, threads), postfilter=0)
    mel = random_mel(vocoder.spec, FRAMES)
    requests = [Request(str(i), mel) for i in range(utterances)]
    return lambda: vocoder.synthesize_batch(requests)


def report(name: str, samples: int, works: Sequence[Callable[[], object]], rounds: int, networks: list[str]) -> None:
    """Time the works in turn; print the speed of each, and how many times as fast as the first it is."""
    print(name)
    speeds = samples / np.median(time_interleaved(works, rounds, warm_up=1), 0)
    for network, speed in zip(networks, speeds, strict=True):
        print(f"  {speed:9.0f}   x {speed / speeds[0]:.2f}   {network}", flush=True)


if __name__ == "__main__":
    main()
