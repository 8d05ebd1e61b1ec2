"""Draw the figures of docs/likelihood.md: python -m scripts.figures.figures_likelihood"""

import math
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.distributions import MixtureOfLogistics
from vocoder.distributions.sampling import gumbel_softmax

matplotlib.use("agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).parent.parent.parent / "docs/figures"
GREY, BLUE, RED = "0.6", "#1f5fa8", "#c0392b"
EXAMPLE_MEAN, EXAMPLE_SCALE, FEW_LEVELS = 0.55, 0.22, 12  # a distribution and a grid coarse enough to see
EDGE_CASES = ((0.0, 0.3), (0.9, 0.05), (0.999, 0.002), (1.5, 0.1))  # mean and scale
TEMPERATURES = (0.1, 0.5, 1.0, 3.0)


def main() -> None:
    bins().savefig(DOCS / "likelihood-bins.png", dpi=130)
    wrong_edges().savefig(DOCS / "likelihood-edges.png", dpi=130)
    draws().savefig(DOCS / "likelihood-draws.png", dpi=130)
    simplex().savefig(DOCS / "likelihood-concrete.png", dpi=130)


def bins() -> Figure:
    """A CDF divided into bins, and the resulting probabilities; the outermost levels include the tails."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels = np.linspace(-1, 1, FEW_LEVELS)
    half = 1 / (FEW_LEVELS - 1)
    x = np.linspace(-1.5, 1.7, 500)
    left.plot(x, sigmoid((x - EXAMPLE_MEAN) / EXAMPLE_SCALE), color=BLUE)
    chosen = levels[8]
    for edge in (chosen - half, chosen + half):
        value = sigmoid((edge - EXAMPLE_MEAN) / EXAMPLE_SCALE)
        left.plot([edge, edge, -1.5], [0, value, value], color=RED, linewidth=1)
    left.axvspan(chosen - half, chosen + half, color=RED, alpha=0.15)
    left.set(
        title="probability of a level: the CDF's increase across its bin", xlabel="x", ylabel="F(x)", xlim=(-1.5, 1.7)
    )
    edges = np.concatenate([[-np.inf], levels[:-1] + half, [np.inf]])
    mass = np.diff(sigmoid((edges - EXAMPLE_MEAN) / EXAMPLE_SCALE))
    inner = np.diff(sigmoid((np.concatenate([levels - half, [1 + half]]) - EXAMPLE_MEAN) / EXAMPLE_SCALE))
    right.bar(levels, mass, width=1.7 * half, color=RED, alpha=0.4, label="tail beyond the bin")
    right.bar(levels, inner, width=1.7 * half, color=BLUE, label="within the bin")
    right.set(title="the outermost levels include the tails", xlabel="level", ylabel="probability")
    right.legend(frameon=False)
    return figure


def wrong_edges() -> Figure:
    """Total probability of all 65 536 levels, by the exact formula and with an edge test made for 8 bits."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    exact = MixtureOfLogistics(1)
    x = torch.arange(65536, dtype=torch.float64)[None] * 2 / 65535 - 1
    totals = []
    for mean, scale in EDGE_CASES:
        params = torch.tensor([0.0, mean, math.log(scale)], dtype=torch.float64).reshape(1, 3, 1)
        right = exact.log_prob(params.expand(-1, -1, 65536), x).exp().sum()
        wrong = log_prob_with_an_edge_at_0_999(mean, scale, x).exp().sum()
        totals.append((float(right), float(wrong)))
    positions = np.arange(len(EDGE_CASES))
    for shift, (name, colour) in enumerate((("exact", BLUE), ("edges at |x| > 0.999", RED))):
        bars = axes.bar(positions + 0.4 * shift - 0.2, [t[shift] for t in totals], 0.38, color=colour, label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize="small")
    axes.set_xticks(positions, [f"mean {mean:g}, scale {scale:g}" for mean, scale in EDGE_CASES])
    axes.set(title="total probability of all 65 536 levels", ylim=(0, 37))
    axes.legend(frameon=False)
    return figure


def log_prob_with_an_edge_at_0_999(mean: float, scale: float, x: Tensor) -> Tensor:
    """The published loss for 8-bit images, applied to 16-bit audio: 33 levels on each side each get the whole tail."""
    a, b = (x + 1 / 65535 - mean) / scale, (x - 1 / 65535 - mean) / scale
    between = (a.sigmoid() - b.sigmoid()).clamp(min=1e-300).log()
    return torch.where(x < -0.999, F.logsigmoid(a), torch.where(x > 0.999, F.logsigmoid(-b), between))


def draws() -> Figure:
    """A million draws at 8 bits, compared with the exact probabilities."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    distribution, count = MixtureOfLogistics(3, levels=256), 10**6
    components = [(0.0, 0.75, -2.0), (0.5, -0.2, -3.5), (-1.0, -0.6, -1.5)]
    params = torch.tensor(components).T.reshape(1, -1, 1)
    u = torch.rand(1, 4, count, generator=torch.Generator().manual_seed(0))
    drawn = distribution.sample(params.expand(-1, -1, count), u)[0]
    levels = torch.arange(256) * 2 / 255 - 1
    frequency = ((drawn + 1) * 127.5).round().long().bincount(minlength=256) / count
    exact = distribution.log_prob(params.expand(-1, -1, 256), levels[None])[0].exp()
    axes.bar(levels.numpy(), frequency.numpy(), width=2 / 255, color=GREY, label="a million draws")
    axes.plot(levels.numpy(), exact.numpy(), ".", color=RED, markersize=3, label="exact probability")
    axes.set(title="a mixture of three logistics at 256 levels", xlabel="level", ylabel="probability", yscale="log")
    axes.legend(frameon=False)
    return figure


def simplex() -> Figure:
    """Concrete draws of three classes at several temperatures."""
    figure = Figure(figsize=(11, 3.0), layout="constrained")
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    u = torch.rand(3000, 3, generator=torch.Generator().manual_seed(0))
    for axes, temperature in zip(figure.subplots(1, len(TEMPERATURES)), TEMPERATURES, strict=True):
        show_triangle(axes, gumbel_softmax(logits, u, 1, temperature).numpy())
        axes.set_title(f"temperature {temperature:g}")
    return figure


def show_triangle(axes: Axes, weights: np.ndarray) -> None:
    """Scatter weights [N, 3] over the simplex."""
    corners = np.array([[0, 0], [1, 0], [0.5, math.sqrt(0.75)]])
    axes.plot(*corners[[0, 1, 2, 0]].T, color=GREY, linewidth=1)
    x, y = (weights @ corners).T
    axes.scatter(x, y, s=1, color=BLUE, alpha=0.3)
    axes.set_aspect("equal")
    axes.axis("off")


def sigmoid(z: np.ndarray) -> np.ndarray:
    value: np.ndarray = 1 / (1 + np.exp(-z))
    return value


if __name__ == "__main__":
    main()
