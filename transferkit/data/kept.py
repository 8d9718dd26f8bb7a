"""Views without chance, decoded once: kept in memory where they fit, else on disk."""

import math
import os
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from transferkit.console import warn
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
    if fits(count, pixels, memory):
        pictures = np.empty(shape, np.uint8)
    else:
        pictures = on_disk(folder / "views.npy", shape, np.uint8)
    known, nothing = np.zeros(count, bool), np.empty((0, *shape[2:]), np.uint8)

    def recall(row):
        return pictures[row] if known[row] else nothing

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


def on_disk(path: Path, shape, dtype) -> np.memmap:
    """A new array in a `.npy` file, whose room is taken now: a disk that is full later would end the process.

    Raises:
        OSError: there is no room.
    """
    path.unlink(missing_ok=True)  # a pipeline that has ended may still write to the one before
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _size(count: int, pixels: Pixels) -> int:
    return count * math.prod(_shape(pixels))


def _shape(pixels: Pixels):
    return *pixels.shape, pixels.channels
