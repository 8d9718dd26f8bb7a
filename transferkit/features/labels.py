"""What scikit-learn passes on as y and as groups, checked."""

from numbers import Integral, Real

import numpy as np


def labels_of(y, count: int) -> np.ndarray:
    """The labels (count,) of so many pictures, of y's own dtype where it has one of numbers or text.

    Args:
        y: names, or whole numbers: a list, an array or a column of a data frame, (n,) or (n, 1).

    Raises:
        ValueError: it is something else, or one of them is missing.
    """
    column, labels = _column(y, count, "label", "y"), np.asarray(y)
    return labels.reshape(-1) if labels.dtype.kind in "biufU" else np.array(column)


def groups_of(groups, count: int) -> tuple[str, ...]:
    """The groups of so many pictures as text; else as `labels_of`."""
    return tuple(map(str, _column(groups, count, "group", "groups")))


def _column(values, count: int, what: str, parameter: str) -> list:
    column = np.asarray(values, dtype=object)  # a NaN among names would else become a name
    if column.shape not in ((count,), (count, 1)):
        found = f"{parameter} is None" if values is None else f"The {what}s are of shape {column.shape}"
        raise ValueError(f"{found}: expected {count} {what}s, one a picture; of one-hot rows take argmax(1).")
    column = column.reshape(-1).tolist()
    for number, value in enumerate(column):
        name = isinstance(value, str)
        if name != isinstance(column[0], str) or not (name or _is_whole(value)):
            raise ValueError(f"The {what} of picture {number} is {value!r}: expected all names or all whole numbers.")
    return column


def _is_whole(value) -> bool:
    return isinstance(value, (Integral, np.bool_)) or (isinstance(value, Real) and float(value).is_integer())
