"""Checks of what scikit-learn passes in: y as labels, and groups."""

from numbers import Integral, Real

import numpy as np


def check_labels(y, count: int) -> np.ndarray:
    """Convert y to one label for each picture, shape (count,); a dtype of numbers or text is kept.

    Args:
        y: names, or whole numbers: a list, an array or a column of a data frame, (n,) or (n, 1).
        count: number of pictures.

    Raises:
        ValueError: y is something else, or a label is missing.
    """
    column, labels = _check_column(y, count, "label", "y"), np.asarray(y)
    return labels.reshape(-1) if labels.dtype.kind in "biufU" else np.array(column)


def check_groups(groups, count: int) -> tuple[str, ...]:
    """Convert groups to one name for each picture; takes and raises what `check_labels` does."""
    return tuple(map(str, _check_column(groups, count, "group", "groups")))


def _check_column(values, count: int, noun: str, parameter: str) -> list:
    column = np.asarray(values, dtype=object)  # as another dtype, a NaN among names would become the name "nan"
    if column.shape not in ((count,), (count, 1)):
        found = f"{parameter} is None" if values is None else f"The {noun}s are of shape {column.shape}"
        raise ValueError(
            f"{found}: expected {count} {noun}s, one for each picture; convert one-hot rows with argmax(1)."
        )
    entries = column.reshape(-1).tolist()
    for position, value in enumerate(entries):
        is_name = isinstance(value, str)
        if is_name != isinstance(entries[0], str) or not (is_name or _is_whole(value)):
            raise ValueError(f"The {noun} of picture {position} is {value!r}: expected all names or all whole numbers.")
    return entries


def _is_whole(value) -> bool:
    return isinstance(value, (Integral, np.bool_)) or (isinstance(value, Real) and float(value).is_integer())
