"""From decoded pictures to what a network sees."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from transferkit.data import decode
from transferkit.pixels import Pixels

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

CENTRE = ((0.5, 0.5),)  # shares of the room above and to the left of a crop
FIVE = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))


def _covering(size, room):
    """As torchvision resizes for a centre crop: the longer side is truncated."""
    axis = np.argmax(room / size)
    resized = size * room[axis] // size[axis]
    return resized, resized


def _stretched(size, room):
    return room, room


def _contained(size, room):
    """As `ImageOps.pad` of Pillow has it: rounded, half to even."""
    axis = np.argmin(room / size)
    return np.maximum(np.round(size / size[axis] * room[axis]), 1).astype(int), room


def _as_drawn(choose):
    return choose


def _drawn_in_its_shape(choose):
    """A window drawn in a square, which the picture is stretched from: of all of it, all of the picture."""

    def window(shape):
        square = tf.repeat(tf.reduce_max(shape), 2)
        return _scaled(choose(square), square, shape)

    return window


def _drawn_on_its_ground(choose):
    """A window drawn in the square that the picture is padded to, moved where it shows more padding than it must."""

    def window(shape):
        square = tf.repeat(tf.reduce_max(shape), 2)
        drawn = choose(square)
        corner, free = drawn[:2] - (square - shape) // 2, shape - drawn[2:]
        return tf.concat((tf.clip_by_value(corner, tf.minimum(free, 0), tf.maximum(free, 0)), drawn[2:]), 0)

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
        return _scaled(drawn(square), square, shape)

    return window


def _scaled(window, shape, other):
    """The same window of a picture that has another shape."""
    start, size = (tf.cast(pair, tf.int64) * tf.cast(other, tf.int64) for pair in (window[:2], window[2:]))
    start, size = (tf.cast(pair // tf.cast(shape, tf.int64), tf.int32) for pair in (start, size))
    return tf.concat((start, tf.maximum(size, 1)), 0)


class Fit(NamedTuple):
    """One way to fill what the network sees.

    Attributes:
        resized: of a picture's (height, width) and the room there is, the one it is resized to and that of the ground
            it then lies on, centred: both whole numbers. Crops are cut out of the ground.
        trims: whether the one view of evaluation, too, is cut out of a larger ground.
        window: from a function that draws a window in a (height, width) to one that draws it in a picture, beyond
            which it may reach.
        uneven: whether such a window may be of any shape, so that one side shrinks by much and the other does not.
    """

    resized: Callable
    trims: bool
    window: Callable
    uneven: bool


FITS = {
    "crop": Fit(_covering, True, _as_drawn, False),
    "squash": Fit(_stretched, False, _drawn_in_its_shape, True),
    "pad": Fit(_contained, False, _drawn_on_its_ground, False),
}


def evaluation_view(data, pixels: Pixels):
    """The one view of a picture outside training, as `pixels.fit` has it, antialiased.

    By default: shorter side to `pixels.resize`, centre `pixels.crop`. Pillow resizes, as for torchvision: to the same
    bytes but for one in a thousand, which differ by 1, and in less time than TensorFlow's antialiasing. Large JPEGs are
    first decoded at a DCT scale that leaves at least twice what is needed.

    Returns:
        uint8 (height, width, channels).
    """
    return evaluation_views(data, pixels, CENTRE)[0]


def evaluation_views(data, pixels: Pixels, places):
    """Several crops of a resized picture, at `places`: `CENTRE`, or `FIVE` as torchvision's FiveCrop has them.

    Returns:
        uint8 (places, height, width, channels).
    """
    whole = _window(decode.everything, pixels)
    picture, _, size = decode.region(data, pixels.channels, whole, cover=2 * _room(pixels, places))
    cut = partial(crops, pixels=pixels, places=places)
    views = tf.numpy_function(cut, (picture, size), tf.uint8, stateful=False)
    return tf.ensure_shape(views, (len(places), *pixels.shape, pixels.channels))


def crops(picture, size, pixels: Pixels, places):
    """Crops of a picture (h, w, channels), whose (height, width) was `size` before a DCT scale of 1 to 1/8."""
    sides, shape = np.array(picture.shape[:2]), np.array(pixels.shape)
    resized, ground = FITS[pixels.fit].resized(size, _room(pixels, places))
    step = size / -(-size // sides) / resized  # pixels of the picture for one of the view
    image = Image.fromarray(picture if pixels.channels > 1 else picture[..., 0])
    views = np.empty((len(places), *shape, pixels.channels), np.uint8)
    views[:] = pixels.background
    for view, place in zip(views, places, strict=True):
        # as torchvision and Pillow: corners are rounded half to even
        corner = np.round((ground - shape) * np.array(place)) - np.round((ground - resized) / 2)
        start, end = np.maximum(corner, 0), np.minimum(corner + shape, resized)
        if (end <= start).any():  # a corner of much background
            continue
        (top, left), (bottom, right) = start * step, np.minimum(end * step, sides)
        (y, x), (height, width) = (start - corner).astype(int), (end - start).astype(int)
        part = image.resize((width, height), FILTERS[pixels.interpolation], (left, top, right, bottom))
        view[y : y + height, x : x + width] = np.asarray(part).reshape(height, width, -1)
    return views


def _room(pixels: Pixels, places) -> np.ndarray:
    """(height, width) that the whole picture is fitted to."""
    larger = FITS[pixels.fit].trims or len(places) > 1
    return np.array(pixels.uncropped if larger else pixels.shape)


def training_view(data, pixels: Pixels, choose):
    """A window of the picture that `choose` picks (see `decode.region`), by `pixels.fit`, resized to what is seen.

    Decoded at a scale that leaves less than a factor of two, so a plain bilinear resize does not alias; what cannot
    be decoded smaller and shrinks more is antialiased.

    Returns:
        uint8 (height, width, channels).
    """
    fit, shape = FITS[pixels.fit], pixels.shape
    picture, window, size = decode.region(data, pixels.channels, _window(choose, pixels), cover=shape)
    reaches_beyond = tf.reduce_any(decode.within(window, size) != window)
    picture = tf.cond(reaches_beyond, lambda: _on_ground(picture, window, size, pixels), lambda: picture)
    shrinks = tf.shape(picture)[:2] > 2 * np.array(shape)
    view = tf.cond(
        tf.reduce_any(shrinks) if fit.uneven else tf.reduce_all(shrinks),
        lambda: tf.image.resize(picture, shape, antialias=True),
        lambda: tf.image.resize(picture, shape),
    )
    # rounded by the cast; bilinear values stay within 0..255, so there is nothing to cut, which would take as long
    return tf.ensure_shape(tf.cast(view + 0.5, tf.uint8), (*shape, pixels.channels))


def _on_ground(picture, window, size, pixels: Pixels):
    """The part of a window that lies in a picture, with the background where it reaches beyond."""
    seen = decode.within(window, size)
    scale = tf.cast(tf.shape(picture)[:2], tf.float32) / tf.cast(seen[2:], tf.float32)
    beyond = (seen[:2] - window[:2], window[:2] + window[2:] - seen[:2] - seen[2:])  # above and left, below and right
    margins = [tf.cast(tf.round(tf.cast(pair, tf.float32) * scale), tf.int32) for pair in beyond]
    margins = tf.concat((tf.stack(margins, 1), tf.zeros((1, 2), tf.int32)), 0)
    ground = tf.constant(pixels.background, tf.uint8)
    return tf.pad(picture - ground, margins) + ground  # bytes wrap around, so what is subtracted comes back
