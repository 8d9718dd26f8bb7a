"""What scikit-learn passes on as X, made into pictures."""

import os
from collections.abc import Sequence

import numpy as np

from transferkit.data import bit_depth
from transferkit.data.listing import Listing

EXPECTED = "expected paths of pictures, uint8 arrays (height, width, channels) of 0..255, or a listing"


def pictures_of(X) -> list[str] | list[np.ndarray]:
    """The pictures of X: all paths, or all arrays (height, width, 1, 3 or 4) of uint8.

    Args:
        X: paths, in a list, an array or a column of a data frame, (n,) or (n, 1); pictures, as an array (n, h, w) or
            (n, h, w, c) or a list of arrays of any sizes; or a `Listing`.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(X, Listing):
        return list(X.paths)
    if isinstance(X, (str, bytes, os.PathLike)):
        raise ValueError(f"X is one path, {os.fspath(X)!r}: {EXPECTED}; a list of one path will do.")
    if hasattr(X, "__array__"):
        X = np.asarray(X)
        X = X[:, 0] if X.ndim == 2 and X.shape[1] == 1 and X.dtype.kind in "OUT" else X
    if not isinstance(X, (Sequence, np.ndarray)) or np.shape(X[:0]) == ():
        raise ValueError(f"X is of type {type(X).__name__}: {EXPECTED}.")
    entries = list(X)
    if all(isinstance(entry, (str, os.PathLike)) for entry in entries):
        return [str(os.fspath(entry)) for entry in entries]  # not np.str_
    return [_picture(entry, number) for number, entry in enumerate(entries)]


def _picture(entry, number: int) -> np.ndarray:
    if not hasattr(entry, "__array__") or isinstance(entry, np.generic):
        raise ValueError(f"Entry {number} of X is {entry!r}: {EXPECTED}.")
    array = np.asarray(entry)
    array = array[..., None] if array.ndim == 2 else array
    picture = bit_depth.as_uint8(array) if array.ndim == 3 and array.shape[2] in (1, 3, 4) and array.size else None
    if picture is None:
        raise ValueError(
            f"Entry {number} of X is {array.dtype} {np.shape(entry)}: {EXPECTED}{bit_depth.scaling_advice(array)}."
        )
    return picture
