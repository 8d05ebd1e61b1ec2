"""What a spectral loss on relaxed draws does: networks with several weights of it, trained for the same time.

    python -m scripts.experiments.compare_spectral_loss STORE OUTPUT [--minutes 10] [--weights 0 0.1 1]
        [--seeds 0 1 2] [--jobs 1]

A training step with the loss takes longer, so each weight gets as many steps as fill the minutes, by the median of
steps taken in turn beforehand (on an idle machine, that part at least). With --jobs 2 two networks are trained or run
at once, on one core each. Each part is kept in OUTPUT and not done again. OUTPUT/tables.md is there to be read,
OUTPUT/wavs to be listened to.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from scripts.benchmarks.timing import in_turn
from scripts.experiments.comparison import (
    Condition,
    Network,
    Row,
    Rows,
    chosen,
    curve,
    finish,
    hold,
    kept,
    sound_of,
    stepping,
    synthesize,
    table,
    test_bits,
    train,
    trainer_of,
)
from vocoder import jobs
from vocoder.commands import cli
from vocoder.data.store import Store

ROUNDS = 20  # of steps taken in turn


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
    same = {"store": str(store.directory), "minutes": arguments.minutes, "weights": arguments.weights}
    hold(output / "settings.json", same | {"set": arguments.set})
    networks = {w: [network(w, seed, output) for seed in arguments.seeds] for w in arguments.weights}
    every = [n for group in networks.values() for n in group]

    if workers:
        torch.set_num_threads(1)  # as each of them will have
    seconds = kept(output / "seconds.json", partial(step_seconds, store.directory, networks, arguments.set))
    steps = {w: round(60 * arguments.minutes / seconds[str(w)]) for w in networks}
    work = [(n, steps[w]) for seed in zip(*networks.values(), strict=True) for w, n in zip(networks, seed, strict=True)]
    finish(jobs.run(partial(train_one, store.directory, arguments.set), work, workers))
    finish(jobs.run(partial(synthesize, store), [[condition(n)] for n in every], workers))
    rows = {n.name: kept(output / "rows" / f"{n.name}.json", partial(measured, store, n)) for n in every}
    report = "\n".join(
        (
            table("Steps", {f"{w:g}": {"seconds of one": seconds[str(w)], "number": steps[w]} for w in networks}),
            table("Dev bits per sample after steps", {n.name: curve(n) for n in every}),
            table(f"Test bits, and {len(chosen(store))} utterances free running", rows),
            table("Mean of the seeds", over_seeds(networks, rows, statistics.fmean)),
            table("Largest less smallest of the seeds", over_seeds(networks, rows, spread)),
        )
    )
    (output / "tables.md").write_text(report, encoding="utf-8")
    print(report)


def network(weight: float, seed: int, output: Path) -> Network:
    settings = (f"training.loss.spectral_weight={weight}", f"training.seed={seed}")
    return Network(f"weight-{weight:g}-seed-{seed}", settings, output)


def step_seconds(store: Path, networks: dict[float, list[Network]], settings: list[str]) -> Row:
    """Medians by weight, of steps taken in turn."""
    trainers = [trainer_of(store, group[0], settings) for group in networks.values()]
    seconds = in_turn([stepping(trainer) for trainer in trainers], ROUNDS)
    return {str(w): statistics.median(column) for w, column in zip(networks, seconds.T.tolist(), strict=True)}


def train_one(store: Path, settings: list[str], work: tuple[Network, int]) -> None:
    train(store, work[1], settings, work[0])


def condition(network: Network) -> Condition:
    return Condition(network.name, network)


def measured(store: Store, network: Network) -> Row:
    bits = {f"bits, {name}": value for name, value in test_bits(store, network).items()}
    return bits | sound_of(store, condition(network).folder)


def over_seeds(networks: dict[float, list[Network]], rows: Rows, what: Callable[[list[float]], float]) -> Rows:
    """One row a weight, of what is made of its networks' values in each column."""
    columns = next(iter(rows.values()))
    return {f"{w:g}": {c: what([rows[n.name][c] for n in group]) for c in columns} for w, group in networks.items()}


def spread(values: list[float]) -> float:
    return max(values) - min(values)


if __name__ == "__main__":
    sys.exit(cli.report_errors("compare_spectral_loss", main))
