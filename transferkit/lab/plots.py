"""Parts of the figures of several experiments."""

from collections.abc import Sequence

import numpy as np

from transferkit.lab.experiment import mean_interval


def plot_curve(place, positions: Sequence[float], runs, **options):
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
