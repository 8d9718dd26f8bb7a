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


def draw_bars(axes, values: Mapping[str, Sequence[float]], *, low: float | None = None):
    """Horizontal bars of means with their 95% intervals, the first on top.

    Args:
        values: of the seeds, by label.
        low: where the axis begins.
    """
    means, halves = zip(*(mean_interval(each) for each in values.values()), strict=True)
    places = np.arange(len(values))
    axes.barh(places, means, xerr=halves, color="C0", ecolor="black", capsize=3, height=0.6)
    axes.set_yticks(places, list(values))
    axes.invert_yaxis()
    if low is not None:
        axes.set_xlim(left=low)


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
