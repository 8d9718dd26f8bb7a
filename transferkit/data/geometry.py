"""From decoded pictures to the square a network sees."""

from functools import partial

import numpy as np
import tensorflow as tf
from PIL import Image

from transferkit.data import decode
from transferkit.pixels import Pixels

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

CENTRE = ((0.5, 0.5),)  # shares of the room above and to the left of a crop
FIVE = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))


def evaluation_view(data, pixels: Pixels):
    """The one view of a picture outside training: shorter side to `pixels.resize`, antialiased; centre `pixels.crop`.

    Pillow resizes, as for torchvision: to the same bytes but for one in a thousand, which differ by 1, and in less time
    than TensorFlow's antialiasing. Large JPEGs are first decoded at a DCT scale that leaves at least twice the side.

    Returns:
        uint8 (crop, crop, channels).
    """
    return evaluation_views(data, pixels, CENTRE)[0]


def evaluation_views(data, pixels: Pixels, places):
    """Several crops of a resized picture, at `places`: `CENTRE`, or `FIVE` as torchvision's FiveCrop has them.

    Returns:
        uint8 (places, crop, crop, channels).
    """
    picture, size = decode.whole(data, pixels.channels, cover=2 * pixels.resize)
    cut = partial(crops, pixels=pixels, places=places)
    views = tf.numpy_function(cut, (picture, size), tf.uint8, stateful=False)
    return tf.ensure_shape(views, (len(places), pixels.crop, pixels.crop, pixels.channels))


def crops(picture, size, pixels: Pixels, places):
    """Crops of a picture (h, w, channels), whose (height, width) was `size` before a DCT scale of 1 to 1/8."""
    sides = np.array(picture.shape[:2])
    # as torchvision: the longer side is truncated, the centre crop's corner rounded half to even
    resized = size * pixels.resize // size.min()
    image = Image.fromarray(picture if pixels.channels > 1 else picture[..., 0])
    views = []
    for place in places:
        corner = np.round((resized - pixels.crop) * np.array(place))
        step = size / -(-size // sides) / resized  # pixels of the picture for one of the view
        (top, left), (bottom, right) = corner * step, np.minimum((corner + pixels.crop) * step, sides)
        box = (left, top, right, bottom)
        views.append(np.asarray(image.resize((pixels.crop, pixels.crop), FILTERS[pixels.interpolation], box)))
    return np.stack(views).reshape(len(places), pixels.crop, pixels.crop, pixels.channels)


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
