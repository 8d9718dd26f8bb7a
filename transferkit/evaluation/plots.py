"""Plots of a run. They are drawn without pyplot, so that no window system is needed."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.data import fonts
from transferkit.recipe import describe_part

WIDTH = 6.4  # inches
MAX_NAME = 30  # letters of a class name at an axis


def plot_curves(history: list[dict], path):
    """Loss and accuracy of training and validation over the epochs, with a line where a phase begins.

    The initial head, whose row has epoch 0, is at 0.
    """
    figure = Figure((2 * WIDTH, 4), layout="constrained")
    epochs = np.arange(len(history)) + min(history[0]["epoch"], 1)
    phases = [row["phase"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[name] for row in history], "o-", label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], "o-", label="validation")
        for i in range(1, len(phases)):
            if phases[i] != phases[i - 1]:
                axes.axvline(
                    epochs[i] - 0.5, color="grey", linestyle=":", label=f"{describe_part(phases[i])} from here"
                )
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


def plot_confusion(matrix, classes, path, max_classes: int = 40, *, percent: bool = False):
    """A confusion matrix, labels down and predictions across; with more than `max_classes`, without text.

    Args:
        percent: write percentages of each label's pictures, not counts.
    """
    matrix = np.asarray(matrix)
    size = min(WIDTH + 0.25 * max(0, len(classes) - 8), 24)
    figure = Figure((size, size), layout="constrained")
    axes = figure.subplots()
    fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        xlabel="predicted",
        ylabel="label",
        title=f"{int(np.trace(matrix))} of {int(matrix.sum())} right{'; each row in %' * percent}",
    )
    if len(classes) <= max_classes:
        names, families = fonts.make_drawable([shorten_name(name) for name in classes])
        axes.set_xticks(range(len(classes)), names, rotation=90, parse_math=False, fontfamily=families)
        axes.set_yticks(range(len(classes)), names, parse_math=False, fontfamily=families)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if fractions[row, column] > 0.5 else "black"
            text = f"{100 * fractions[row, column]:.0f}" if percent else matrix[row, column]
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    figure.savefig(path, dpi=100)


def plot_reliability(figures: dict, path):
    """How often predictions of about the same confidence are right, with 95% intervals, and how many there are.

    Args:
        figures: with `reliability` and `ece`, of `metrics.compute_metrics`.
    """
    bins = figures["reliability"]
    figure = Figure((WIDTH, WIDTH), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    confidence, accuracy = (np.array([row[name] for row in bins]) for name in ("confidence", "accuracy"))
    ends = np.array([row["ci95"] for row in bins]).T
    upper.plot([0, 1], [0, 1], ":", color="grey", label="perfectly calibrated")
    upper.errorbar(confidence, accuracy, np.abs(ends - accuracy), fmt="o-", capsize=2, label="this network")
    upper.set(ylabel="accuracy", ylim=(0, 1.02), title=f"expected calibration error {figures['ece']:.3f}")
    upper.grid(alpha=0.3)
    upper.legend()
    lefts, widths = [row["low"] for row in bins], [row["high"] - row["low"] for row in bins]
    lower.bar(lefts, [row["n"] for row in bins], widths, align="edge", edgecolor="white")
    lower.set(xlabel="confidence", ylabel="pictures", xlim=(0, 1))
    figure.savefig(path, dpi=100)


def shorten_name(name: str) -> str:
    """A name without its middle, if it is longer than `MAX_NAME`."""
    half = MAX_NAME // 2 - 1
    return name if len(name) <= MAX_NAME else f"{name[:half]}..{name[-half:]}"


def plot_rates(rates: list[float], losses: list[float], marks: dict[str, float], path):
    """The smoothed loss against the learning rate, on a logarithmic axis, with a line at each marked rate."""
    figure = Figure((WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses)
    for number, (name, rate) in enumerate(marks.items(), start=1):
        axes.axvline(rate, color=f"C{number}", linestyle=":", label=f"{name} {rate:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)
