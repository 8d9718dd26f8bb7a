"""A file's bytes to a picture: uint8 (height, width, channels), upright, RGB, grey, or RGB with alpha.

An ordinary JPEG is decoded by TensorFlow, inside the graph, all of it or a window, at the smallest of libjpeg's DCT
scales that still covers what is asked. Everything else goes through Pillow: other formats, JPEGs that not every decoder
reads alike, and all that is asked for with alpha. The format is told by content.
"""

import os

import numpy as np
import tensorflow as tf

from transferkit.data import pillow, segments
from transferkit.data.formats import opened, reason
from transferkit.data.ranges import is_range, read_bytes

BY_PILLOW = 0  # in place of an orientation


def orientation(data):
    """Of a JPEG that TensorFlow is to decode, the flips and turns 1..8 that set it upright; of other bytes 0."""
    turn = tf.numpy_function(_orientation, (data,), tf.int32, stateful=False)
    return tf.ensure_shape(turn, ())


def _orientation(data: bytes) -> np.int32:
    data = bytes_of(data)
    if not data.startswith(segments.JPEG) or not segments.is_ordinary(data):
        return np.int32(BY_PILLOW)
    if not segments.has_metadata(data):
        return np.int32(1)
    try:
        with opened(data) as image:
            return np.int32(pillow.orientation(image))
    except Exception:  # of an error TensorFlow would print the traceback; Pillow's reader says it again
        return np.int32(BY_PILLOW)


def bytes_of(data) -> bytes:
    """A string of a graph: bytes there, an array around them outside."""
    return np.asarray(data, object).item()


def upright(picture, turn):
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


def jpeg_window(data, window, scale, channels):
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


def within(window, shape):
    """The part of a window (y, x, height, width) that lies in a picture of `shape` (h, w)."""
    corner = tf.clip_by_value(window[:2], 0, shape)
    return tf.concat((corner, tf.clip_by_value(window[:2] + window[2:], 0, shape) - corner), 0)


def region(data, channels, choose, cover):
    """Decode a part of a picture.

    Args:
        data: scalar string, the file.
        channels: 1, 3 or 4.
        choose: window = choose(shape): from the upright (height, width) to (y, x, height, width), all int32. It may
            reach beyond the picture, but not lie beside it.
        cover: (height, width), or one number for both, that the window may not shrink below while it is decoded.

    Returns:
        uint8 (h, w, channels), upright: what lies within the picture of the window; the window; and the picture's
        shape. The window's part is h high and w wide, or it is divided by 2, 4 or 8 and rounded up.
    """

    def from_jpeg():
        stored = tf.io.extract_jpeg_shape(data)[:2]
        shape = tf.where(turn >= 5, stored[::-1], stored)
        window = choose(shape)
        scale, seen = covering_scale(window[2:], cover), within(window, shape)

        def turned():
            # scaled, the last pixels of an uneven side lie outside in part; here they would be first and shift the rest
            exact = tf.where(tf.reduce_all(shape % 8 == 0), scale, 0)
            return upright(jpeg_window(data, stored_window(seen, shape, turn), exact, channels), turn)

        return tf.cond(turn == 1, lambda: jpeg_window(data, seen, scale, channels), turned), window, shape

    def from_other():
        picture = tf.numpy_function(_pillow, (data, channels), tf.uint8, stateful=False)
        picture = tf.ensure_shape(picture, (None, None, channels))
        shape = tf.shape(picture)[:2]
        window = choose(shape)
        y, x, height, width = tf.unstack(within(window, shape))
        return picture[y : y + height, x : x + width], window, shape

    if channels == 4:
        picture, window, shape = from_other()
    else:
        turn = orientation(data)
        picture, window, shape = tf.cond(turn != BY_PILLOW, from_jpeg, from_other)
    return tf.ensure_shape(picture, (None, None, channels)), window, shape


def whole(data, channels, cover=2**20):
    """A whole picture, and its (height, width) before it shrank to no less than `cover`, as of `region`."""
    picture, _, shape = region(data, channels, everything, cover)
    return picture, shape


def everything(shape):
    """The window of a whole picture."""
    return tf.concat(((0, 0), shape), 0)


def _pillow(data: bytes, channels: int) -> np.ndarray:
    """`pillow.read`, but of what it does not read an empty vector, which the graph refuses.

    Of an error TensorFlow would print the traceback.
    """
    try:
        return pillow.read(bytes_of(data), int(channels))
    except Exception:
        return np.zeros(0, np.uint8)


def why_unreadable(path: str) -> str:
    """One line on why a picture that could not be decoded could not."""
    try:
        data = read_bytes(path)
        if not data:
            return "the file is empty"
        pillow.read(data, 3)
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        return reason(error)
    return "damaged"


def reader(paths):
    """The op from a path to its bytes: for plain files TensorFlow's own, which costs nothing extra."""
    return _read_range if any(map(is_range, paths)) else tf.io.read_file


def _read_range(path):
    data = tf.numpy_function(_bytes_or_none, (path,), tf.string, stateful=False)
    return tf.ensure_shape(data, ())


def _bytes_or_none(path) -> bytes:
    """What cannot be read is empty, which the decoder refuses; of an error TensorFlow prints the traceback."""
    try:
        return read_bytes(os.fsdecode(path))
    except OSError:
        return b""
