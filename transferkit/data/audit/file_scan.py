"""One look at a file: what it is, whether it can be decoded, and a fingerprint of the picture. No TensorFlow.

A JPEG is decoded at the smallest of libjpeg's scales whose shorter side is still 32 pixels: all of its bytes are read
as at full size, in half the time. Every other format is decoded as training does, by the same function.
"""

import hashlib
from dataclasses import dataclass

from PIL import Image

from transferkit.data import pillow_reader
from transferkit.data.file_ranges import read_bytes
from transferkit.data.formats import reason

GRID = 16  # luminance is kept in 16 x 16 squares, colour in 4 x 4
LUMA = GRID * GRID
PRINT = LUMA + 2 * 4 * 4  # bytes of a fingerprint


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a file found.

    Attributes:
        digest: SHA-1 of the content, empty where it could not be read.
        form: format by content, as Pillow calls it; empty where it is none.
        mode: how pixels are stored, as Pillow calls it.
        width, height: declared, as stored.
        turn: orientation, 1 to 8; 1 is upright.
        white: the value that became 255, of pixels that are brought to 8 bits; 0 of others.
        reason: why it cannot be decoded; empty where it can.
        fingerprint: 256 luminances of 16 x 16 squares of the upright picture, then 4 x 4 of each colour difference.
    """

    digest: bytes = b""
    form: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    turn: int = 1
    white: int = 0
    reason: str = ""
    fingerprint: bytes = b""

    @property
    def side(self) -> int:
        return min(self.width, self.height)


def look(path: str) -> Look:
    """Read a file once. Never raises on what the file is, and never waits for a pipe or a device."""
    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        return Look(reason=reason(error))
    if not data:
        return Look(reason="the file is empty")
    return _look(data, hashlib.sha1(data, usedforsecurity=False).digest())


def _look(data: bytes, digest: bytes) -> Look:
    found = {}

    def seen(image: Image.Image, data: bytes) -> Look:
        width, height = image.size
        found.update(form=image.format, mode=stored_mode(image), width=width, height=height)
        image.draft("RGB", (2 * GRID, 2 * GRID))
        picture, turn, white = pillow_reader.upright(image, data)
        return Look(digest, turn=turn, white=white, fingerprint=fingerprint(picture), **found)

    try:
        return pillow_reader.with_image(data, seen)
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        return Look(digest, reason=reason(error).encode("utf-8", "replace").decode(), **found)


def stored_mode(image: Image.Image) -> str:
    """Pillow's mode, and "alpha" with it where a palette or a colour key stands for transparent."""
    see_through = "transparency" in image.info and image.mode not in ("RGBA", "LA", "PA")
    return f"{image.mode} alpha" if see_through else image.mode


def fingerprint(picture: Image.Image) -> bytes:
    """What of an upright picture survives other sizes and other compression: 16 x 16 luminances, 4 x 4 colours."""
    small = pillow_reader.as_image(picture, 3).resize((GRID, GRID), Image.Resampling.HAMMING).convert("YCbCr")
    squares, coarse = small.tobytes(), small.reduce(GRID // 4).tobytes()
    return squares[::3] + coarse[1::3] + coarse[2::3]
