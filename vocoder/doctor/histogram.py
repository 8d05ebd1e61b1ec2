"""How often a measure has which values: bars for the page to draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

BARS = 40  # about
TICKS = 5  # at most


@dataclass(frozen=True)
class Bar:
    """A bin: its place and height as shares of the picture, and what it holds."""

    left: float
    width: float
    height: float
    count: int
    label: str  # the bin's range


@dataclass(frozen=True)
class Histogram:
    """A picture of one measure. Ticks are places, as shares, and labels."""

    title: str
    unit: str
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    highest: int  # count of the highest bar


def histogram(values: Sequence[float], title: str, unit: str) -> Histogram:
    """Bins of round widths from the lowest to the highest value."""
    edges = np.asarray(MaxNLocator(BARS, steps=[1, 2, 2.5, 5, 10]).tick_values(min(values), max(values)))
    counts, _ = np.histogram(values, edges)
    low, span, highest = edges[0], edges[-1] - edges[0], int(counts.max())
    bars = [
        Bar(
            float((left - low) / span),
            float((right - left) / span),
            count / highest,
            int(count),
            f"{left:g} to {right:g}",
        )
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    shown = MaxNLocator(TICKS).tick_values(edges[0], edges[-1])
    ticks = [(float((at - low) / span), f"{at:g}".replace("-", "−")) for at in shown if edges[0] <= at <= edges[-1]]
    return Histogram(title, unit, bars, ticks, highest)
