"""Cache what is decoded once: views without randomness, and features. In memory if they fit, else on disk."""

import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from transferkit.console import warn
from transferkit.data import deferred_errors
from transferkit.pixels import Pixels


@dataclass(frozen=True)
class CacheSpace:
    """Where cached arrays go.

    Attributes:
        memory: GB (10**9 bytes) that may be kept in memory.
        folder: for the files of larger arrays, which may take up to half of the free disk space.
    """

    memory: float
    folder: Path


def fits_in_memory(count: int, pixels: Pixels, space: CacheSpace) -> bool:
    """Whether this number of views fits into the memory of `space`."""
    return _views_size(count, pixels) <= space.memory * 1e9


def cache_views(view, count: int, pixels: Pixels, space: CacheSpace):
    """An op like `view` that computes each picture only once; `view` itself if there is no space.

    Args:
        view: picture = view(row), uint8 (height, width, channels), for a row of 0 to count - 1.
    """
    shape = (count, *_view_shape(pixels))
    arrays = allocate_arrays([shape], np.uint8, space, name="views")
    if arrays is None:
        _warn_no_space(count, pixels, space)
        return view
    (pictures,) = arrays
    is_cached, nothing = np.zeros(count, bool), np.empty((0, *shape[2:]), np.uint8)

    @deferred_errors.record_errors
    def load(row):
        return pictures[row] if is_cached[row] else nothing

    @deferred_errors.record_errors
    def save(row, picture):
        pictures[row], is_cached[row] = picture, True
        return picture

    def cached_view(row):
        found = tf.ensure_shape(tf.numpy_function(load, (row,), tf.uint8), (None, *shape[2:]))
        picture = tf.cond(
            tf.shape(found)[0] > 0, lambda: found, lambda: tf.numpy_function(save, (row, view(row)), tf.uint8)
        )
        return tf.ensure_shape(picture, shape[1:])

    return cached_view


def allocate_arrays(shapes, dtype, space: CacheSpace, *, name: str) -> "tuple[np.ndarray | DiskArray, ...] | None":
    """Allocate empty arrays: all in memory if they fit together, else all in files; None if there is no space.

    Args:
        name: prefix of the files.
    """
    size, arrays = sum(map(math.prod, shapes)) * np.dtype(dtype).itemsize, []
    if size <= space.memory * 1e9:
        return tuple(np.empty(shape, dtype) for shape in shapes)
    if not has_disk_space(size, space.folder):
        return None
    try:
        for shape in shapes:
            arrays.append(DiskArray(space.folder, name, shape, dtype))
    except OSError:  # a quota or a limit on the size of a file, which the free disk space does not show
        for array in arrays:
            os.unlink(array.path)
        return None
    return tuple(arrays)


def has_disk_space(size: int, folder: Path) -> bool:
    """Whether `size` bytes take at most half of the free disk space."""
    try:
        return 2 * size <= shutil.disk_usage(folder).free
    except OSError:
        return False


def has_space_for_views(count: int, pixels: Pixels, space: CacheSpace) -> bool:
    """`has_disk_space` for this number of views; warns if there is not."""
    enough = has_disk_space(_views_size(count, pixels), space.folder)
    if not enough:
        _warn_no_space(count, pixels, space)
    return enough


class DiskArray:
    """An array in a new file, read and written by rows.

    The file is open only during an access, as Windows cannot delete an open or mapped file. Its disk space is reserved
    at once, as a disk that fills up later would end the process.

    Raises:
        OSError: there is not enough disk space.
    """

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        descriptor, self.path = tempfile.mkstemp(prefix=f"{name}-", dir=folder)
        reserve = getattr(os, "posix_fallocate", lambda descriptor, _, size: os.ftruncate(descriptor, size))
        try:
            with open(descriptor, "wb") as file:
                reserve(file.fileno(), 0, len(self) * self._row_size)
        except OSError:
            os.unlink(self.path)
            raise

    def __len__(self):
        return self.shape[0]

    @property
    def _row_size(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def __getitem__(self, rows) -> np.ndarray:
        values = np.empty((np.size(rows), *self.shape[1:]), self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            for row, value in zip(np.ravel(rows), values.reshape(len(values), -1), strict=True):
                file.seek(int(row) * self._row_size)
                if file.readinto(value.data) < self._row_size:
                    raise OSError(f"{self.path} was cut short by another program.")
        return values.reshape(*np.shape(rows), *self.shape[1:])

    def __setitem__(self, rows, values: np.ndarray):
        values = np.ascontiguousarray(values, self.dtype).reshape(np.size(rows), -1)
        with open(self.path, "rb+", buffering=0) as file:
            for row, value in zip(np.ravel(rows), values, strict=True):
                file.seek(int(row) * self._row_size)
                left = value.data.cast("B")
                while left:  # a nearly full disk takes a part of it, and fails at the next write
                    left = left[file.write(left) :]


Array = np.ndarray | DiskArray


def _warn_no_space(count: int, pixels: Pixels, space: CacheSpace):
    size = _views_size(count, pixels) / 1e9
    warn(f"{space.folder} has no room for {size:.1f} GB of decoded pictures: they are decoded again in every epoch.")


def _views_size(count: int, pixels: Pixels) -> int:
    """Bytes."""
    return count * math.prod(_view_shape(pixels))


def _view_shape(pixels: Pixels):
    return *pixels.shape, pixels.channels
