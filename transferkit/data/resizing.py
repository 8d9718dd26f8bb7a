"""Resize a part of a picture, antialiased, with Pillow's filters.

cykooz-resizer (the Rust crate fast_image_resize) computes Pillow's convolutions with SIMD instructions, outside
Python's lock. It rounds between its two passes as Pillow does, so of photographs nearly all bytes are Pillow's if the
horizontal pass comes first, as it usually does in Pillow. (In one call, the vertical pass would be first.) Pillow
resizes pictures with alpha, and all where the package is missing.
"""

from math import ceil

import numpy as np
from PIL import Image

try:
    import cykooz_resizer as simd
except ImportError:
    simd = None

NAME = "cykooz-resizer" if simd else "pillow"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# the filter and its support, in pixels on each side, times the scale if the picture shrinks
SIMD_FILTERS = simd and {"bilinear": (simd.FilterType.bilinear, 1), "bicubic": (simd.FilterType.catmull_rom, 2)}

Box = tuple[float, float, float, float]


def resize(picture: np.ndarray, size: tuple[int, int], interpolation: str, box: Box | None = None) -> np.ndarray:
    """Resize a part of a picture; pixels around it contribute to its border.

    Args:
        picture: uint8 (h, w, channels), of 1, 3 or 4 channels; the fourth is alpha.
        size: (height, width) of the result, in pixels.
        interpolation: a key of `FILTERS`.
        box: (left, top, right, bottom) of the part, in pixels, inside the picture; None for all of it.

    Returns:
        uint8 (height, width, channels).

    Example:
        >>> resize(np.zeros((375, 500, 3), "uint8"), (224, 224), "bilinear", (86.0, 23.5, 414.0, 351.5)).shape
        (224, 224, 3)
    """
    box = box or (0, 0, picture.shape[1], picture.shape[0])
    if simd is None or picture.shape[2] == 4:
        return resize_by_pillow(picture, size, interpolation, box)
    return _resize_by_simd(picture, size, interpolation, box)


def resize_by_pillow(picture: np.ndarray, size: tuple[int, int], interpolation: str, box: Box) -> np.ndarray:
    """`resize` by Pillow, the reference."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return np.asarray(image.resize(size[::-1], FILTERS[interpolation], box)).reshape(*size, -1)


def _resize_by_simd(picture: np.ndarray, size: tuple[int, int], interpolation: str, box: Box) -> np.ndarray:
    (height, width), (left, top, right, bottom) = size, box
    filter_type, support = SIMD_FILTERS[interpolation]
    margin = ceil(support * max((bottom - top) / height, 1)) + 1
    first = max(int(top) - margin, 0)
    part = picture[first : ceil(bottom) + margin]  # the rows that contribute, as they are copied
    rows, columns, channels = part.shape
    kind = simd.PixelType.U8 if channels == 1 else simd.PixelType.U8x3
    source, narrow = simd.ImageData(columns, rows, kind, part.tobytes()), simd.ImageData(width, rows, kind)
    result, algorithm = simd.ImageData(width, height, kind), simd.ResizeAlg.convolution(filter_type)
    across, down = simd.CropBox(left, 0, right - left, rows), simd.CropBox(0, top - first, width, bottom - top)
    simd.Resizer().resize(source, narrow, simd.ResizeOptions(algorithm, crop_box=across))
    simd.Resizer().resize(narrow, result, simd.ResizeOptions(algorithm, crop_box=down))
    return np.frombuffer(result.get_buffer(), np.uint8).reshape(height, width, channels)
