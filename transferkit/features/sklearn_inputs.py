"""Checks of what scikit-learn passes in: X as pictures, y as labels, and groups."""

import os
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np

from transferkit.data import bit_depth
from transferkit.data.listing import Listing

EXPECTED = "expected paths of pictures, uint8 arrays (height, width, channels) of 0..255, or a listing"


def check_pictures(X) -> list[str] | list[np.ndarray]:
    """Convert X to pictures: all paths, or all uint8 arrays (height, width, channels) with 1, 3 or 4 channels.

    Args:
        X: paths, in a list, an array or a column of a data frame, (n,) or (n, 1); pictures, as an array (n, h, w) or
            (n, h, w, c) or a list of arrays of any sizes; or a `Listing`.

    Raises:
        ValueError: X is something else.

    Example:
        >>> check_pictures(pandas.DataFrame({"path": ["tabby.jpg", "rex.jpg"]}))
        ['tabby.jpg', 'rex.jpg']
    """
    if isinstance(X, Listing):
        return list(X.paths)
    if isinstance(X, (str, bytes, os.PathLike)):
        raise ValueError(f"X is one path, {os.fspath(X)!r}: {EXPECTED}; pass a list with that path.")
    if hasattr(X, "__array__"):
        X = np.asarray(X)
        X = X[:, 0] if X.ndim == 2 and X.shape[1] == 1 and X.dtype.kind in "OUT" else X
    if not isinstance(X, (Sequence, np.ndarray)) or np.shape(X[:0]) == ():
        raise ValueError(f"X is of type {type(X).__name__}: {EXPECTED}.")
    entries = list(X)
    if all(isinstance(entry, (str, os.PathLike)) for entry in entries):
        return [str(os.fspath(entry)) for entry in entries]  # not np.str_
    return [_check_array(entry, position) for position, entry in enumerate(entries)]


def _check_array(entry, position: int) -> np.ndarray:
    if not hasattr(entry, "__array__") or isinstance(entry, np.generic):
        raise ValueError(f"Entry {position} of X is {entry!r}: {EXPECTED}.")
    array = np.asarray(entry)
    array = array[..., None] if array.ndim == 2 else array
    picture = bit_depth.as_uint8(array) if array.ndim == 3 and array.shape[2] in (1, 3, 4) and array.size else None
    if picture is None:
        raise ValueError(
            f"Entry {position} of X is {array.dtype} {np.shape(entry)}: {EXPECTED}{bit_depth.scaling_advice(array)}."
        )
    return picture


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
