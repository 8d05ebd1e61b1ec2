"""Speed with several samples per step, beside that of the same network with one.

    python -m scripts.benchmarks.benchmark_steps [--samples-per-step 4] [--size small] [--mel speech_16k] [--rounds 3]

Training (two segments of 10 240 samples), synthesis of many utterances of 80 frames, and of one at a time. Both
networks take turns in every round, and a figure is the median of the rounds. Weights are random.
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

FRAMES, UTTERANCES = 80, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples-per-step", type=int, default=4)
    parser.add_argument("--head-context", type=int, default=8)
    parser.add_argument("--size", default="small")
    parser.add_argument("--mel", default="speech_16k")
    parser.add_argument("--precision", default=fastest_precision())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    one, several = (
        [f"model.wavenet.samples_per_step={samples}", f"model.wavenet.head_context={context}"]
        for samples, context in ((1, 0), (arguments.samples_per_step, arguments.head_context))
    )
    print(describe_machine())
    print(f"{arguments.size}, {arguments.mel}, {arguments.precision}: samples/s of 1 and of {several}")

    steps = [
        trainer_step(f"model={arguments.size}", *settings, precision=arguments.precision, mel=arguments.mel)
        for settings in (one, several)
    ]
    report("training", steps[0].samples, [step.run for step in steps], 3 * arguments.rounds)

    models = [untrained_model("mel", arguments.size, arguments.mel, *settings) for settings in (one, several)]
    for name, utterances, threads in ((f"{UTTERANCES} utterances", UTTERANCES, None), ("one stream, 1 thread", 1, 1)):
        samples = utterances * FRAMES * models[0].spec.hop_length
        works = [synthesis(model, arguments.precision, threads, utterances) for model in models]
        report(name, samples, works, arguments.rounds)


def synthesis(model: VocoderModel, precision: str, threads: int | None, utterances: int) -> Callable[[], object]:
    """Synthesis of so many utterances, side by side; the post-filter, which costs both the same, is left out."""
    vocoder = Vocoder(model, pick_engine(model, "cpu", precision, threads), postfilter=0)
    mel = random_mel(vocoder.spec, FRAMES)
    requests = [Request(str(i), mel) for i in range(utterances)]
    return lambda: vocoder.synthesize_batch(requests)


def report(name: str, samples: int, works: Sequence[Callable[[], object]], rounds: int) -> None:
    """Time the network with one sample per step and that with several, and print both speeds."""
    one, several = samples / np.median(time_interleaved(works, rounds, warm_up=1), 0)
    print(f"  {name:20} {one:9.0f} {several:9.0f}   x {several / one:.2f}", flush=True)


if __name__ == "__main__":
    main()
