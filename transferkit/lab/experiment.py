"""The records of an experiment and of what it finds, and intervals over seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Finding:
    """What an experiment finds.

    Attributes:
        sentence: one sentence with the figures that answer the question, and their intervals over seeds.
        columns: headings of the table.
        rows: of the table: texts, whole numbers and numbers.
        figure: the same as a picture.
    """

    sentence: str
    columns: tuple[str, ...]
    rows: Sequence[tuple]
    figure: Figure


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        function: it runs it; `seeds` is its only argument without a default, and it has none without random numbers.
        question: what it answers, in one line.
        seeds: how often it is repeated; 0 if there is nothing random in it.
    """

    function: Callable[..., Finding]
    question: str
    seeds: int = 0


def mean_interval(values) -> tuple[float, float]:
    """The mean over seeds, and half its 95% interval by Student's t.

    Args:
        values: one for each seed, at least 2.

    Example:
        >>> mean_interval([0.8, 0.9, 0.85])
        (0.85, 0.12...)
    """
    from scipy.stats import t

    found = np.asarray(values, "float64")
    half = t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean()), float(half)


def spell_interval(values, form: str = ".3f") -> str:
    """ "0.850 ± 0.124": the mean over seeds with half its 95% interval."""
    mean, half = mean_interval(values)
    return f"{mean:{form}} ± {half:{form}}"


def spell_difference(first, second, form: str = ".3f", *, unit: str = "") -> str:
    """The first values less the second, paired over seeds, and whether their interval is on one side of zero.

    Example:
        >>> spell_difference([0.8, 0.9, 0.85], [0.6, 0.7, 0.66])
        '0.197 ± 0.014 more'
        >>> spell_difference([0.8, 0.9, 0.85], [0.9, 0.8, 0.84])
        'no difference found (+0.003 ± 0.249)'
    """
    mean, half = mean_interval(np.subtract(first, second))
    if abs(mean) <= half:
        return f"no difference found ({mean:+{form}} ± {half:{form}}{unit})"
    return f"{abs(mean):{form}} ± {half:{form}}{unit} {'more' if mean > 0 else 'less'}"


def spell_percent(values) -> str:
    """ "93.1 ± 1.2%" of fractions, with half the 95% interval over seeds."""
    mean, half = mean_interval(values)
    return f"{100 * mean:.1f} ± {100 * half:.1f}%"


def spell_points(first, second) -> str:
    """`spell_difference` of fractions, in points of a hundred.

    Example:
        >>> spell_points([0.90, 0.92, 0.91], [0.85, 0.88, 0.86])
        '4.7 ± 1.4 points more'
    """
    return spell_difference(np.multiply(first, 100), np.multiply(second, 100), ".1f", unit=" points")
