"""Cost of the post-filter: of a whole utterance, and of a stream whose frames arrive one by one.

    python -m scripts.benchmarks.cost_of_postfilter [--mel hifigan_22k] [--passes 5]

On one thread; the wave and the mel are noise, on which the cost does not depend.
"""

import argparse

import numpy as np

from scripts.benchmarks.machine import describe_machine
from scripts.benchmarks.networks import random_mel
from scripts.benchmarks.timing import time_interleaved
from vocoder.features.mel import PRESETS
from vocoder.synthesis.postfilter import PASSES, PostFilter

FRAMES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mel", default="hifigan_22k", choices=PRESETS)
    parser.add_argument("--passes", type=int, default=PASSES)
    arguments = parser.parse_args()
    spec = PRESETS[arguments.mel]
    postfilter, mel = PostFilter(spec, arguments.passes), random_mel(spec, FRAMES)
    wave = np.random.default_rng(0).integers(-3000, 3000, FRAMES * spec.hop_length).astype(np.int16)
    frames = list(zip(mel.T[:, :, None], wave.reshape(FRAMES, -1), strict=True))
    works = [lambda: postfilter(mel, wave), lambda: list(postfilter.stream(iter(frames)))]
    print(describe_machine())
    seconds = FRAMES * spec.hop_length / spec.sample_rate
    for name, taken in zip(("whole", "stream"), np.median(time_interleaved(works, 5, warm_up=1), 0), strict=True):
        print(f"{name:8} {arguments.passes} passes: {100 * taken / seconds:.1f} % of real time")


if __name__ == "__main__":
    main()
