"""Time and memory of the exact likelihood, compared with the loss of r9y9's wavenet-vocoder.

    pip install --no-deps wavenet-vocoder==0.1.1
    python -m scripts.benchmarks.benchmark_likelihood [--rounds 30]

Forward and backward pass of 10 mixture components on 2 x 10 240 samples at 65 536 levels. The two losses take turns in
one process. Memory is the growth of the peak resident memory in one pass, each loss in a process of its own. The other
loss is discretized_mix_logistic_loss of r9y9's wavenet-vocoder (0.1.1 from PyPI).
"""

import argparse
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from scripts.benchmarks.machine import reset_peak, resident_bytes
from scripts.benchmarks.timing import time_interleaved
from vocoder.distributions import MixtureOfLogistics

BATCH, SAMPLES, COMPONENTS = 2, 10_240, 10
Loss = Callable[[Tensor, Tensor], Tensor]  # of params [B, 3M, T] and x [B, T]


def exact_loss() -> Loss:
    distribution = MixtureOfLogistics(COMPONENTS)
    return lambda params, x: -distribution.log_prob(params, x).sum()


def r9y9_loss() -> Loss:
    from wavenet_vocoder.mixture import discretized_mix_logistic_loss  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return lambda params, x: discretized_mix_logistic_loss(
        params, x.unsqueeze(-1), num_classes=65536, log_scale_min=-12.7, reduce=True
    )


LOSSES = {"exact likelihood": exact_loss, "wavenet-vocoder 0.1.1": r9y9_loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--memory-of", choices=LOSSES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(memory_growth(LOSSES[arguments.memory_of]()))
        return
    seconds = time_interleaved([forward_and_backward(loss()) for loss in LOSSES.values()], arguments.rounds)
    print(f"{torch.get_num_threads()} threads, {BATCH} x {SAMPLES} samples, {COMPONENTS} components")
    for name, median in zip(LOSSES, np.median(seconds, axis=0), strict=True):
        command = [sys.executable, "-m", "scripts.benchmarks.benchmark_likelihood", "--memory-of", name]
        growth = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{name:24} {1000 * median:7.1f} ms   {growth / 2**20:6.1f} MiB")
    print(f"time, exact likelihood / wavenet-vocoder: {np.median(seconds[:, 0] / seconds[:, 1]):.2f}")


def example() -> tuple[Tensor, Tensor]:
    """(params [B, 3M, T] that require a gradient, x [B, T])."""
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(BATCH, 3 * COMPONENTS, SAMPLES, generator=generator)
    params[:, 2 * COMPONENTS :] -= 5
    x = torch.randint(65536, (BATCH, SAMPLES), generator=generator) * 2 / 65535 - 1
    return params.requires_grad_(), x


def forward_and_backward(loss: Loss) -> Callable[[], None]:
    """A function to be timed."""
    params, x = example()
    return lambda: loss(params, x).backward()


def memory_growth(loss: Loss) -> int:
    """Bytes by which the peak resident memory of the process grows in one pass (Linux)."""
    params, x = example()
    loss(params[..., :100].detach().requires_grad_(), x[:, :100]).backward()  # torch keeps buffers of its first pass
    reset_peak()
    before = resident_bytes("VmHWM")
    loss(params, x).backward()
    return resident_bytes("VmHWM") - before


if __name__ == "__main__":
    main()
