"""Decode ordinary JPEGs by simplejpeg: Pillow's pixels, as both use libjpeg-turbo, in less time.

Whatever libjpeg warns of, and all JPEGs where simplejpeg is missing, are left to Pillow, which decides what a picture
is.
"""

import numpy as np

from transferkit.data.file_segments import Frame

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

SMALLEST = 16  # pixels: with fewer, two scales may give the same size


def find_divisor(size, least) -> int:
    """The largest of libjpeg's divisors 1, 2, 4, 8 that leaves no side of `size` below that of `least`, or 1."""
    scale = min(side / wanted for side, wanted in zip(size, least, strict=True))
    return max(by for by in (1, 2, 4, 8) if by <= max(scale, 1))


def decode_ordinary(data: bytes, frame: Frame | None, channels: int, divisor: int = 1) -> np.ndarray | None:
    """Decode a JPEG as it is stored, without its orientation.

    Args:
        data: the content of a file.
        frame: its `ordinary_frame`; None leaves it to Pillow.
        channels: 1 for the luminance, or 3.
        divisor: 1, 2, 4 or 8, libjpeg's DCT scale; sides are divided by it and rounded up.

    Returns:
        uint8 (height, width, channels), or None if Pillow has to decode the file.
    """
    if simplejpeg is None or frame is None or (divisor > 1 and min(frame.height, frame.width) < SMALLEST):
        return None
    # the smallest of its scales, eighths, that gives no less
    height, width = -(-frame.height // divisor), -(-frame.width // divisor)
    try:
        return simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB", min_height=height, min_width=width)
    except ValueError:  # strict: an error or a warning
        return None
