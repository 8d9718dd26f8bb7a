"""Pictures that are arrays in Python, kept as PNG files in the cache folder so that everything else finds files."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from transferkit import atomic
from transferkit.data import bit_depth
from transferkit.data.listing import Listing, natural_sort_key
from transferkit.data.pillow_reader import MODES
from transferkit.weights.fetch import home


def list_arrays(images, labels, classes: Sequence[str] | None = None) -> Listing:
    """List pictures that are in memory.

    They are written without loss to `arrays/<digest of all pictures>` below the folder `data` of the cache folder
    (TRANSFERKIT_HOME), once: the same pictures are found again. The folder may be deleted when its runs are no longer
    to be resumed.

    Args:
        images: uint8 (n, h, w) or (n, h, w, channels) of 1, 3 or 4 channels, or n arrays of any sizes; 0..255, RGB.
            Other types may hold whole numbers of 0..255. An array is also what NumPy makes one of, a tensor for one.
        labels: n names of classes, or n positions in `classes`; an array may be (n, 1).
        classes: names in order; by default those that occur, in natural order.

    Raises:
        ValueError: an array is no picture, or labels and classes do not fit.
        OSError: the cache folder cannot be written.
    """
    images, labels = _rows(images, "images"), [_bare(label) for label in _rows(labels, "labels")]
    if len(images) != len(labels):
        raise ValueError(f"There are {len(images)} pictures and {len(labels)} labels: give one label a picture.")
    if not labels:
        raise ValueError("There are no pictures: expected arrays of uint8 (height, width, channels).")
    rows, names = _numbered(labels, classes)
    pictures = [_picture(np.asarray(image), number) for number, image in enumerate(images)]
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture))
    folder = home() / "data" / "arrays" / digest.hexdigest()[:20]
    if not os.path.isdir(folder):
        with suppress(FileExistsError), atomic.filled(folder) as partial:
            _fill(partial, pictures)
    return Listing(tuple(str(folder / f"{number:07d}.png") for number in range(len(rows))), rows, names)


@contextmanager
def write_arrays(images) -> Iterator[list[str]]:
    """Paths of files that hold the pictures of `list_arrays` without loss, until the context ends."""
    with TemporaryDirectory(prefix="transferkit-") as folder:
        yield _fill(Path(folder), [_picture(np.asarray(image), number) for number, image in enumerate(images)])


def _rows(values, name: str):
    """An array, of any library, or a sequence of them."""
    if hasattr(values, "__array__"):
        values = np.asarray(values)
    try:
        len(values)
    except TypeError:
        what = type(values).__name__
        raise ValueError(f"{name} must be an array or a list, an entry a picture, not of type {what}.") from None
    return values


def _bare(label):
    """A label as Python's own: of a scalar, or of a row of one, as Keras's data sets have them."""
    return np.asarray(label).item() if hasattr(label, "__array__") and np.size(label) == 1 else label


def _numbered(labels, classes) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Labels as positions, and the names."""
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
            raise ValueError(f"Label {label!r} of picture {number} is none of the {len(names)} classes.")
    return tuple(known[label] for label in labels), names


def _picture(array: np.ndarray, number: int) -> np.ndarray:
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


def _fill(folder: Path, pictures) -> list[str]:
    paths = [str(folder / f"{number:07d}.png") for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path, compress_level=1)
    return paths
