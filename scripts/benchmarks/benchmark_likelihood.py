"""What the exact likelihood costs, beside the loss of the published wavenet-vocoder.

    pip install --no-deps wavenet-vocoder==0.1.1
    python -m scripts.benchmarks.benchmark_likelihood [--rounds 30]

Forward and backward of 10 mixtures on 2 x 10 240 samples at 65 536 levels, both in turn in one process; and, each in a
process of its own, by how much the peak of resident memory grows at the first such pass.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scripts.benchmarks.timing import in_turn
from vocoder.distributions import MixtureOfLogistics

BATCH, SAMPLES, COMPONENTS = 2, 10_240, 10
Loss = Callable[[Tensor, Tensor], Tensor]


def ours() -> Loss:
    distribution = MixtureOfLogistics(COMPONENTS)
    return lambda params, x: -distribution.log_prob(params, x).sum()


def peer() -> Loss:
    from wavenet_vocoder.mixture import discretized_mix_logistic_loss  # type: ignore[import-not-found]

    return lambda params, x: discretized_mix_logistic_loss(
        params, x.unsqueeze(-1), num_classes=65536, log_scale_min=-12.7, reduce=True
    )


LOSSES = {"ours": ours, "wavenet-vocoder 0.1.1": peer}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--memory-of", choices=LOSSES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(growth(LOSSES[arguments.memory_of]()))
        return
    seconds = in_turn([passing(loss()) for loss in LOSSES.values()], arguments.rounds)
    print(f"{torch.get_num_threads()} threads, {BATCH} x {SAMPLES} samples, {COMPONENTS} components")
    for name, median in zip(LOSSES, np.median(seconds, axis=0), strict=True):
        command = [sys.executable, "-m", "scripts.benchmarks.benchmark_likelihood", "--memory-of", name]
        grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{name:24} {1000 * median:7.1f} ms   {grown / 2**20:6.1f} MiB")
    print(f"time, ours / theirs: {np.median(seconds[:, 0] / seconds[:, 1]):.2f}")


def example() -> tuple[Tensor, Tensor]:
    """(params [B, 3M, T] that want a gradient, x [B, T])."""
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(BATCH, 3 * COMPONENTS, SAMPLES, generator=generator)
    params[:, 2 * COMPONENTS :] -= 5
    x = torch.randint(65536, (BATCH, SAMPLES), generator=generator) * 2 / 65535 - 1
    return params.requires_grad_(), x


def passing(loss: Loss) -> Callable[[], None]:
    """Work to be timed: forward and backward."""
    params, x = example()
    return lambda: loss(params, x).backward()


def growth(loss: Loss) -> int:
    """Bytes by which the process's peak grows in one pass (Linux)."""
    params, x = example()
    loss(params[..., :100].detach().requires_grad_(), x[:, :100]).backward()  # what torch keeps for its first pass
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is in use
    before = peak()
    loss(params, x).backward()
    return peak() - before


def peak() -> int:
    """Largest resident size of this process so far, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
