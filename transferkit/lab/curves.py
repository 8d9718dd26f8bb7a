"""Curves and bars with intervals over seeds, and such figures in words."""

from collections.abc import Mapping, Sequence

import numpy as np

from transferkit.lab.experiment import mean_interval


def draw_curves(axes, curves: Mapping[str, np.ndarray], x: Sequence[float] | None = None):
    """The mean of each over seeds, and a band from the least to the largest.

    Args:
        curves: (seeds, points) by label.
        x: of the points; by default 1, 2, ...
    """
    for label, values in curves.items():
        places = np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
        (line,) = axes.plot(places, values.mean(0), marker="o", markersize=3, label=label)
        axes.fill_between(places, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, linewidth=0)


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


def spell_percent(values) -> str:
    """ "93.1 ± 1.2%" of fractions, with half the 95% interval over seeds."""
    mean, half = mean_interval(values)
    return f"{100 * mean:.1f} ± {100 * half:.1f}%"


def spell_difference(first, second) -> str:
    """How much larger the fractions of one are than those of another, paired by seed, in words.

    Example:
        >>> spell_difference([0.90, 0.92, 0.91], [0.85, 0.88, 0.86])
        '4.7 ± 1.4 points more'
    """
    mean, half = mean_interval(np.subtract(first, second))
    if abs(mean) <= half:
        return f"no clear difference ({100 * mean:+.1f} ± {100 * half:.1f} points)"
    return f"{100 * abs(mean):.1f} ± {100 * half:.1f} points {'more' if mean > 0 else 'less'}"
