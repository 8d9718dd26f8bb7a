"""Decode a file's bytes in a graph: uint8 (height, width, channels), upright, grey, RGB or RGB with alpha.

Ordinary JPEGs are decoded by TensorFlow, whole or a window, at the smallest of libjpeg's DCT scales that is large
enough. Pillow decodes everything else: other formats, JPEGs that decoders read differently, and pictures with alpha.
The format is found by content.
"""

import os
from typing import NamedTuple

import numpy as np

from transferkit.data import file_segments, formats, pillow_reader
from transferkit.data import lazy_tensorflow as tf
from transferkit.data.file_ranges import is_range, read_bytes

BY_PILLOW = 0  # in place of an orientation


def read_orientation(data):
    """The Exif orientation 1..8 of a JPEG that TensorFlow decodes; `BY_PILLOW` for other bytes."""
    return tf.ensure_shape(tf.numpy_function(_read_orientation, (data,), tf.int32, stateful=False), ())


def _read_orientation(data: bytes) -> np.int32:
    data = as_bytes(data)
    frame = file_segments.ordinary_frame(data)
    if frame is None or not frame.has_metadata:
        return np.int32(1 if frame else BY_PILLOW)
    try:
        with formats.open_image(data) as image:
            return np.int32(pillow_reader.read_orientation(image))
    except Exception:  # TensorFlow would print the traceback; Pillow will raise it again
        return np.int32(BY_PILLOW)


def as_bytes(data) -> bytes:
    """The bytes of a string tensor: in a graph they are bytes, in eager mode an array around them."""
    return np.asarray(data, object).item()


def apply_orientation(picture, orientation):
    """Set a stored picture (height, width, channels) upright: transpose it, then flip it."""
    picture = tf.cond(orientation >= 5, lambda: tf.transpose(picture, (1, 0, 2)), lambda: picture)
    picture = tf.cond(_is_one_of(orientation, 2, 3, 6, 7), lambda: tf.reverse(picture, (1,)), lambda: picture)
    return tf.cond(_is_one_of(orientation, 3, 4, 7, 8), lambda: tf.reverse(picture, (0,)), lambda: picture)


def stored_window(window, shape, orientation):
    """Map a window (y, x, height, width) of the upright picture of `shape` (height, width) to the stored picture."""
    y, x, height, width = tf.unstack(window)
    y = tf.where(_is_one_of(orientation, 3, 4, 7, 8), shape[0] - y - height, y)
    x = tf.where(_is_one_of(orientation, 2, 3, 6, 7), shape[1] - x - width, x)
    return tf.where(orientation >= 5, tf.stack((x, y, width, height)), tf.stack((y, x, height, width)))


def _is_one_of(orientation, *values):
    return tf.reduce_any(tf.equal(orientation, values))


def decode_jpeg_window(data, window, scale, channels):
    """Decode a window (y, x, height, width) of a JPEG at the scale 1 / 2**`scale`, for a scale of 0 to 3.

    The accurate DCT gives exactly Pillow's pixels; the fast one differs in two of three.
    """

    def decode_at(exponent):
        ratio = 2**exponent
        box = tf.concat((window[:2] // ratio, -(-window[2:] // ratio)), 0)
        return tf.io.decode_and_crop_jpeg(data, box, channels=channels, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(scale, [lambda e=e: decode_at(e) for e in range(4)])


def covering_scale(size, target):
    """The largest exponent 0..3 at which `size` / 2**exponent is at least `target`: numbers, or pairs of them."""
    covers = tf.reshape(size, (-1, 1)) // (2, 4, 8) >= tf.reshape(tf.cast(target, tf.int32), (-1, 1))
    return tf.reduce_sum(tf.cast(tf.reduce_all(covers, 0), tf.int32))


def clip_window(window, shape):
    """The part of a window (y, x, height, width) that is inside a picture of `shape` (height, width)."""
    corner = tf.clip_by_value(window[:2], 0, shape)
    return tf.concat((corner, tf.clip_by_value(window[:2] + window[2:], 0, shape) - corner), 0)


class OpenedPicture(NamedTuple):
    """An opened file, before a window of its picture is chosen.

    Attributes:
        shape: (height, width) of the upright picture, int32.
        turn: 1 to 8 for a JPEG that TensorFlow will decode, else `BY_PILLOW`.
        picture: uint8 (height, width, channels) if Pillow has decoded it, else empty.
    """

    shape: "tf.Tensor"
    orientation: "tf.Tensor"
    picture: "tf.Tensor"


def open_picture(data, channels: int) -> OpenedPicture:
    """Open a file: read the header of a JPEG, decode any other file.

    Args:
        data: scalar string, the content of the file.
        channels: 1, 3 or 4.
    """

    def read_header():
        stored = tf.io.extract_jpeg_shape(data)[:2]
        return tf.where(orientation >= 5, stored[::-1], stored), tf.zeros((0, 0, channels), tf.uint8)

    def decode_by_pillow():
        picture = tf.numpy_function(_decode_by_pillow, (data, channels), tf.uint8, stateful=False)
        picture = tf.ensure_shape(picture, (None, None, channels))
        return tf.shape(picture)[:2], picture

    orientation = tf.constant(BY_PILLOW) if channels == 4 else read_orientation(data)
    is_jpeg = orientation != BY_PILLOW
    shape, picture = decode_by_pillow() if channels == 4 else tf.cond(is_jpeg, read_header, decode_by_pillow)
    return OpenedPicture(tf.ensure_shape(shape, (2,)), orientation, tf.ensure_shape(picture, (None, None, channels)))


def decode_window(data, opened: OpenedPicture, window, cover):
    """Decode a window of a picture.

    Args:
        data: scalar string, the content of the file.
        opened: the same file, by `open_picture`.
        window: int32 (y, x, height, width) in the upright picture. It may reach beyond the picture; if it is outside,
            a single pixel is decoded.
        cover: (height, width), or one number for both: the decoded window is not smaller than this, unless the window
            itself is.

    Returns:
        uint8 (height, width, channels), upright: the part of the window inside the picture, at full size or divided by
        2, 4 or 8 and rounded up.
    """
    shape, orientation, picture = opened
    channels, inside = picture.shape[2], clip_window(window, shape)
    inside = tf.cond(tf.reduce_all(inside[2:] > 0), lambda: inside, lambda: tf.constant((0, 0, 1, 1)))

    def decode_jpeg():
        scale = covering_scale(window[2:], cover)

        def decode_upright():
            # the last scaled pixel of a size not divisible by 8 is partly outside; flipped, it would shift the others
            exact = tf.where(tf.reduce_all(shape % 8 == 0), scale, 0)
            stored = stored_window(inside, shape, orientation)
            return apply_orientation(decode_jpeg_window(data, stored, exact, channels), orientation)

        return tf.cond(orientation == 1, lambda: decode_jpeg_window(data, inside, scale, channels), decode_upright)

    def crop_decoded():
        y, x, height, width = tf.unstack(inside)
        return picture[y : y + height, x : x + width]

    part = crop_decoded() if channels == 4 else tf.cond(orientation != BY_PILLOW, decode_jpeg, crop_decoded)
    return tf.ensure_shape(part, (None, None, channels))


def decode_whole(data, channels, cover=2**20):
    """Decode a whole picture, scaled down to no less than `cover`; returns it and its (height, width) at full size."""
    opened = open_picture(data, channels)
    return decode_window(data, opened, tf.concat(((0, 0), opened.shape), 0), cover), opened.shape


def _decode_by_pillow(data: bytes, channels: int) -> np.ndarray:
    """`pillow_reader.read_picture`, but an empty vector for an unreadable file, which fails in the graph.

    TensorFlow would print the traceback of an error.
    """
    try:
        return pillow_reader.read_picture(as_bytes(data), int(channels))
    except Exception:
        return np.zeros(0, np.uint8)


def explain_unreadable(path: str) -> str:
    """Explain in one line why a picture could not be decoded."""
    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        return formats.error_reason(error)
    return explain_undecodable(data) or formats.UNCERTAIN


def explain_undecodable(data: bytes) -> str:
    """Explain in one line why the bytes of a file cannot be decoded; "" if they can."""
    if not data:
        return "the file is empty"
    try:
        pillow_reader.read_picture(data, 3)
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        return formats.error_reason(error)
    return ""


def choose_reader(paths):
    """Choose the op from a path to the bytes of its file, for pictures that were scanned before.

    TensorFlow's own op is used for plain files: a Python call for each picture makes training a fifth slower.
    """
    return read_file if any(map(is_range, paths)) else tf.io.read_file


def read_file(path):
    """Op from a path to the bytes of its file or range; empty if it cannot be read."""
    return tf.ensure_shape(tf.numpy_function(_read_or_empty, (path,), tf.string, stateful=False), ())


def _read_or_empty(path) -> bytes:
    """No bytes, which no decoder accepts, if it cannot be read: TensorFlow would print the traceback of an error."""
    try:
        return read_path(path)
    except (OSError, ValueError):
        return b""


def read_path(path) -> bytes:
    """`file_ranges.read_bytes` for a string tensor."""
    return read_bytes(os.fsdecode(as_bytes(path)))
