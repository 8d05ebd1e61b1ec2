"""How fast training is and what memory it takes: ours beside the published wavenet-vocoder, in one run.

    pip install --no-deps wavenet-vocoder==0.1.1
    python -m scripts.benchmarks.benchmark_training [--quick] [--rounds 5] [--only WORDS] [--json FILE]

A step is forward, loss, backward, Adamax and the moving average of the weights. Where a row does not say otherwise the
network has the size of r9y9's mixture-of-logistics recipe (24 layers, 128/256/128 channels, 10 logistics) and a step
2 x 10 240 samples at hop 256. The peer has its own model and its own loss, and the same optimiser and average as ours.

Every row lives in a process of its own; they take turns in every round, each with a step to find back into the caches
and one that is timed, and a row is the median of the rounds. Peak memory is by how much the resident memory of that
process has grown at its peak since everything was imported. The limit is what one matrix product of the row's precision
reaches here ([20480 x 384] by [384 x 256]), against the operations that torch counts in the row's step with plain
layers; the compiled ones multiply less often than that.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmarks.benchmark_synthesis import describe_machine, peers_network
from vocoder.commands import cli
from vocoder.data.store import Store, StoreWriter
from vocoder.device import keep_freed_memory
from vocoder.distributions import MixtureOfLogistics
from vocoder.features.mel import PRESETS
from vocoder.model import ModelConfig, VocoderConfig, residual_layer
from vocoder.settings import from_mapping
from vocoder.training import Trainer, TrainingConfig

BATCH, SAMPLES = 2, 10_240
PEER = "wavenet-vocoder 0.1.1, float32"


@dataclass(frozen=True)
class Work:
    """A step, and the samples that it predicts."""

    samples: int
    step: Callable[[], object]


@dataclass(frozen=True)
class Result:
    """What --json writes of a row."""

    name: str
    samples_per_s: float
    peak_bytes: int
    ratio_peer: float | None
    ratio_limit: float
    memory_peer: float | None


# Rows


def ours(*choices: str, precision: str = "float32", mel: str = "hifigan_22k") -> Work:
    batch = [f"training.batch.size={BATCH}", f"training.precision={precision}", "training.audition.every=0"]
    frames = SAMPLES // PRESETS[mel].hop_length
    batch.append(f"training.batch.segment_frames={frames}")
    config = cli.compose("train", ["data=none", "name=none", *batch, *choices])
    model = VocoderConfig(PRESETS[mel], from_mapping(ModelConfig, config["model"]), MixtureOfLogistics())
    settings = from_mapping(TrainingConfig, config["training"])
    with TemporaryDirectory() as folder:
        trainer = Trainer(model, noise_store(Path(folder), mel), settings, torch.device("cpu"))
        batches = [trainer.data[n] for n in range(4)]

    def step() -> None:
        trainer.train_step(batches[trainer.step % len(batches)])

    return Work(BATCH * frames * PRESETS[mel].hop_length, step)


def noise_store(folder: Path, mel: str, utterances: int = 1) -> Store:
    """Ten seconds of noise; in several utterances, every fifth of which is not to be trained on."""
    spec, rng = PRESETS[mel], np.random.default_rng(0)
    writer, frames, records = StoreWriter(folder, spec), 10 * spec.sample_rate // spec.hop_length // utterances, []
    for u in range(utterances):
        wave = (3000 * rng.standard_normal(frames * spec.hop_length)).astype(np.int16)
        shard, start = writer.append(wave, rng.standard_normal((frames, spec.n_mels)).astype(np.float32) - 5)
        record = {"id": f"noise-{u}", "status": "kept", "split": "dev" if u % 5 == 4 else "train", "speaker": None}
        records.append(record | {"shard": shard, "start": start, "frames": frames})
    writer.close()
    statistics = {"mean": [-5.0] * spec.n_mels, "std": [1.0] * spec.n_mels}
    writer.describe(records, {"speakers": [], "mel_statistics": statistics})
    return Store(folder)


def peer() -> Work:
    from wavenet_vocoder.mixture import discretized_mix_logistic_loss  # type: ignore[import-not-found, unused-ignore]

    model = peers_network()
    x, mel = torch.rand(BATCH, 1, SAMPLES) * 2 - 1, torch.rand(BATCH, 80, SAMPLES // 256)

    def loss() -> Tensor:
        params = model(x, mel)[:, :, :-1]
        nats = discretized_mix_logistic_loss(params, x[:, 0, 1:, None], num_classes=65536, reduce=False)
        return nats.mean()

    return optimised(model, loss)


def optimised(model: nn.Module, loss: Callable[[], Tensor]) -> Work:
    optimizer = torch.optim.Adamax(model.parameters(), 1e-4)
    parameters: list[Tensor] = list(model.parameters())
    averaged = [parameter.detach().clone() for parameter in parameters]  # AveragedModel cannot copy the peer

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 0.001)

    return Work(BATCH * SAMPLES, step)


class Convolutions(nn.Module):
    """The other layout: the same layers as convolutions over [B, C, T], with the loss left out."""

    def __init__(self, channels: int = 128, layers: int = 24, cycle: int = 6) -> None:
        super().__init__()
        self.dilations = [2 ** (n % cycle) for n in range(layers)]
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 3, dilation=d) for d in self.dilations)
        self.conditions = nn.ModuleList(nn.Conv1d(80, 2 * channels, 1) for _ in self.dilations)
        self.outs = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 1) for _ in self.dilations)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        samples, skips = h.shape[2] - 2 * sum(self.dilations), torch.zeros(())
        for gate, condition, out in zip(self.gates, self.conditions, self.outs, strict=True):
            z = gate(h)
            filter, opening = (z + condition(c[:, :, c.shape[2] - z.shape[2] :])).chunk(2, 1)
            residual, skip = out(filter.tanh() * opening.sigmoid()).chunk(2, 1)
            h = (h[:, :, h.shape[2] - z.shape[2] :] + residual) * 0.5**0.5
            skips = skips + skip[:, :, skip.shape[2] - samples :]
        return skips


def convolutions(precision: str) -> Work:
    torch.manual_seed(0)
    keep_freed_memory()
    model = Convolutions()
    samples = SAMPLES + 2 * sum(model.dilations)
    h, c = torch.randn(BATCH, 128, samples), torch.randn(BATCH, 80, samples)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss: Tensor = model(h, c).float().square().mean()
        return loss

    return optimised(model, loss)


LONG = ("model=r9y9", "model.wavenet.layers=30", "model.wavenet.stacks=3")
NO_PREDICTION = "model.linear_prediction.kind=none"
QUICK: dict[str, Callable[[], Work]] = {
    PEER: peer,
    "float32": partial(ours, "model=r9y9"),
    "bfloat16": partial(ours, "model=r9y9", precision="bfloat16"),
}
ROWS: dict[str, Callable[[], Work]] = QUICK | {
    "float32, activations recomputed": partial(ours, "model=r9y9", "training.batch.recompute=true"),
    "bfloat16, activations recomputed": partial(
        ours, "model=r9y9", "training.batch.recompute=true", precision="bfloat16"
    ),
    "bfloat16, in two parts": partial(ours, "model=r9y9", "training.batch.accumulate=2", precision="bfloat16"),
    "bfloat16, no linear prediction": partial(ours, "model=r9y9", NO_PREDICTION, precision="bfloat16"),
    "bfloat16, 30 layers in 3 stacks": partial(ours, *LONG, precision="bfloat16"),
    "bfloat16, small network at 16 kHz": partial(ours, "model=small", precision="bfloat16", mel="speech_16k"),
    "layers alone as convolutions, float32": partial(convolutions, "float32"),
    "layers alone as convolutions, bfloat16": partial(convolutions, "bfloat16"),
}


# Processes


def serve(row: str, pipe: Connection) -> None:
    """Build a row's work; then answer each message with the seconds of a step, or first of all with what it takes."""
    before = resident("VmRSS")
    work = ROWS[row]()
    work.step()
    peak = resident("VmHWM") - before
    pipe.send((work.samples, operations(work), peak))
    while pipe.recv():
        work.step()
        started = time.perf_counter()
        work.step()
        pipe.send(time.perf_counter() - started)


def operations(work: Work) -> int:
    """Of a step; compiled loops would not be counted."""
    with (
        patch.object(residual_layer, "is_compiled_for", lambda signal: False),
        FlopCounterMode(display=False) as counter,
    ):
        work.step()
    return int(counter.get_total_flops())


def resident(which: str) -> int:
    """Bytes (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(which)))


@contextmanager
def served(row: str):  # type: ignore[no-untyped-def]
    """(samples, operations, bytes) of a row's step, and a function that takes one and says how long it was."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(row, there), daemon=True)
    process.start()
    there.close()

    def step() -> float:
        here.send(True)
        seconds: float = here.recv()
        return seconds

    try:
        yield here.recv(), step
    finally:
        process.terminate()
        process.join()


def product_rate(dtype: torch.dtype) -> float:
    """FLOP/s of one large matrix product, the best of some."""
    a, b = torch.randn(BATCH * SAMPLES, 384, dtype=dtype), torch.randn(384, 256, dtype=dtype)
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] / min(seconds)


# The table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the rows that matter most, within 45 seconds")
    parser.add_argument("--rounds", type=int, help="default 7, or 1 if quick")
    parser.add_argument("--only", default="", metavar="WORDS", help="rows whose name has these words in it")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 7)
    names = [name for name in (QUICK if arguments.quick else ROWS) if arguments.only in name and usable(name)]
    describe_machine()
    limits = {"float32": product_rate(torch.float32), "bfloat16": product_rate(torch.bfloat16)}
    results = measured(names, rounds, limits)
    show(results)
    print(", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in limits.items()), "in a matrix product")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def usable(name: str) -> bool:
    try:
        import wavenet_vocoder  # type: ignore[import-not-found, unused-ignore] # noqa: F401
    except ImportError:
        return name != PEER
    return True


def measured(names: list[str], rounds: int, limits: dict[str, float]) -> list[Result]:
    """Rows in groups of a few processes, the peer in each of them, so that all have neighbours in time."""
    taken: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    others = [name for name in names if name != PEER]
    for first in range(0, len(others), 4):
        group = [name for name in names if name == PEER] + others[first : first + 4]
        with_all(group, rounds, taken, seconds)
    rates = {name: taken[name][0] / statistics.median(seconds[name]) for name in names}
    results = []
    for name in names:
        samples, operations, peak = taken[name]
        limit = limits["bfloat16" if "bfloat16" in name else "float32"]
        results.append(
            Result(
                name,
                rates[name],
                peak,
                rates[name] / rates[PEER] if PEER in rates else None,
                operations * rates[name] / samples / limit,
                peak / taken[PEER][2] if PEER in taken else None,
            )
        )
    return results


def with_all(group: list[str], rounds: int, taken: dict[str, Any], seconds: dict[str, list[float]]) -> None:
    if not group:
        return
    steps = {}
    with ExitStack() as stack:
        for name in group:
            taken[name], steps[name] = stack.enter_context(served(name))
        for _ in range(rounds):
            for name, step in steps.items():
                seconds[name].append(step())


def show(results: list[Result]) -> None:
    print("\n| | samples/s | × the peer | peak MiB | of the peer's | of the limit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        peer, memory = (f"{ratio:.2f}" if ratio is not None else "" for ratio in (r.ratio_peer, r.memory_peer))
        print(f"| {r.name} | {r.samples_per_s:.0f} | {peer} | {r.peak_bytes / 2**20:.0f} | {memory} ", end="")
        print(f"| {r.ratio_limit:.2f} |")


if __name__ == "__main__":
    main()
