"""Draw the window of a picture that a training view shows: functions of its (height, width) and a seed.

Each returns int32 (y, x, height, width) inside the picture. Sizes are relative to the picture: a number of pixels from
a paper is exact for a network that sees 224 pixels, and the same fraction for any other.
"""

import math
from typing import Annotated

from transferkit.data import lazy_tensorflow as tf


def crop(shape, seed, area: Annotated[float, (0.01, 1)] = 0.08, aspect: Annotated[float, (1, 10)] = 4 / 3):
    """Draw a window of random area and shape, anywhere (Szegedy et al. 2014, section 6).

    Args:
        shape: (height, width) of the picture, int32.
        seed: stateless seed, int32 (2,).
        area: the smallest fraction of the picture's area; the largest is 1.
        aspect: width over height lies between 1 / aspect and aspect, log-uniformly.

    Returns:
        (y, x, height, width), int32. Where the drawn shape does not fit, it is cut to the picture.
    """
    fraction, ratio, down, across = tf.unstack(tf.random.stateless_uniform((4,), seed))
    height, width = tf.unstack(tf.cast(shape, tf.float32))
    surface = height * width * (area + fraction * (1.0 - area))
    ratio = tf.exp((2 * ratio - 1) * math.log(aspect))
    box = tf.minimum(tf.sqrt(tf.stack((surface / ratio, surface * ratio))), (height, width))
    box = tf.maximum(tf.cast(tf.round(box), tf.int32), 1)
    return _place(box, (0, 0), shape, (down, across))


def alexnet_crop(shape, seed):
    """Draw 224 pixels in the central 256 of a picture whose shorter side is 256 (Krizhevsky et al. 2012, 4.1)."""
    side = tf.reduce_min(shape)
    box = tf.maximum(tf.cast(tf.round(tf.cast(side, tf.float32) * (224 / 256)), tf.int32), 1)
    position = tf.unstack(tf.random.stateless_uniform((2,), seed))
    return _place(tf.stack((box, box)), (shape - side) // 2, tf.stack((side, side)), position)


def scale_crop(shape, seed, low: Annotated[float, (224, 2048)] = 256, high: Annotated[float, (224, 2048)] = 512):
    """Draw 224 pixels anywhere in a picture whose shorter side is drawn from [low, high].

    VGG draws from [256, 512] (Simonyan and Zisserman 2014, 3.1), ResNet from [256, 480] (He et al. 2015, section 3.4).
    """
    scale, down, across = tf.unstack(tf.random.stateless_uniform((3,), seed))
    side = tf.cast(tf.reduce_min(shape), tf.float32) * 224 / (low + scale * (high - low))
    box = tf.maximum(tf.cast(tf.round(side), tf.int32), 1)
    return _place(tf.stack((box, box)), (0, 0), shape, (down, across))


def _place(box, start, room, position):
    """Place a box (height, width) in an area `room` from `start` on, at fractions `position` of the free space."""
    corner = tf.cast(tf.stack(position) * tf.cast(room - box + 1, tf.float32), tf.int32)
    return tf.concat((start + tf.minimum(corner, room - box), box), 0)


WINDOWS = {step.__name__: step for step in (crop, alexnet_crop, scale_crop)}
