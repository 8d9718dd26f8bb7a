"""A file's bytes to a picture: uint8 (height, width, channels), upright, RGB, grey, or RGB with alpha.

An ordinary JPEG is decoded by TensorFlow, inside the graph, all of it or a window, at the smallest of libjpeg's DCT
scales that still covers what is asked. Everything else goes through Pillow: other formats, JPEGs that not every decoder
reads alike, and all that is asked for with alpha. The format is told by content.
"""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from transferkit.data import file_segments, formats, pillow_reader
from transferkit.data.file_ranges import is_range, read_bytes

BY_PILLOW = 0  # in place of an orientation


def read_orientation(data):
    """Of a JPEG that TensorFlow is to decode, the flips and turns 1..8 that set it upright; of other bytes 0."""
    turn = tf.numpy_function(_orientation, (data,), tf.int32, stateful=False)
    return tf.ensure_shape(turn, ())


def _orientation(data: bytes) -> np.int32:
    data = as_bytes(data)
    if not data.startswith(file_segments.JPEG) or not file_segments.is_ordinary(data):
        return np.int32(BY_PILLOW)
    if not file_segments.has_metadata(data):
        return np.int32(1)
    try:
        with formats.open_image(data) as image:
            return np.int32(pillow_reader.read_orientation(image))
    except Exception:  # of an error TensorFlow would print the traceback; Pillow's reader says it again
        return np.int32(BY_PILLOW)


def as_bytes(data) -> bytes:
    """A string of a graph: bytes there, an array around them outside."""
    return np.asarray(data, object).item()


def apply_orientation(picture, turn):
    """Apply an Exif orientation to a stored picture (h, w, c): a transposition, then the flips."""
    picture = tf.cond(turn >= 5, lambda: tf.transpose(picture, (1, 0, 2)), lambda: picture)
    picture = tf.cond(_in(turn, 2, 3, 6, 7), lambda: tf.reverse(picture, (1,)), lambda: picture)
    return tf.cond(_in(turn, 3, 4, 7, 8), lambda: tf.reverse(picture, (0,)), lambda: picture)


def stored_window(window, shape, turn):
    """Where a window (y, x, height, width) of the upright picture of `shape` (h, w) lies in the stored one."""
    y, x, height, width = tf.unstack(window)
    y = tf.where(_in(turn, 3, 4, 7, 8), shape[0] - y - height, y)
    x = tf.where(_in(turn, 2, 3, 6, 7), shape[1] - x - width, x)
    return tf.where(turn >= 5, tf.stack((x, y, width, height)), tf.stack((y, x, height, width)))


def _in(turn, *turns):
    return tf.reduce_any(tf.equal(turn, turns))


def decode_jpeg_window(data, window, scale, channels):
    """Decode a window (y, x, height, width) of a JPEG at 1/1, 1/2, 1/4 or 1/8: `scale` is the exponent 0..3.

    The accurate DCT gives Pillow's very pixels; the fast one differs in two of three.
    """

    def at(exponent):
        ratio = 2**exponent
        box = tf.concat((window[:2] // ratio, -(-window[2:] // ratio)), 0)
        return tf.io.decode_and_crop_jpeg(data, box, channels=channels, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(scale, [lambda e=e: at(e) for e in range(4)])


def covering_scale(side, target):
    """The largest exponent 0..3 at which `side` / 2**exponent is still at least `target`: numbers, or pairs of them."""
    covers = tf.reshape(side, (-1, 1)) // (2, 4, 8) >= tf.reshape(tf.cast(target, tf.int32), (-1, 1))
    return tf.reduce_sum(tf.cast(tf.reduce_all(covers, 0), tf.int32))


def clip_window(window, shape):
    """The part of a window (y, x, height, width) that lies in a picture of `shape` (h, w)."""
    corner = tf.clip_by_value(window[:2], 0, shape)
    return tf.concat((corner, tf.clip_by_value(window[:2] + window[2:], 0, shape) - corner), 0)


class OpenedPicture(NamedTuple):
    """A file before a part of its picture is chosen.

    Attributes:
        shape: (height, width) of the upright picture, int32.
        turn: orientation of a JPEG that TensorFlow is to decode, else `BY_PILLOW`.
        picture: (height, width, channels), uint8, of what Pillow has decoded; of others it is empty.
    """

    shape: tf.Tensor
    orientation: tf.Tensor
    picture: tf.Tensor


def open_picture(data, channels: int) -> OpenedPicture:
    """Read the header of a JPEG, and all of any other file.

    Args:
        data: scalar string, the file.
        channels: 1, 3 or 4.
    """

    def jpeg():
        stored = tf.io.extract_jpeg_shape(data)[:2]
        return tf.where(turn >= 5, stored[::-1], stored), tf.zeros((0, 0, channels), tf.uint8)

    def other():
        picture = tf.numpy_function(_pillow, (data, channels), tf.uint8, stateful=False)
        picture = tf.ensure_shape(picture, (None, None, channels))
        return tf.shape(picture)[:2], picture

    turn = tf.constant(BY_PILLOW) if channels == 4 else read_orientation(data)
    shape, picture = other() if channels == 4 else tf.cond(turn != BY_PILLOW, jpeg, other)
    return OpenedPicture(tf.ensure_shape(shape, (2,)), turn, tf.ensure_shape(picture, (None, None, channels)))


def decode_window(data, opened: OpenedPicture, window, cover):
    """Decode a part of a picture.

    Args:
        data: scalar string, the file.
        opened: of it, by `open_picture`.
        window: (y, x, height, width) of the upright picture, int32. It may reach beyond; of one that lies beside, a
            single pixel is decoded.
        cover: (height, width), or one number for both, that the window may not shrink below while it is decoded.

    Returns:
        uint8 (h, w, channels), upright: what lies within the picture of the window. It is h high and w wide, or
        divided by 2, 4 or 8 and rounded up.
    """
    shape, turn, picture = opened
    channels, seen = picture.shape[2], clip_window(window, shape)
    seen = tf.cond(tf.reduce_all(seen[2:] > 0), lambda: seen, lambda: tf.constant((0, 0, 1, 1)))

    def jpeg():
        scale = covering_scale(window[2:], cover)

        def turned():
            # scaled, the last pixels of an uneven side lie outside in part; here they would be first and shift the rest
            exact = tf.where(tf.reduce_all(shape % 8 == 0), scale, 0)
            return apply_orientation(decode_jpeg_window(data, stored_window(seen, shape, turn), exact, channels), turn)

        return tf.cond(turn == 1, lambda: decode_jpeg_window(data, seen, scale, channels), turned)

    def other():
        y, x, height, width = tf.unstack(seen)
        return picture[y : y + height, x : x + width]

    part = other() if channels == 4 else tf.cond(turn != BY_PILLOW, jpeg, other)
    return tf.ensure_shape(part, (None, None, channels))


def decode_whole(data, channels, cover=2**20):
    """A whole picture, and its (height, width) before it shrank to no less than `cover`, as of `cut`."""
    opened = open_picture(data, channels)
    return decode_window(data, opened, tf.concat(((0, 0), opened.shape), 0), cover), opened.shape


def _pillow(data: bytes, channels: int) -> np.ndarray:
    """`pillow_reader.read`, but of what it does not read an empty vector, which the graph refuses.

    Of an error TensorFlow would print the traceback.
    """
    try:
        return pillow_reader.read_picture(as_bytes(data), int(channels))
    except Exception:
        return np.zeros(0, np.uint8)


def explain_unreadable(path: str) -> str:
    """One line on why a picture that could not be decoded could not."""
    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        return formats.error_reason(error)
    return explain_undecodable(data) or formats.UNCERTAIN


def explain_undecodable(data: bytes) -> str:
    """One line on why the bytes of a file are no picture; "" where they are one."""
    if not data:
        return "the file is empty"
    try:
        pillow_reader.read_picture(data, 3)
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        return formats.error_reason(error)
    return ""


def choose_reader(paths):
    """The op from a path to the bytes of its file, of pictures that were looked at before: for plain files TensorFlow's
    own, for a call of Python in each step of training costs a fifth of the pictures."""
    return read_file if any(map(is_range, paths)) else tf.io.read_file


def read_file(path):
    """The op from any path to the bytes of its file."""
    return tf.ensure_shape(tf.numpy_function(_bytes_or_none, (path,), tf.string, stateful=False), ())


def _bytes_or_none(path) -> bytes:
    """Empty, which no decoder takes, where it cannot be read: of an error TensorFlow would print the traceback."""
    try:
        return read_path(path)
    except (OSError, ValueError):
        return b""


def read_path(path) -> bytes:
    """What `file_ranges.read_bytes` reads, of a path in a graph."""
    return read_bytes(os.fsdecode(as_bytes(path)))
