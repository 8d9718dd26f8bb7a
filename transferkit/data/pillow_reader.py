"""A file's bytes to a picture by Pillow alone: upright, 8 bits, as many channels as are wanted."""

from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock
from typing import TypeVar

import numpy as np
from PIL import Image

from transferkit.data import file_segments
from transferkit.data.bit_depth import to_8_bits
from transferkit.data.formats import open_image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
JPEGS = ("JPEG", "MPO")
ORIENTATION = 0x0112
TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LARGE = 16_000_000  # pixels
_one_large = Lock()
Result = TypeVar("Result")


def read_picture(data: bytes, channels: int) -> np.ndarray:
    """Any format of `formats.FORMATS`: first frame, upright, alpha kept as a channel or composited on white, 8 bits.

    Returns:
        uint8 (height, width, channels).

    Raises:
        Exception: whatever Pillow's readers raise on damaged files; `formats.reason` words it.
    """

    def pixels(image, data):
        if channels == 1:
            image.draft("L", image.size)  # of a JPEG the luminance that is stored, not that of its colours
        return image_to_array(convert_image(load_upright(image, data)[0], channels))

    return with_image(data, pixels)


def read_shrunk(
    data: bytes, channels: int, least: Callable[[np.ndarray], np.ndarray]
) -> tuple[Image.Image, np.ndarray]:
    """The picture of `read`, a JPEG decoded at 1/2, 1/4 or 1/8 where that is large enough.

    Args:
        least: least(size), both (height, width): what a picture of a size must not be smaller than.

    Returns:
        The picture, and its (height, width) at full size.
    """

    def decoded(image, data):
        turn = read_orientation(image) if image.format in JPEGS else 0
        size = np.array(image.size if turn >= 5 else image.size[::-1])
        # of another size, a turned picture's last pixels would lie outside in part
        if turn == 1 or (turn and not (size % 8).any()):
            sides = least(size) if turn >= 5 else least(size)[::-1]
            image.draft("L" if channels == 1 else None, tuple(map(int, sides)))
        picture = convert_image(load_upright(image, data)[0], channels)
        return picture, size if turn else np.array(picture.size[::-1])

    return with_image(data, decoded)


def with_image(data: bytes, use: Callable[[Image.Image, bytes], Result]) -> Result:
    """use(image, data) of an opened picture; of one that cannot be read so, once more without what is not pixels."""
    try:
        with open_image(data) as image, _room_for(image):
            return use(image, data)
    except Exception as error:
        without = file_segments.strip_metadata(data)
        if without == data:
            raise
        try:
            with open_image(without) as image, _room_for(image):
                return use(image, without)
        except Exception:
            raise error from None


def _room_for(image: Image.Image):
    """A context in which a large picture is decoded: one at a time, for each may take a gigabyte."""
    return _one_large if image.width * image.height > LARGE else nullcontext()


def load_upright(image: Image.Image, data: bytes) -> tuple[Image.Image, int, int]:
    """An opened picture as it is to be seen, in 8 bits.

    Returns:
        The picture; the orientation it was stored with, 1 to 8; the value that became white, see `bit_depth.to_8_bits`.
    """
    stored = read_orientation(image) if image.format == "TIFF" else 1  # a TIFF is set upright by Pillow as it is loaded
    picture, white = to_8_bits(image, data)
    turn = read_orientation(image)  # other formats may have it behind their pixels
    return (picture if turn == 1 else picture.transpose(TRANSPOSED[turn])), max(stored, turn), white


def read_orientation(image: Image.Image) -> int:
    """1 to 8, by Exif, or by XMP where Exif has none; 1 where neither can be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
        return int(value) if value in TRANSPOSED else 1
    except Exception:  # of a damaged block
        return 1


def convert_image(image: Image.Image, channels: int) -> Image.Image:
    """A picture in 8 bits in grey, RGB or RGBA; alpha is kept as a channel, or composited on white."""
    if image.mode.endswith("a"):  # colours multiplied by alpha
        image = image.convert(f"{image.mode[:-1]}A")
    if channels != 4 and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def image_to_array(image: Image.Image) -> np.ndarray:
    """uint8 (height, width, channels) of a picture in one of `MODES`."""
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def thumbnail(data: bytes, side: int) -> Image.Image:
    """A small picture in RGB, of at most `side` pixels a side, and its orientation."""

    def small(image, data):
        image.draft("RGB", (side, side))  # JPEGs are decoded no larger than they are shown
        picture = convert_image(load_upright(image, data)[0], 3)
        picture.thumbnail((side, side))
        return picture

    return with_image(data, small)
