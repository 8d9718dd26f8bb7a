"""Arrays as listings: they are written as PNG files to the cache folder, as everything else reads files."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from transferkit import atomic
from transferkit.cache_folder import cache_folder
from transferkit.data.listing import Listing, natural_sort_key
from transferkit.data.sources.picture_values import are_paths, check_pictures, write_pngs
from transferkit.lookup import count_noun, describe_type, show

EXPECTED = "expected uint8 pictures (height, width) or (height, width, 1, 3 or 4), of 0..255"


def list_arrays(images, labels, classes: Sequence[str] | None = None) -> Listing:
    """List pictures that are arrays in memory.

    They are written without loss to `data/arrays/<digest of all pictures>` in the cache folder (TRANSFERKIT_HOME), only
    once for the same pictures. The folder may be deleted when no run on it is to be resumed.

    Args:
        images: (n, height, width) or (n, height, width, channels) of 1, 3 or 4 channels, or n arrays of any sizes; RGB.
            uint8, or whole numbers from 0 to 255 of another type. Tensors are converted by NumPy. Or n pictures of
            Pillow.
        labels: (n,) or (n, 1), names of classes or indices into `classes`.
        classes: names in index order; by default those that occur, in natural order.

    Raises:
        ValueError: an array is not a picture, or labels and classes do not match.
        OSError: the cache folder cannot be written.

    Example:
        >>> listing = tk.list_arrays(np.zeros((2, 32, 32, 3), "uint8"), ["cat", "dog"])
    """
    pictures = check_pictures(images, "images", EXPECTED)
    labels = [_as_scalar(label) for label in _as_sequence(labels, "labels")]
    if pictures and are_paths(pictures):
        raise ValueError(
            "images is paths: tk.list_images lists files, tk.list_arrays arrays (height, width, channels)."
        )
    if len(pictures) != len(labels):
        raise ValueError(
            f"There are {count_noun(len(pictures), 'picture')} and {count_noun(len(labels), 'label')}: give one "
            "label a picture."
        )
    if not labels:
        raise ValueError(f"There are no pictures: {EXPECTED}.")
    indices, names = _index_labels(labels, classes)
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
    folder = cache_folder() / "data" / "arrays" / digest.hexdigest()[:20]
    if not os.path.isdir(folder):
        with suppress(FileExistsError), atomic.new_folder(folder) as partial:
            write_pngs(partial, pictures)
    return Listing(tuple(str(folder / f"{number:07d}.png") for number in range(len(indices))), indices, names)


def _as_sequence(values, name: str):
    """An array, of any library, or a sequence of them."""
    values = np.asarray(values) if hasattr(values, "__array__") else values
    is_list = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    if is_list or (isinstance(values, np.ndarray) and values.ndim):
        return values
    raise ValueError(f"{name} must be an array or a list, an entry for each picture, not {describe_type(values)}.")


def _as_scalar(label):
    """A label as a Python scalar; Keras's data sets have rows of one label."""
    return np.asarray(label).item() if hasattr(label, "__array__") and np.size(label) == 1 else label


def _index_labels(labels, classes) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Labels as indices, and the names of the classes."""
    by_name = all(isinstance(label, str) for label in labels)
    if not by_name and not all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        odd = next(label for label in labels if not isinstance(label, int) or isinstance(label, bool))
        raise ValueError(
            f"Labels must be all names or all whole numbers, not {show(odd)}; take argmax(1) of one-hot rows."
        )
    if classes is None:
        values = sorted(set(labels), key=natural_sort_key) if by_name else sorted(set(labels))
        return tuple(values.index(label) for label in labels), tuple(map(str, values))
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise ValueError(f"classes must be a list of names, not {show(classes)}.")
    names = tuple(map(str, classes))
    if len(set(names)) < len(names):
        raise ValueError(f"classes holds a name twice: {', '.join(names)}.")
    known = dict(zip(names if by_name else range(len(names)), range(len(names)), strict=True))
    for number, label in enumerate(labels):
        if label not in known:
            raise ValueError(f"Label {label!r} of picture {number} is not one of the {len(names)} classes.")
    return tuple(known[label] for label in labels), names
