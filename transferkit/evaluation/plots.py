"""The pictures of a run. Figures are drawn without pyplot, so that no window system is asked for."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.data import fonts

WIDTH = 6.4  # inches
LONGEST = 30  # letters of a name at an axis


def curves(history: list[dict], path):
    """Loss and accuracy over the epochs, training and validation, with a line where a phase ends.

    The regression that the head may have started from is at 0: its row says that it is no epoch.
    """
    figure = Figure((2 * WIDTH, 4), layout="constrained")
    epochs = np.arange(len(history)) + min(history[0]["epoch"], 1)
    phases = [row["phase"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[name] for row in history], "o-", label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], "o-", label="validation")
        for i in range(1, len(phases)):
            if phases[i] != phases[i - 1]:
                axes.axvline(epochs[i] - 0.5, color="grey", linestyle=":", label=f"{phases[i]} from here")
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


def confusion(matrix, classes, path, most: int = 40):
    """Counts of label (down) against prediction (across); numbers and names only where they fit."""
    matrix = np.asarray(matrix)
    side = min(WIDTH + 0.25 * max(0, len(classes) - 8), 24)
    figure = Figure((side, side), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="label", title=f"{int(np.trace(matrix))} of {int(matrix.sum())} right")
    if len(classes) <= most:
        names, families = fonts.make_drawable([shortened(name) for name in classes])
        axes.set_xticks(range(len(classes)), names, rotation=90, parse_math=False, fontfamily=families)
        axes.set_yticks(range(len(classes)), names, parse_math=False, fontfamily=families)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, fontsize=8)
    figure.savefig(path, dpi=100)


def shortened(name: str) -> str:
    """A name with its middle left out where it would take the plot's room."""
    half = LONGEST // 2 - 1
    return name if len(name) <= LONGEST else f"{name[:half]}..{name[-half:]}"


def rates(tried: list[float], losses: list[float], marks: dict[str, float], path):
    """The smoothed loss against the learning rate, in logarithms, with a line at each marked rate."""
    figure = Figure((WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(tried, losses)
    for number, (name, rate) in enumerate(marks.items(), start=1):
        axes.axvline(rate, color=f"C{number}", linestyle=":", label=f"{name} {rate:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)
