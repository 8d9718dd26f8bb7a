"""Arrays as listings: they are written as PNG files to the cache folder, as everything else reads files."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from transferkit import atomic
from transferkit.cache_folder import cache_folder
from transferkit.data import bit_depth
from transferkit.data.listing import Listing, natural_sort_key
from transferkit.data.pillow_reader import MODES


def list_arrays(images, labels, classes: Sequence[str] | None = None) -> Listing:
    """List pictures that are arrays in memory.

    They are written without loss to `data/arrays/<digest of all pictures>` in the cache folder (TRANSFERKIT_HOME), only
    once for the same pictures. The folder may be deleted when no run on it is to be resumed.

    Args:
        images: (n, height, width) or (n, height, width, channels) of 1, 3 or 4 channels, or n arrays of any sizes; RGB.
            uint8, or whole numbers from 0 to 255 of another type. Tensors are converted by NumPy.
        labels: (n,) or (n, 1), names of classes or indices into `classes`.
        classes: names in index order; by default those that occur, in natural order.

    Raises:
        ValueError: an array is not a picture, or labels and classes do not match.
        OSError: the cache folder cannot be written.

    Example:
        >>> listing = tk.list_arrays(np.zeros((2, 32, 32, 3), "uint8"), ["cat", "dog"])
    """
    images, labels = _as_sequence(images, "images"), [_as_scalar(label) for label in _as_sequence(labels, "labels")]
    if len(images) != len(labels):
        raise ValueError(f"There are {len(images)} pictures and {len(labels)} labels: give one label a picture.")
    if not labels:
        raise ValueError("There are no pictures: expected arrays of uint8 (height, width, channels).")
    indices, names = _index_labels(labels, classes)
    pictures = [_as_picture(np.asarray(image), number) for number, image in enumerate(images)]
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
    folder = cache_folder() / "data" / "arrays" / digest.hexdigest()[:20]
    if not os.path.isdir(folder):
        with suppress(FileExistsError), atomic.new_folder(folder) as partial:
            _write_pngs(partial, pictures)
    return Listing(tuple(str(folder / f"{number:07d}.png") for number in range(len(indices))), indices, names)


@contextmanager
def write_arrays(images) -> Iterator[list[str]]:
    """Write the pictures of `list_arrays` to files that exist until the context ends; yields their paths."""
    with TemporaryDirectory(prefix="transferkit-") as folder:
        yield _write_pngs(Path(folder), [_as_picture(np.asarray(image), number) for number, image in enumerate(images)])


def _as_sequence(values, name: str):
    """An array, of any library, or a sequence of them."""
    if hasattr(values, "__array__"):
        values = np.asarray(values)
    try:
        len(values)
    except TypeError:
        what = type(values).__name__
        raise ValueError(f"{name} must be an array or a list, an entry a picture, not of type {what}.") from None
    return values


def _as_scalar(label):
    """A label as a Python scalar; Keras's data sets have rows of one label."""
    return np.asarray(label).item() if hasattr(label, "__array__") and np.size(label) == 1 else label


def _index_labels(labels, classes) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Labels as indices, and the names of the classes."""
    by_name = all(isinstance(label, str) for label in labels)
    if not by_name and not all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        odd = next(label for label in labels if not isinstance(label, int) or isinstance(label, bool))
        raise ValueError(f"Labels must be all names or all whole numbers, not {odd!r}; of one-hot rows take argmax(1).")
    if classes is None:
        values = sorted(set(labels), key=natural_sort_key) if by_name else sorted(set(labels))
        return tuple(values.index(label) for label in labels), tuple(map(str, values))
    names = tuple(map(str, classes))
    if len(set(names)) < len(names):
        raise ValueError(f"classes holds a name twice: {', '.join(names)}.")
    known = dict(zip(names if by_name else range(len(names)), range(len(names)), strict=True))
    for number, label in enumerate(labels):
        if label not in known:
            raise ValueError(f"Label {label!r} of picture {number} is not one of the {len(names)} classes.")
    return tuple(known[label] for label in labels), names


def _as_picture(array: np.ndarray, number: int) -> np.ndarray:
    """(h, w) or (h, w, 3 or 4)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in MODES)
    picture = bit_depth.as_uint8(array) if fits and array.size else None
    if picture is None:
        raise ValueError(
            f"Picture {number} is {array.dtype} {array.shape}: expected uint8 (height, width) or (height, width, 1, 3 "
            f"or 4), of 0..255{bit_depth.scaling_advice(array) if fits else ''}."
        )
    return picture


def _write_pngs(folder: Path, pictures) -> list[str]:
    paths = [str(folder / f"{number:07d}.png") for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path, compress_level=1)
    return paths
