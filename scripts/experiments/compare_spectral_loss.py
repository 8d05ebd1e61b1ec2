"""Ablation of the spectral loss on relaxed draws: networks trained for equal time with several weights of the loss.

    python -m scripts.experiments.compare_spectral_loss STORE OUTPUT [--minutes 10] [--weights 0 0.1 1]
        [--seeds 0 1 2] [--jobs 1]

A training step with the loss takes longer, so each weight gets the number of steps that fills the minutes. The duration
of a step is the median over steps timed beforehand, the weights taking turns; the machine must be idle for that part.
With --jobs 2, two networks are trained or run at once, on one core each. Results are cached in OUTPUT, so a rerun
continues where the last one stopped. The results are in OUTPUT/tables.md, the speech in OUTPUT/wavs.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from scripts.benchmarks.timing import time_interleaved
from scripts.experiments.comparison import (
    Condition,
    Network,
    Row,
    Rows,
    cached,
    claim_folder,
    dev_curve,
    mean_measures,
    raise_errors,
    selected_entries,
    step_runner,
    synthesize,
    table,
    test_bits,
    train,
    trainer_of,
)
from vocoder import jobs
from vocoder.commands import cli
from vocoder.data.store import Store

ROUNDS = 20  # of timed steps, one per weight and round


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.1, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="networks trained or run at once, on one core each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of vocoder-train")
    arguments = parser.parse_args()
    store, output = Store(arguments.store), arguments.output
    workers = arguments.jobs if arguments.jobs > 1 else 0
    output.mkdir(parents=True, exist_ok=True)
    settings = {"store": str(store.directory), "minutes": arguments.minutes, "weights": arguments.weights}
    claim_folder(output / "settings.json", settings | {"set": arguments.set})
    networks = {w: [network(w, seed, output) for seed in arguments.seeds] for w in arguments.weights}
    all_networks = [n for group in networks.values() for n in group]

    if workers:
        torch.set_num_threads(1)  # as in each worker
    seconds = cached(output / "seconds.json", partial(step_seconds, store.directory, networks, arguments.set))
    steps = {w: round(60 * arguments.minutes / seconds[str(w)]) for w in networks}
    work = [(n, steps[w]) for seed in zip(*networks.values(), strict=True) for w, n in zip(networks, seed, strict=True)]
    raise_errors(jobs.parallel_map(partial(train_one, store.directory, arguments.set), work, workers))
    raise_errors(jobs.parallel_map(partial(synthesize, store), [[condition(n)] for n in all_networks], workers))
    rows = {n.name: cached(output / "rows" / f"{n.name}.json", partial(measure, store, n)) for n in all_networks}
    report = "\n".join(
        (
            table("Steps", {f"{w:g}": {"seconds per step": seconds[str(w)], "steps": steps[w]} for w in networks}),
            table("Dev bits per sample after steps", {n.name: dev_curve(n) for n in all_networks}),
            table(f"Test bits, and {len(selected_entries(store))} utterances free-running", rows),
            table("Mean over the seeds", over_seeds(networks, rows, statistics.fmean)),
            table("Range over the seeds", over_seeds(networks, rows, value_range)),
        )
    )
    (output / "tables.md").write_text(report, encoding="utf-8")
    print(report)


def network(weight: float, seed: int, output: Path) -> Network:
    settings = (f"training.loss.spectral_weight={weight}", f"training.seed={seed}")
    return Network(f"weight-{weight:g}-seed-{seed}", settings, output)


def step_seconds(store: Path, networks: dict[float, list[Network]], settings: list[str]) -> Row:
    """Median duration of a training step by weight, the weights taking turns."""
    trainers = [trainer_of(store, group[0], settings) for group in networks.values()]
    seconds = time_interleaved([step_runner(trainer) for trainer in trainers], ROUNDS)
    return {str(w): statistics.median(column) for w, column in zip(networks, seconds.T.tolist(), strict=True)}


def train_one(store: Path, settings: list[str], work: tuple[Network, int]) -> None:
    train(store, work[1], settings, work[0])


def condition(network: Network) -> Condition:
    return Condition(network.name, network)


def measure(store: Store, network: Network) -> Row:
    """Test bits per sample, and the measures of free-running speech."""
    bits = {f"bits, {name}": value for name, value in test_bits(store, network).items()}
    return bits | mean_measures(store, condition(network).folder)


def over_seeds(networks: dict[float, list[Network]], rows: Rows, reduce: Callable[[list[float]], float]) -> Rows:
    """One row per weight: each column reduced over the networks of that weight."""
    columns = next(iter(rows.values()))
    return {f"{w:g}": {c: reduce([rows[n.name][c] for n in group]) for c in columns} for w, group in networks.items()}


def value_range(values: list[float]) -> float:
    return max(values) - min(values)


if __name__ == "__main__":
    sys.exit(cli.report_errors("compare_spectral_loss", main))
