"""From decoded pictures to the square a network sees."""

from functools import partial

import numpy as np
import tensorflow as tf
from PIL import Image

from transferkit.data import decode
from transferkit.pixels import Pixels

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def evaluation_view(data, pixels: Pixels):
    """The one view of a picture outside training: shorter side to `pixels.resize`, antialiased; centre `pixels.crop`.

    Pillow resizes, as for torchvision: to the same bytes but for one in a thousand, which differ by 1, and in less time
    than TensorFlow's antialiasing. Large JPEGs are first decoded at a DCT scale that leaves at least twice the side.

    Returns:
        uint8 (crop, crop, channels).
    """
    picture, size = decode.whole(data, pixels.channels, cover=2 * pixels.resize)
    view = tf.numpy_function(partial(_centre, pixels=pixels), (picture, size), tf.uint8, stateful=False)
    return tf.ensure_shape(view, (pixels.crop, pixels.crop, pixels.channels))


def _centre(picture, size, pixels: Pixels):
    """The centre of a picture whose (height, width) was `size` before decoding shrank it by 1, 2, 4 or 8."""
    sides = np.array(picture.shape[:2])
    # as torchvision: the longer side is truncated, the crop's corner rounded half to even
    resized = size * pixels.resize // size.min()
    corner = np.round((resized - pixels.crop) / 2)
    step = size / -(-size // sides) / resized  # pixels of the picture for one of the view
    (top, left), (bottom, right) = corner * step, np.minimum((corner + pixels.crop) * step, sides)
    image = Image.fromarray(picture if pixels.channels > 1 else picture[..., 0])
    view = image.resize((pixels.crop, pixels.crop), FILTERS[pixels.interpolation], (left, top, right, bottom))
    return np.asarray(view).reshape(pixels.crop, pixels.crop, pixels.channels)


def training_view(data, pixels: Pixels, choose):
    """A window of the picture that `choose` picks (see `decode.region`), resized to the square.

    Decoded at a scale that leaves less than a factor of two, so a plain bilinear resize does not alias; what cannot
    be decoded smaller and shrinks more is antialiased.

    Returns:
        uint8 (crop, crop, channels).
    """
    side = pixels.crop
    picture, _ = decode.region(data, pixels.channels, choose, cover=side)
    view = tf.cond(
        tf.reduce_min(tf.shape(picture)[:2]) > 2 * side,
        lambda: tf.image.resize(picture, (side, side), antialias=True),
        lambda: tf.image.resize(picture, (side, side)),
    )
    # rounded by the cast; bilinear values stay within 0..255, so there is nothing to cut, which would take as long
    return tf.ensure_shape(tf.cast(view + 0.5, tf.uint8), (side, side, pixels.channels))
