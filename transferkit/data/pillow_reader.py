"""Decode a file's bytes with Pillow, ordinary JPEGs by simplejpeg: upright, 8 bits, the given number of channels."""

from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock
from typing import TypeVar

import numpy as np
from PIL import Image

from transferkit.data import file_segments, jpeg_decoder
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
    """Decode any of `formats.FORMATS`: first frame, upright, 8 bits, alpha as a channel or composited on white.

    Returns:
        uint8 (height, width, channels).

    Raises:
        Exception: whatever Pillow's readers raise on damaged files; see `formats.error_reason`.
    """

    def decode(image, data):
        if channels == 1:
            image.draft("L", image.size)  # the stored luminance of a JPEG, not that of its colours
        return image_to_array(convert_image(load_upright(image, data)[0], channels))

    return with_image(data, decode)


def read_shrunk(
    data: bytes, channels: int, min_size: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """`read_picture`, but a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is large enough.

    Args:
        min_size: min_size(size), both (height, width): the smallest size to which a picture of a size may be decoded.

    Returns:
        The picture, uint8 (height, width, channels), and its (height, width) at full size.
    """
    frame = file_segments.ordinary_frame(data)
    if frame and not frame.has_metadata and frame.height * frame.width <= LARGE:  # most JPEGs: Pillow need not open it
        size = np.array((frame.height, frame.width))
        stored = jpeg_decoder.decode_ordinary(data, frame, channels, jpeg_decoder.find_divisor(size, min_size(size)))
        if stored is not None:
            return stored, size

    def decode(image, data):
        orientation = read_orientation(image) if image.format in JPEGS else 0
        size = np.array(image.size if orientation >= 5 else image.size[::-1])
        if orientation:
            # if the size is not divisible by 8, the last scaled pixels are partly outside, and flipped they come first
            shrinks = orientation == 1 or not (size % 8).any()
            divisor = jpeg_decoder.find_divisor(size, min_size(size)) if shrinks else 1
            stored = jpeg_decoder.decode_ordinary(data, file_segments.ordinary_frame(data), channels, divisor)
            if stored is not None:
                return set_upright(stored, orientation), size
            image.draft("L" if channels == 1 else None, tuple(side // divisor for side in image.size))
        picture = image_to_array(convert_image(load_upright(image, data)[0], channels))
        return picture, size if orientation else np.array(picture.shape[:2])

    return with_image(data, decode)


def with_image(data: bytes, use: Callable[[Image.Image, bytes], Result]) -> Result:
    """Return use(image, data) for an opened picture; if that fails, try again without the file's metadata."""
    try:
        with open_image(data) as image, _memory_for(image):
            return use(image, data)
    except Exception as error:
        stripped = file_segments.strip_metadata(data)
        if stripped == data:
            raise
        try:
            with open_image(stripped) as image, _memory_for(image):
                return use(image, stripped)
        except Exception:
            raise error from None


def _memory_for(image: Image.Image):
    """A context for decoding: large pictures are decoded one at a time, as each may take a gigabyte."""
    return _one_large if image.width * image.height > LARGE else nullcontext()


def load_upright(image: Image.Image, data: bytes) -> tuple[Image.Image, int, int]:
    """Load an opened picture upright, in 8 bits.

    Returns:
        The picture; its stored orientation, 1 to 8; its white level, see `bit_depth.to_8_bits`.
    """
    stored = read_orientation(image) if image.format == "TIFF" else 1  # Pillow sets a TIFF upright as it loads it
    picture, white_level = to_8_bits(image, data)
    orientation = read_orientation(image)  # other formats may have it behind their pixels
    upright = picture if orientation == 1 else picture.transpose(TRANSPOSED[orientation])
    return upright, max(stored, orientation), white_level


def set_upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a stored picture (height, width, channels): transpose it, then flip it."""
    picture = stored.swapaxes(0, 1) if orientation >= 5 else stored
    picture = picture[:, ::-1] if orientation in (2, 3, 6, 7) else picture
    return picture[::-1] if orientation in (3, 4, 7, 8) else picture


def read_orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8, from Exif or else from XMP; 1 if neither can be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
        return int(value) if value in TRANSPOSED else 1
    except Exception:  # a damaged block
        return 1


def convert_image(image: Image.Image, channels: int) -> Image.Image:
    """Convert a picture of 8 bits to grey, RGB or RGBA; alpha is kept as a channel, or composited on white."""
    if image.mode.endswith("a"):  # premultiplied alpha
        image = image.convert(f"{image.mode[:-1]}A")
    if channels != 4 and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def image_to_array(image: Image.Image) -> np.ndarray:
    """Convert a picture in one of `MODES` to uint8 (height, width, channels)."""
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def make_thumbnail(data: bytes, side: int) -> Image.Image:
    """Decode an upright thumbnail in RGB, at most `side` pixels on its longer side."""

    def decode(image, data):
        image.draft("RGB", (side, side))  # JPEGs are decoded no larger than they are shown
        picture = convert_image(load_upright(image, data)[0], 3)
        picture.thumbnail((side, side))
        return picture

    return with_image(data, decode)
