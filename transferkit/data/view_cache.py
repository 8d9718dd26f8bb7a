"""Views without chance, decoded once: kept in memory where they fit, else on disk."""

import math
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from transferkit.console import warn
from transferkit.data import pipeline_errors
from transferkit.pixels import Pixels


def fits(count: int, pixels: Pixels, memory: float) -> bool:
    """Whether so many views are no more than `memory` GB."""
    return _size(count, pixels) <= memory * 1e9


def once(view, count: int, pixels: Pixels, *, memory: float, folder: Path):
    """An op like `view`, which computes each picture the first time it is asked for, and remembers it.

    Args:
        view: picture = view(row), uint8 (crop, crop, channels), for a row of 0 to count - 1.
        memory: GB that may be kept in memory; what is larger becomes a file in `folder`, if it takes at most half of
            the disk's room, and else is not kept.
    """
    shape = (count, *_shape(pixels))
    if not fits(count, pixels, memory) and 2 * _size(count, pixels) > shutil.disk_usage(folder).free:
        warn(f"Every epoch decodes its pictures: for {_size(count, pixels) / 1e9:.1f} GB of them {folder} has no room.")
        return view
    new = np.empty if fits(count, pixels, memory) else partial(OnDisk, folder, "views")
    pictures = new(shape, np.uint8)
    known, nothing = np.zeros(count, bool), np.empty((0, *shape[2:]), np.uint8)

    @pipeline_errors.noted
    def recall(row):
        return pictures[row] if known[row] else nothing

    @pipeline_errors.noted
    def keep(row, picture):
        pictures[row], known[row] = picture, True
        return picture

    def remembered(row):
        found = tf.ensure_shape(tf.numpy_function(recall, (row,), tf.uint8), (None, *shape[2:]))
        picture = tf.cond(
            tf.shape(found)[0] > 0, lambda: found, lambda: tf.numpy_function(keep, (row, view(row)), tf.uint8)
        )
        return tf.ensure_shape(picture, shape[1:])

    return remembered


class OnDisk:
    """Rows of an array in a new file. It is open while some are read or written alone, as Windows deletes no file that
    is open or mapped; its room is taken now, as a disk that is full later would end the process.

    Raises:
        OSError: there is no room.
    """

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        number, self.path = tempfile.mkstemp(prefix=f"{name}-", dir=folder)
        with open(number, "wb") as file:
            take = getattr(os, "posix_fallocate", lambda descriptor, _, size: os.ftruncate(descriptor, size))
            take(file.fileno(), 0, len(self) * self._row)

    def __len__(self):
        return self.shape[0]

    @property
    def _row(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def __getitem__(self, rows) -> np.ndarray:
        values = np.empty((np.size(rows), *self.shape[1:]), self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            for row, value in zip(np.ravel(rows), values.reshape(len(values), -1), strict=True):
                file.seek(int(row) * self._row)
                file.readinto(value)
        return values.reshape(*np.shape(rows), *self.shape[1:])

    def __setitem__(self, rows, values: np.ndarray):
        values = np.ascontiguousarray(values, self.dtype).reshape(np.size(rows), -1)
        with open(self.path, "rb+", buffering=0) as file:
            for row, value in zip(np.ravel(rows), values, strict=True):
                file.seek(int(row) * self._row)
                file.write(value)


def _size(count: int, pixels: Pixels) -> int:
    return count * math.prod(_shape(pixels))


def _shape(pixels: Pixels):
    return *pixels.shape, pixels.channels
