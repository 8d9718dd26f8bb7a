"""Which part of a picture a training view shows: functions of its (height, width) and a seed, before it is decoded.

Each returns (y, x, height, width), int32, within the picture. Sides are shares of the picture's own, so a number of
pixels from a paper means what it says for a network that sees 224, and the same share for any other.
"""

import math

import tensorflow as tf


def crop(shape, seed, area: (0.01, 1) = 0.08, aspect: (1, 10) = 4 / 3):
    """A window of random area and shape (Szegedy et al. 2014, section 6), placed anywhere.

    Args:
        shape: (height, width) of the picture, int32.
        seed: stateless seed, int32 (2,).
        area: the least share of the picture's area; the most is 1.
        aspect: width over height lies between 1 / aspect and aspect, evenly in its logarithm.

    Returns:
        (y, x, height, width), int32. Where the drawn shape does not fit, it is cut to the picture.
    """
    share, ratio, down, across = tf.unstack(tf.random.stateless_uniform((4,), seed))
    height, width = tf.unstack(tf.cast(shape, tf.float32))
    surface = height * width * (area + share * (1.0 - area))
    ratio = tf.exp((2 * ratio - 1) * math.log(aspect))
    box = tf.minimum(tf.sqrt(tf.stack((surface / ratio, surface * ratio))), (height, width))
    box = tf.maximum(tf.cast(tf.round(box), tf.int32), 1)
    return _placed(box, (0, 0), shape, (down, across))


def alexnet_crop(shape, seed):
    """224 pixels anywhere in the central 256 of a picture whose shorter side is 256 (Krizhevsky et al. 2012, 4.1)."""
    side = tf.reduce_min(shape)
    box = tf.maximum(tf.cast(tf.round(tf.cast(side, tf.float32) * (224 / 256)), tf.int32), 1)
    places = tf.unstack(tf.random.stateless_uniform((2,), seed))
    return _placed(tf.stack((box, box)), (shape - side) // 2, tf.stack((side, side)), places)


def scale_crop(shape, seed, low: (224, 2048) = 256, high: (224, 2048) = 512):
    """224 pixels anywhere in a picture whose shorter side is drawn from [low, high] (Simonyan and Zisserman 2014, 3.1).

    VGG draws from [256, 512], ResNet from [256, 480] (He et al. 2015, section 3.4).
    """
    scale, down, across = tf.unstack(tf.random.stateless_uniform((3,), seed))
    side = tf.cast(tf.reduce_min(shape), tf.float32) * 224 / (low + scale * (high - low))
    box = tf.maximum(tf.cast(tf.round(side), tf.int32), 1)
    return _placed(tf.stack((box, box)), (0, 0), shape, (down, across))


def _placed(box, start, room, places):
    """The window of a box (height, width) in `room` from `start` on, at shares `places` of what is free."""
    corner = tf.cast(tf.stack(places) * tf.cast(room - box + 1, tf.float32), tf.int32)
    return tf.concat((start + tf.minimum(corner, room - box), box), 0)


WINDOWS = {step.__name__: step for step in (crop, alexnet_crop, scale_crop)}
