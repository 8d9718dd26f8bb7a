"""Figures that several experiments draw."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import mean_interval

SIGNED = "PuOr_r"  # colours of maps around zero
NUMBERS = 80  # the most cells of a map in which numbers are written


def draw_maps(
    maps: Mapping[str, np.ndarray], *, columns: int = 4, cmap: str | None = SIGNED, title: str = ""
) -> Figure:
    """Maps side by side, each under its name. A map of at most 80 cells has its numbers in them.

    Args:
        maps: (h, w) by name, or (h, w, 3) in 0..255.
        columns: the most in a row.
        cmap: colours. Those of `SIGNED` have zero in the middle.
    """
    columns = min(columns, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure = Figure((2.7 * columns, 2.7 * rows + 0.3), layout="constrained")
    figure.suptitle(title)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in places:
        place.set_axis_off()
    for place, (name, values) in zip(places, maps.items(), strict=False):
        place.set_title(name, fontsize=9)
        if values.ndim == 3:
            place.imshow(np.clip(values, 0, 255).astype("uint8"))
            continue
        most = np.abs(values).max() or 1
        place.imshow(values, cmap=cmap, **({"vmin": -most, "vmax": most} if cmap == SIGNED else {}))
        if values.size <= NUMBERS:
            for (row, column), value in np.ndenumerate(values):
                dark = cmap == SIGNED and abs(value) > 0.6 * most
                place.text(
                    column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color="w" if dark else "k"
                )
    return figure


def draw_curves(axes, curves: Mapping[str, np.ndarray], x: Sequence[float] | None = None):
    """The mean of each over seeds, and a band that is its 95% interval.

    Args:
        curves: (seeds, points) by label.
        x: of the points; by default 1, 2, ...
    """
    for label, values in curves.items():
        plot_curve(axes, np.arange(1, values.shape[1] + 1) if x is None else x, values, label=label)


def draw_bars(axes, accuracies: Mapping[str, Sequence[float] | np.ndarray]):
    """Horizontal bars of mean accuracies in percent, the first on top, with 95% intervals and a dot for each seed.

    Args:
        accuracies: of the seeds, fractions, by label.
    """
    for place, values in enumerate(accuracies.values()):
        mean, half = mean_interval(values)
        ends = [[100 * min(half, mean)], [100 * min(half, 1 - mean)]]  # an accuracy is from 0 to 100%
        axes.barh(place, 100 * mean, 0.6, color="C0", xerr=ends, capsize=3)
        axes.plot(100 * np.asarray(values), [place] * len(values), ".", color="C1", markersize=5)
    axes.set_yticks(range(len(accuracies)), list(accuracies))
    axes.invert_yaxis()
    axes.set_xlim(0, 102)


def plot_curve(place, positions: Sequence[float] | np.ndarray, runs, **options):
    """Draw the mean over seeds as a line, with a band that is its 95% interval.

    Args:
        place: axes of matplotlib.
        positions: (n,), of the points on the x axis.
        runs: (seeds, n), the values.
        options: of the line, as `label`.
    """
    means, halves = np.transpose([mean_interval(values) for values in np.transpose(runs)])
    (line,) = place.plot(positions, means, **({"marker": "o", "markersize": 3} | options))
    place.fill_between(positions, means - halves, means + halves, color=line.get_color(), alpha=0.15, linewidth=0)


def plot_points(place, runs: dict[str, Sequence[float]]):
    """Draw a row for each name, the first at the top: a dot for each seed, and the mean with its 95% interval."""
    for row, values in enumerate(runs.values()):
        mean, half = mean_interval(values)
        place.errorbar(mean, row, xerr=half, fmt="D", color="C0", capsize=3)
        place.plot(values, [row + 0.15] * len(values), "o", color="0.5", markersize=3)
    place.set_yticks(range(len(runs)), list(runs))
    place.set_ylim(len(runs) - 0.5, -0.5)
    place.grid(axis="x", alpha=0.3)
