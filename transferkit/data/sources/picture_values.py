"""Pictures as Python values: lists of paths, arrays, and pictures of Pillow."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from transferkit.data import bit_depth, pillow_reader
from transferkit.lookup import count_noun, describe_type, first_line, show

EXPECTED = (
    "expected a path, a list of paths, uint8 pictures (height, width, channels) of 0..255, pictures of Pillow, or a "
    "listing"
)


def check_pictures(pictures, name: str, expected: str = EXPECTED) -> list:
    """Convert Python values to pictures: all paths, or all uint8 arrays (height, width, 1, 3 or 4).

    Args:
        pictures: paths, in a list, an iterator, an array or a column of a data frame, (n,) or (n, 1); pictures, as an
            array (n, h, w) or (n, h, w, c), one array (h, w, c), or a list of arrays of any sizes; one picture of
            Pillow or a list.
        name: of the argument, for messages.
        expected: the end of messages.

    Raises:
        ValueError: it is something else.

    Example:
        >>> check_pictures(pandas.DataFrame({"path": ["tabby.jpg", "rex.jpg"]}), "X")
        ['tabby.jpg', 'rex.jpg']
    """
    entries = _list_entries(pictures, name, expected)
    if all(isinstance(entry, (str, os.PathLike)) for entry in entries):
        return [str(os.fspath(entry)) for entry in entries]  # not np.str_
    if any(isinstance(entry, (str, os.PathLike)) for entry in entries):
        raise ValueError(f"{name} has paths and other values: {expected}.")
    return [_as_array(entry, f"Entry {position} of {name}", expected) for position, entry in enumerate(entries)]


def are_paths(pictures: Sequence) -> bool:
    """Whether what `check_pictures` returned is paths."""
    return all(isinstance(picture, str) for picture in pictures)


@contextmanager
def picture_files(pictures: Sequence) -> Iterator[list[str]]:
    """The paths of what `check_pictures` returned; arrays are written to files that exist until the context ends."""
    if are_paths(pictures):
        yield list(pictures)
        return
    with TemporaryDirectory(prefix="transferkit-") as folder:
        yield write_pngs(Path(folder), pictures)


def write_pngs(folder: Path, pictures: Sequence[np.ndarray]) -> list[str]:
    """Write arrays of `check_pictures` to a folder without loss; returns their paths."""
    paths = [str(folder / f"{number:07d}.png") for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        pixels = picture[..., 0] if picture.shape[2] == 1 else picture
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=1)
    return paths


def _list_entries(pictures, name: str, expected: str) -> list:
    if isinstance(pictures, (Iterator, Image.Image)):
        return [pictures] if isinstance(pictures, Image.Image) else list(pictures)
    if hasattr(pictures, "__array__"):
        columns, pictures = len(getattr(pictures, "columns", ())), np.asarray(pictures)
        if columns > 1:
            raise ValueError(
                f"{name} is a table of {count_noun(columns, 'column')}: give the column of paths alone, as "
                "frame['path']."
            )
        if pictures.ndim == 3 and pictures.shape[2] in pillow_reader.MODES:
            return [pictures]
        is_column = pictures.ndim == 2 and pictures.shape[1] == 1 and pictures.dtype.kind in "OUT"
        pictures = pictures[:, 0] if is_column else pictures
    is_list = isinstance(pictures, Sequence) and not isinstance(pictures, (str, bytes))
    if not is_list and not (isinstance(pictures, np.ndarray) and pictures.ndim):
        raise ValueError(f"{name} is {describe_type(pictures)}: {expected}.")
    return list(pictures)


def _as_array(entry, where: str, expected: str) -> np.ndarray:
    if isinstance(entry, Image.Image):
        return _read_pillow(entry, where, expected)
    if not hasattr(entry, "__array__") or isinstance(entry, np.generic):
        raise ValueError(f"{where} is {show(entry)}: {expected}.")
    array = np.asarray(entry)
    array = array[..., None] if array.ndim == 2 else array
    fits = array.ndim == 3 and array.shape[2] in pillow_reader.MODES and array.size
    picture = bit_depth.as_uint8(array) if fits else None
    if picture is None:
        advice = bit_depth.scaling_advice(array) if fits else ""
        raise ValueError(f"{where} is {array.dtype} {np.shape(entry)}: {expected}{advice}.")
    return picture


def _read_pillow(image: Image.Image, where: str, expected: str) -> np.ndarray:
    """The pixels of an opened picture, upright, as those of its file would be read."""
    try:
        image.load()  # first: what is not loaded would be read from the file's bytes
        upright = pillow_reader.load_upright(image, b"")[0]
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise ValueError(f"{where} cannot be read ({first_line(error)}): {expected}.") from None
    channels = 4 if upright.has_transparency_data else 1 if upright.mode in ("1", "L") else 3
    return pillow_reader.image_to_array(pillow_reader.convert_image(upright, channels))
