"""Scan one picture file: its format and size, whether it can be decoded, and a fingerprint. No TensorFlow.

A JPEG is decoded at the smallest libjpeg scale whose shorter side still has 32 pixels. That reads all of its bytes, in
half the time of a full decode. Other formats are decoded as in training, by the same function.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from transferkit.data import file_segments, jpeg_decoder, pillow_reader
from transferkit.data.file_ranges import read_bytes
from transferkit.data.formats import error_reason

GRID = 16  # a fingerprint has 16 x 16 luminances and 4 x 4 of each colour difference
LUMA_SIZE = GRID * GRID
FINGERPRINT_SIZE = LUMA_SIZE + 2 * 4 * 4  # bytes


@dataclass(frozen=True, slots=True)
class FileScan:
    """The result of scanning a file.

    Attributes:
        digest: SHA-1 of the content; empty if the file could not be read.
        format: Pillow's name of the format, found by content; empty if it is not a picture.
        mode: Pillow's name of how pixels are stored.
        width, height: declared size in pixels, before the orientation is applied.
        orientation: Exif orientation, 1 to 8; 1 is upright.
        white_level: the value that was scaled to 255, for pixels of more than 8 bits; else 0.
        reason: why the file cannot be decoded; empty if it can.
        fingerprint: 256 luminances (16 x 16) of the upright picture, then 4 x 4 of each colour difference.
    """

    digest: bytes = b""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    white_level: int = 0
    reason: str = ""
    fingerprint: bytes = b""

    @property
    def shorter_side(self) -> int:
        return min(self.width, self.height)


def scan_file(path: str) -> FileScan:
    """Read and scan a file. Never raises because of its content, and never blocks on a pipe or a device."""
    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        return FileScan(reason=error_reason(error))
    if not data:
        return FileScan(reason="the file is empty")
    return _scan_bytes(data, hashlib.sha1(data, usedforsecurity=False).digest())


def _scan_bytes(data: bytes, digest: bytes) -> FileScan:
    header: dict[str, Any] = {}  # filled before decoding, so that it is known of a picture that cannot be decoded

    def scan_image(image: Image.Image, data: bytes) -> FileScan:
        width, height = image.size
        header.update(format=image.format, mode=pixel_mode(image), width=width, height=height)
        picture, orientation, white_level = _load_small(image, data)
        values = {"orientation": orientation, "white_level": white_level, "fingerprint": compute_fingerprint(picture)}
        return FileScan(digest, **(header | values))

    try:
        return pillow_reader.with_image(data, scan_image)
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        return FileScan(digest, reason=error_reason(error).encode("utf-8", "replace").decode(), **header)


def _load_small(image: Image.Image, data: bytes) -> tuple[Image.Image, int, int]:
    """`pillow_reader.load_upright`, of a JPEG at the smallest scale that a fingerprint allows."""
    least = 2 * GRID, 2 * GRID
    frame, divisor = file_segments.ordinary_frame(data), jpeg_decoder.find_divisor(image.size, least)
    stored = jpeg_decoder.decode_ordinary(data, frame, 3, divisor)
    if stored is None:
        image.draft("RGB", least)
        return pillow_reader.load_upright(image, data)
    orientation = pillow_reader.read_orientation(image)
    return Image.fromarray(np.ascontiguousarray(pillow_reader.set_upright(stored, orientation))), orientation, 0


def pixel_mode(image: Image.Image) -> str:
    """Pillow's mode, followed by "alpha" if a palette entry or a colour key is transparent."""
    has_transparency = "transparency" in image.info and image.mode not in ("RGBA", "LA", "PA")
    return f"{image.mode} alpha" if has_transparency else image.mode


def compute_fingerprint(picture: Image.Image) -> bytes:
    """Compute what other sizes and other compression leave unchanged: 16 x 16 luminances, 4 x 4 colours."""
    small = pillow_reader.convert_image(picture, 3).resize((GRID, GRID), Image.Resampling.HAMMING).convert("YCbCr")
    pixels, coarse = small.tobytes(), small.reduce(GRID // 4).tobytes()
    return pixels[::3] + coarse[1::3] + coarse[2::3]
