"""Scale pixels of more than 8 bits to 0..255, by the range that the file declares, or by the values."""

import numpy as np
from PIL import Image

from transferkit.data import file_segments
from transferkit.data.formats import open_image

BITS = (8, 10, 12, 14, 16)  # of cameras, scanners and microscopes
TOLERANCE = 0.01  # fraction of the range: resampling and rounding may exceed it by this
DARKEST = 16  # a maximum of floats between 1 and this is ambiguous, except of whole numbers from 0 up
BITS_PER_SAMPLE, PHOTOMETRIC, MAX_SAMPLE_VALUE, SAMPLE_FORMAT = 258, 262, 281, 339  # tags of TIFF
STORED_TYPES = {(16, 2): np.int16, (32, 1): np.uint32}  # by bits and sample format
WHITE_IS_ZERO = 0  # a photometric interpretation
BRIGHT = 64  # an upper byte from here on is that of a value of more than 14 bits
LOWER_BYTE = {  # by Pillow's raw mode of 16 bits, the raw mode that reads the lower byte of the same values
    **{f"{mode};16B": f"{mode};16L" for mode in ("RGB", "RGBA", "RGBX")},
    **{f"{mode};16L": f"{mode};16B" for mode in ("RGB", "RGBA", "RGBX")},
    **{f"{mode};16N": f"{mode};16{'B' if np.little_endian else 'L'}" for mode in ("RGB", "RGBA", "RGBX")},
}
EXPECTED = "expected 0..1, 0..255 or 0..65,535, so that it is known which value is white"


def to_8_bits(image: Image.Image, data: bytes) -> tuple[Image.Image, int]:
    """Load a picture with pixels of 8 bits.

    Args:
        image: an opened picture.
        data: the content of its file.

    Returns:
        The picture, and its white level: the value that became 255, or 0 if Pillow reads it in 8 bits.

    Raises:
        ValueError: the white level is ambiguous.
    """
    raw = [_raw_mode(tile) for tile in getattr(image, "tile", ())]  # none of a picture that was not opened
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_grey(image, data)
    if len(set(raw)) == 1 and (raw[0] in LOWER_BYTE or raw[0] == "LA;16B"):
        return _scale_colours(image, data, raw[0])
    return image, 0


def find_white_level(values: np.ndarray, declared: int = 0) -> int:
    """Find the value that stands for white: 1, or 2**n - 1.

    Args:
        values: of a picture, whole numbers or floats.
        declared: the white level in the file, 0 if there is none; ignored if a value is above it.

    Raises:
        ValueError: the white level is ambiguous.
    """
    least, most = values.min(), values.max()
    if not np.isfinite((least, most)).all():
        raise ValueError(f"its values hold NaN or infinity: {EXPECTED}")
    if declared and least >= 0 and most <= declared:
        return declared
    if values.dtype.kind == "f":
        tops = [top for top in (1, 255, 65535) if -TOLERANCE * top <= least and most <= (1 + TOLERANCE) * top]
        if tops[:1] != [1] and most < DARKEST and (least < 0 or (values != np.round(values)).any()):
            tops = []
    else:
        full = int(np.iinfo(values.dtype).max)  # for types of more than 16 bits, only if half of the range is used
        tops = [2**bits - 1 for bits in BITS if 2**bits - 1 <= full] + [full] * bool(most > full // 2)
        tops = [top for top in tops if least >= 0 and most <= top]
    if not tops:
        raise ValueError(f"its values are {least:,.6g} to {most:,.6g}: {EXPECTED}")
    return tops[0]


def as_uint8(array: np.ndarray) -> np.ndarray | None:
    """Convert whole numbers from 0 to 255 to uint8; None for other values, or if the range may be 0..1."""
    if array.dtype == np.uint8 or not array.size or array.dtype.kind not in "iuf":
        return array if array.dtype == np.uint8 else None
    most = array.max()
    if not (array.min() >= 0 and 1 < most <= 255 and (array == np.round(array)).all()):
        return None
    return array.astype(np.uint8)


def scaling_advice(array: np.ndarray) -> str:
    """The end of a message: how to scale an array that `as_uint8` refuses to 0..255."""
    try:
        top = find_white_level(array)
    except (ValueError, TypeError):
        return ""
    return f"; if 0..{top:,} is black to white, (x * {255 / top:.6g}).round().clip(0, 255).astype('uint8') makes it so"


def _scale(values: np.ndarray, top: int) -> np.ndarray:
    """Scale 0..`top` to 0..255, rounded."""
    return (np.clip(values * np.float32(255 / top), 0, 255) + np.float32(0.5)).astype(np.uint8)


def _scale_grey(image: Image.Image, data: bytes) -> tuple[Image.Image, int]:
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    stored = STORED_TYPES.get((_first(tags, BITS_PER_SAMPLE), _first(tags, SAMPLE_FORMAT, 1)))
    values = values.astype(stored) if stored else values  # Pillow reads them as int32
    top = find_white_level(values, _declared_white_level(image, data, tags))
    scaled = Image.fromarray(_scale(values, top))
    if _first(tags, PHOTOMETRIC, 1) == WHITE_IS_ZERO:
        scaled = scaled.point(lambda value: 255 - value)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled = Image.merge("LA", (scaled, Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))))
    return scaled, top


def _declared_white_level(image: Image.Image, data: bytes, tags) -> int:
    """The white level of a TIFF (its tags) or PNG (sBIT), 0 if not declared. Pillow scales PPM and JPEG 2000 itself."""
    if image.format in ("PPM", "JPEG2000") and image.mode != "F":
        return 65535
    bits = file_segments.significant_bits(data) if image.format == "PNG" else _first(tags, BITS_PER_SAMPLE)
    most = _first(tags, MAX_SAMPLE_VALUE)
    if most in [2**depth - 1 for depth in range(8, 17)]:
        return most
    return 2**bits - 1 if 8 < bits < 16 else 0


def _first(tags, tag: int, default: int = 0):
    """The first value of a tag of TIFF."""
    value = tags.get(tag, default)
    return value[0] if isinstance(value, tuple) and value else value


def _scale_colours(image: Image.Image, data: bytes, raw: str) -> tuple[Image.Image, int]:
    """Scale colours of 16 bits. Pillow reads their upper byte; if all are dark, the lower one is read too."""
    upper = np.asarray(image)
    colours = upper.shape[2] if image.mode == "RGB" else upper.shape[2] - 1
    if upper[..., :colours].max() >= BRIGHT:
        return image, 65535
    with open_image(data) as again:
        again.tile = [tile._replace(args=_with_raw_mode(tile.args, LOWER_BYTE.get(raw, "RGBA"))) for tile in again.tile]
        lower = np.asarray(again)
    if raw not in LOWER_BYTE:  # grey and alpha of two bytes each, read as four channels
        lower = lower[..., (1, 1, 1, 3)]
    values = upper.astype(np.uint16) << 8 | lower
    top = find_white_level(values[..., :colours], _declared_white_level(image, data, getattr(image, "tag_v2", {})))
    return Image.fromarray(_scale(values, top)), top


def _raw_mode(tile) -> str:
    return tile.args if isinstance(tile.args, str) else next(iter(tile.args or ()), "")


def _with_raw_mode(args, raw: str):
    return raw if isinstance(args, str) else (raw, *args[1:])
