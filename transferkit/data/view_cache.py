"""Views without chance, decoded once: kept in memory where they fit, else on disk."""

import math
import os
import shutil
import tempfile
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
    room = arrays([shape], np.uint8, memory=memory, folder=folder, name="views")
    if room is None:
        _warn(count, pixels, folder)
        return view
    (pictures,) = room
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


def arrays(shapes, dtype, *, memory: float, folder: Path, name: str) -> "tuple[np.ndarray | OnDisk, ...] | None":
    """Empty arrays, all in memory where they are at most so many GB, else all in files; None if there is no room."""
    size, made = sum(map(math.prod, shapes)) * np.dtype(dtype).itemsize, []
    if size <= memory * 1e9:
        return tuple(np.empty(shape, dtype) for shape in shapes)
    if not has_room(size, folder):
        return None
    try:
        for shape in shapes:
            made.append(OnDisk(folder, name, shape, dtype))
    except OSError:  # a quota, or a limit on the size of a file, of which the disk's room does not tell
        for one in made:
            os.unlink(one.path)
        return None
    return tuple(made)


def has_room(size: int, folder: Path) -> bool:
    """Whether so many bytes take at most half of the disk's room."""
    try:
        return 2 * size <= shutil.disk_usage(folder).free
    except OSError:
        return False


def has_room_for(count: int, pixels: Pixels, folder: Path) -> bool:
    """The same of so many views, with a warning."""
    enough = has_room(_size(count, pixels), folder)
    if not enough:
        _warn(count, pixels, folder)
    return enough


class OnDisk:
    """Rows of an array in a new file. It is open while some are read or written alone, as Windows deletes no file that
    is open or mapped; its room is taken now, as a disk that is full later would end the process.

    Raises:
        OSError: there is no room.
    """

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        number, self.path = tempfile.mkstemp(prefix=f"{name}-", dir=folder)
        take = getattr(os, "posix_fallocate", lambda descriptor, _, size: os.ftruncate(descriptor, size))
        try:
            with open(number, "wb") as file:
                take(file.fileno(), 0, len(self) * self._row)
        except OSError:
            os.unlink(self.path)
            raise

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
                if file.readinto(value) < self._row:
                    raise OSError(f"{self.path} was cut short by another program.")
        return values.reshape(*np.shape(rows), *self.shape[1:])

    def __setitem__(self, rows, values: np.ndarray):
        values = np.ascontiguousarray(values, self.dtype).reshape(np.size(rows), -1)
        with open(self.path, "rb+", buffering=0) as file:
            for row, value in zip(np.ravel(rows), values, strict=True):
                file.seek(int(row) * self._row)
                left = memoryview(value).cast("B")
                while left:  # a disk that is nearly full takes a part, and says so the next time alone
                    left = left[file.write(left) :]


def _warn(count: int, pixels: Pixels, folder: Path):
    size = _size(count, pixels) / 1e9
    warn(f"Every epoch decodes its pictures: for {size:.1f} GB of them {folder} has no room.")


def _size(count: int, pixels: Pixels) -> int:
    return count * math.prod(_shape(pixels))


def _shape(pixels: Pixels):
    return *pixels.shape, pixels.channels
