"""From decoded pictures to what a network sees."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from transferkit.data import decode, pillow_reader, pipeline_errors
from transferkit.pixels import Pixels

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

CENTRE = ((0.5, 0.5),)  # shares of the room above and to the left of a crop
FIVE = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))


def _covering(size, target):
    """As torchvision resizes for a centre crop: the longer side is truncated."""
    axis = np.argmax(target / size)
    resized = size * target[axis] // size[axis]
    return resized, resized


def _stretched(size, target):
    return target, target


def _contained(size, target):
    """As `ImageOps.pad` of Pillow has it: rounded, half to even."""
    axis = np.argmin(target / size)
    return np.maximum(np.round(size / size[axis] * target[axis]), 1).astype(int), target


def _as_drawn(choose):
    return choose


def _drawn_in_its_shape(choose):
    """A window drawn in a square, which the picture is stretched from: of all of it, all of the picture."""

    def window(shape):
        square = tf.repeat(tf.reduce_max(shape), 2)
        return _scaled(choose(square), square, shape)

    return window


def _drawn_on_its_canvas(choose):
    """A window drawn in the square that the picture is padded to, moved where it shows more padding than it must."""

    def window(shape):
        square = tf.repeat(tf.reduce_max(shape), 2)
        drawn = choose(square)
        return _moved(tf.concat((drawn[:2] - (square - shape) // 2, drawn[2:]), 0), shape)

    return window


def _window(choose, pixels: Pixels):
    """The window of a picture that is drawn by `choose`, as its fit has it.

    What is no square is seen as if it were stretched to one, and the picture with it.
    """
    drawn, (height, width) = FITS[pixels.fit].window(choose), pixels.shape
    if height == width:
        return drawn

    def window(shape):
        square = tf.stack((shape[0], tf.maximum(shape[1] * height // width, 1)))
        return _moved(_scaled(drawn(square), square, shape), shape)

    return window


def _moved(window, shape):
    """The same window, moved where it reaches further beyond the picture than it must."""
    free = shape - window[2:]
    corner = tf.clip_by_value(window[:2], tf.minimum(free, 0), tf.maximum(free, 0))
    return tf.concat((corner, window[2:]), 0)


def _scaled(window, shape, other):
    """The same window of a picture that has another shape."""
    start, size = (tf.cast(pair, tf.int64) * tf.cast(other, tf.int64) for pair in (window[:2], window[2:]))
    start, size = (tf.cast(pair // tf.cast(shape, tf.int64), tf.int32) for pair in (start, size))
    return tf.concat((start, tf.maximum(size, 1)), 0)


class Fit(NamedTuple):
    """One way to fill what the network sees.

    Attributes:
        resized: (resized, canvas) = resized(size, target), all (height, width) in whole pixels: from a picture's size
            to the one it is resized to, and that of the canvas in whose centre it then lies. Crops are cut out of the
            canvas.
        centre_cut: whether a single view, too, is cut out of a larger canvas.
        window: window = window(choose): from a function that draws a window (y, x, height, width) in a rectangle
            (height, width) to one that draws it in a picture of that size. It may reach beyond the picture.
        uneven: whether such a window may have any shape, so that one side may shrink much more than the other.
    """

    resized: Callable
    centre_cut: bool
    window: Callable
    uneven: bool


FITS = {
    "crop": Fit(_covering, True, _as_drawn, False),
    "squash": Fit(_stretched, False, _drawn_in_its_shape, True),
    "pad": Fit(_contained, False, _drawn_on_its_canvas, False),
}


def evaluation_view(source, pixels: Pixels, load=decode.as_bytes):
    """The one view of a picture outside training, as `pixels.fit` has it, antialiased.

    By default: shorter side to `pixels.resize`, centre `pixels.crop`. Pillow decodes and resizes, as for torchvision:
    to the same bytes but for one in a thousand, which differ by 1, and in about the time of TensorFlow. Large JPEGs
    are decoded at a DCT scale that leaves at least twice what is needed.

    Args:
        source: a scalar string, the file's content.
        load: of another source, the Python function from it to the content, as `decode.bytes_at` of a path.

    Returns:
        uint8 (height, width, channels).
    """
    return evaluation_views(source, pixels, CENTRE, load)[0]


def evaluation_views(source, pixels: Pixels, places, load=decode.as_bytes):
    """Several crops of a resized picture, at `places`: `CENTRE`, or `FIVE` as torchvision's FiveCrop has them.

    Returns:
        uint8 (places, height, width, channels).
    """
    view = partial(_views, pixels=pixels, places=places, load=load)
    views = tf.numpy_function(view, (source,), tf.uint8, stateful=False)
    return tf.ensure_shape(views, (len(places), *pixels.shape, pixels.channels))


def _views(source, pixels: Pixels, places, load) -> np.ndarray:
    """`evaluation_views`; of what cannot be read an empty vector, which the graph refuses.

    Of an error TensorFlow would print the traceback.
    """
    target = _target(pixels, places)

    def least(size):
        return 2 * FITS[pixels.fit].resized(size, target)[0]

    try:
        picture, size = pillow_reader.read_shrunk(load(source), pixels.channels, least)
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        return np.zeros(0, np.uint8)
    return crops(picture, size, pixels, places)


@pipeline_errors.record_errors
def crops(image: Image.Image, size, pixels: Pixels, places):
    """Crops of a picture, whose (height, width) was `size` before a DCT scale of 1 to 1/8."""
    sides, shape = np.array(image.size[::-1]), np.array(pixels.shape)
    resized, canvas = FITS[pixels.fit].resized(size, _target(pixels, places))
    step = size / -(-size // sides) / resized  # pixels of the picture for one of the view
    views = np.empty((len(places), *shape, pixels.channels), np.uint8)
    views[:] = pixels.background
    for view, place in zip(views, places, strict=True):
        # as torchvision and Pillow: corners are rounded half to even
        corner = np.round((canvas - shape) * np.array(place)) - np.round((canvas - resized) / 2)
        start, end = np.maximum(corner, 0), np.minimum(corner + shape, resized)
        if (end <= start).any():  # a corner of much background
            continue
        (top, left), (bottom, right) = start * step, np.minimum(end * step, sides)
        (y, x), (height, width) = (start - corner).astype(int), (end - start).astype(int)
        part = image.resize((width, height), FILTERS[pixels.interpolation], (left, top, right, bottom))
        view[y : y + height, x : x + width] = np.asarray(part).reshape(height, width, -1)
    return views


def _target(pixels: Pixels, places) -> np.ndarray:
    """(height, width) that the whole picture is fitted to: what the network sees, or what that is cut out of."""
    larger = FITS[pixels.fit].centre_cut or len(places) > 1
    return np.array(pixels.uncropped if larger else pixels.shape)


def training_window(opened: decode.OpenedPicture, pixels: Pixels, choose):
    """The window (y, x, height, width) of a picture that `choose` picks, by `pixels.fit`.

    Args:
        choose: window = choose(shape), from the upright (height, width), all int32. It may reach beyond the picture.
    """
    return _window(choose, pixels)(opened.shape)


def training_view(picture, window, opened: decode.OpenedPicture, pixels: Pixels):
    """A window of a picture, resized to what is seen.

    It was decoded at a scale that leaves less than a factor of two, so a plain bilinear resize does not alias; what
    cannot be decoded smaller and shrinks more is antialiased.

    Args:
        picture: what lies within the picture of the window, by `decode.cut`.

    Returns:
        uint8 (height, width, channels).

    Raises:
        InvalidArgumentError: in the graph, where the window lies beside the picture.
    """
    fit, shape, size = FITS[pixels.fit], pixels.shape, opened.shape
    beside = tf.debugging.assert_positive(decode.clip_window(window, size)[2:], "A window lies beside its picture.")
    with tf.control_dependencies([beside] if beside is not None else []):
        picture = tf.identity(picture)
    reaches_beyond = tf.reduce_any(decode.clip_window(window, size) != window)
    picture = tf.cond(reaches_beyond, lambda: _padded(picture, window, size, pixels), lambda: picture)
    shrinks = tf.shape(picture)[:2] > 2 * np.array(shape)
    view = tf.cond(
        tf.reduce_any(shrinks) if fit.uneven else tf.reduce_all(shrinks),
        lambda: tf.image.resize(picture, shape, antialias=True),
        lambda: tf.image.resize(picture, shape),
    )
    # rounded by the cast; bilinear values stay within 0..255, so there is nothing to cut, which would take as long
    return tf.ensure_shape(tf.cast(view + 0.5, tf.uint8), (*shape, pixels.channels))


def _padded(picture, window, size, pixels: Pixels):
    """The part of a window that lies in a picture, with the background where it reaches beyond."""
    seen = decode.clip_window(window, size)
    scale = tf.cast(tf.shape(picture)[:2], tf.float32) / tf.cast(seen[2:], tf.float32)
    beyond = (seen[:2] - window[:2], window[:2] + window[2:] - seen[:2] - seen[2:])  # above and left, below and right
    margins = [tf.cast(tf.round(tf.cast(pair, tf.float32) * scale), tf.int32) for pair in beyond]
    margins = tf.concat((tf.stack(margins, 1), tf.zeros((1, 2), tf.int32)), 0)
    background = tf.constant(pixels.background, tf.uint8)
    return tf.pad(picture - background, margins) + background  # bytes wrap around, so what is subtracted comes back
