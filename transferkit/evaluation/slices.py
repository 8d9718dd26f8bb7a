"""Accuracy of parts of the pictures: by the values of a column, or by the quarters of a measured quantity."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from transferkit.evaluation.metrics import wilson_interval

MAX_VALUES = 20  # of a column; numbers with more become quarters, and of names the rarer ones are one slice


def score_slices(values: Sequence[str] | np.ndarray, hits: np.ndarray) -> list[dict]:
    """The accuracy of each slice of the pictures, with its 95% interval.

    Args:
        values: (n,), texts or numbers; numbers, and texts that are more than `MAX_VALUES` different numbers, are put
            into quarters of about equally many pictures. NaN and "" are slices of their own.
        hits: (n,), bool, whether each prediction is correct.

    Returns:
        For each slice its `value`, `accuracy`, `ci95` and `n`: quarters in order, names with the least accuracy first.

    Example:
        >>> score_slices(["day", "night", "day"], np.array([True, False, True]))[0]["value"]
        'night'
    """
    names, in_order = _name_slices(values)
    rows = []
    for name in in_order or sorted(set(names)):
        inside = hits[np.array([name == each for each in names])]
        low, high = wilson_interval(int(inside.sum()), len(inside))
        rows.append({"value": name, "accuracy": float(inside.mean()), "ci95": [low, high], "n": len(inside)})
    return rows if in_order else sorted(rows, key=lambda row: row["accuracy"])


def _name_slices(values) -> tuple[list[str], list[str]]:
    """The slice of each picture, and all slices if they have an order, else []."""
    numbers = _as_numbers(values)
    if numbers is not None:
        return _name_quarters(numbers)
    names = [text.strip() or "(empty)" for text in values]
    counts = Counter(names)
    if len(counts) > MAX_VALUES:
        kept = {name for name, _ in counts.most_common(MAX_VALUES - 1)}
        others = f"{len(counts) - len(kept):,} others"
        names = [name if name in kept else others for name in names]
    return names, []


def _as_numbers(values) -> np.ndarray | None:
    """The values as numbers; None if they are names, or few different ones."""
    if isinstance(values, np.ndarray):
        return values
    if len(set(values)) <= MAX_VALUES:
        return None
    try:
        return np.array([float(text) if text.strip() else np.nan for text in values])
    except ValueError:
        return None


def _name_quarters(numbers: np.ndarray) -> tuple[list[str], list[str]]:
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75))) if len(known) else known
    bins = np.searchsorted(edges, numbers)  # a value at an edge belongs below
    bins[~np.isfinite(numbers)] = -1
    order = sorted(set(bins.tolist()), key=lambda number: (number < 0, number))
    names = {number: _describe_range(numbers[bins == number]) for number in order}
    return [names[number] for number in bins], list(dict.fromkeys(names.values()))


def _describe_range(numbers: np.ndarray) -> str:
    if not np.isfinite(numbers).all():
        return "(none)"
    ends = (numbers.min(), numbers.max())
    low, high = (f"{end:,.0f}" if abs(end) >= 10 or end == round(end) else f"{end:.2g}" for end in ends)
    return low if low == high else f"{low} to {high}"
