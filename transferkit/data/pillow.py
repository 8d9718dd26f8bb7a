"""A file's bytes to a picture by Pillow alone, and the words for bytes that are none."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read(data: bytes, channels: int) -> np.ndarray:
    """Any format that Pillow reads: first frame, upright, alpha kept as a channel or composited on white, 16 bit in 8.

    Returns:
        uint8 (height, width, channels).
    """
    with Image.open(io.BytesIO(data)) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":  # convert() would clip at 255
            image = Image.fromarray(narrowed(image))
        return as_channels(image, channels)


def as_channels(image: Image.Image, channels: int) -> np.ndarray:
    """uint8 (height, width, channels) of a picture in 8 bits; alpha is kept as a channel, or composited on white."""
    if channels != 4 and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.asarray(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def narrowed(image: Image.Image) -> np.ndarray:
    """The upper 8 of 16 bits."""
    return (np.clip(np.asarray(image), 0, 65535).astype("uint16") >> 8).astype("uint8")


def reason(error: Exception) -> str:
    """One line on why bytes could not be decoded; Pillow's readers raise nearly anything on damaged files."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture format that is known"
    said = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return said.rstrip(".")  # it goes into a sentence
