"""Plots of a run. They are drawn without pyplot, so that no window system is needed."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.data import fonts
from transferkit.recipe import describe_part

WIDTH = 6.4  # inches
SMALL = (4.6, 3.2)  # inches, so that the text of a figure is still read on a telephone
CURVES = ("loss", "accuracy")
MAX_NAME = 30  # letters of a class name at an axis


def plot_curves(history: list[dict], path):
    """Loss and accuracy of training and validation over the epochs, with a line where a phase begins.

    The initial head, whose row has epoch 0, is at 0.
    """
    figure = Figure((2 * WIDTH, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), CURVES, strict=True):
        _draw_curve(axes, history, name)
    _draw_legend(figure, columns=5)
    figure.savefig(path, dpi=100)


def draw_curve(history: list[dict], name: str) -> Figure:
    """One of the two `CURVES` of `plot_curves`, in a small figure."""
    figure = Figure(SMALL, layout="constrained")
    _draw_curve(figure.subplots(), history, name)
    _draw_legend(figure, columns=2)
    return figure


def _draw_curve(axes, history: list[dict], name: str):
    epochs = np.arange(len(history)) + min(history[0]["epoch"], 1)
    phases = [row["phase"] for row in history]
    axes.plot(epochs, [row[name] for row in history], "o-", label="training")
    axes.plot(epochs, [row[f"val_{name}"] for row in history], "s--", label="validation")
    for i in range(1, len(phases)):
        if phases[i] != phases[i - 1]:
            axes.axvline(epochs[i] - 0.5, color="grey", linestyle=":", label=f"{describe_part(phases[i])} from here")
    axes.set(xlabel="epoch", title=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def _draw_legend(figure: Figure, columns: int):
    """One legend for all axes, below them, where it covers no line."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)


def plot_confusion(matrix, classes, path):
    """Write the figure of `draw_confusion`, with counts."""
    draw_confusion(matrix, classes, normalize=False).savefig(path, dpi=100)


def draw_confusion(matrix, classes, *, normalize: bool = True, max_classes: int = 40) -> Figure:
    """A confusion matrix, labels down and predictions across; with more than `max_classes`, without text.

    Args:
        matrix: (classes, classes), counts; rows are labels.
        normalize: whether cells show the fraction of their row, or the count. The colour is the fraction's.
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
        title=f"{int(np.trace(matrix))} of {int(matrix.sum())} right",
    )
    if len(classes) <= max_classes:
        names, families = fonts.make_drawable([shorten_name(name) for name in classes])
        axes.set_xticks(range(len(classes)), names, rotation=90, parse_math=False, fontfamily=families)
        axes.set_yticks(range(len(classes)), names, parse_math=False, fontfamily=families)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if fractions[row, column] > 0.5 else "black"
            text = f"{fractions[row, column]:.2f}" if normalize else matrix[row, column]
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    return figure


def draw_calibration(reliability: list[dict]) -> Figure:
    """How often predictions of about the same confidence are right, with 95% intervals.

    Args:
        reliability: as `metrics.measure_reliability` returns it.
    """
    from sklearn.calibration import CalibrationDisplay  # it loads pyplot, but uses only our axes

    confidence, accuracy = (np.array([row[name] for row in reliability]) for name in ("confidence", "accuracy"))
    ends = np.array([row["ci95"] for row in reliability]).T
    figure = Figure(SMALL, layout="constrained")
    axes = figure.subplots()
    CalibrationDisplay(accuracy, confidence, None, estimator_name="the network").plot(ax=axes, ref_line=True)
    axes.errorbar(confidence, accuracy, np.abs(ends - accuracy), fmt="none", color="C0", alpha=0.5, capsize=3)
    axes.set(xlabel="probability of the predicted class", ylabel="fraction right", xlim=(0, 1.03), ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def draw_movements(moved: dict) -> Figure:
    """The accuracy on shifted and on turned pictures, with 95% intervals, and the share of answers that stay the same.

    Args:
        moved: of `movements.measure_movements`.
    """
    figure = Figure((SMALL[0] * len(moved), SMALL[1]), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, len(moved), squeeze=False).flat, moved.items(), strict=True):
        unit = next(iter(rows[0]))
        places = [row[unit] for row in rows]
        axes.fill_between(places, *np.array([row["ci95"] for row in rows]).T, alpha=0.2, linewidth=0)
        axes.plot(places, [row["accuracy"] for row in rows], "o-", label="accuracy, with its 95% interval")
        axes.plot(places, [row["same"] for row in rows], "s--", label="same answer as without")
        axes.set(xlabel=f"{name} ({unit})", ylim=(-0.03, 1.03))
        axes.grid(alpha=0.3)
    _draw_legend(figure, columns=2)
    return figure


def draw_pictures(cells: list[tuple], title: str) -> Figure:
    """Pictures with a text above each.

    Args:
        cells: (a picture of Pillow, its text) of each.
    """
    columns = min(max(len(cells), 1), 4)
    rows = max(1, -(-len(cells) // columns))
    figure = Figure((2.4 * columns, 3.0 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place in axes:
        place.set_axis_off()
    texts, families = fonts.make_drawable([text for _, text in cells])
    for place, (picture, _), text in zip(axes, cells, texts, strict=False):
        place.imshow(np.asarray(picture.convert("RGB")))
        place.set_title(text, fontsize=9, parse_math=False, fontfamily=families)
    return figure


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
