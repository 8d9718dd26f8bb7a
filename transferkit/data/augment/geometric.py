"""Augmentation steps that move or cover pixels: functions of a picture and a seed."""

import math
from typing import Annotated

from transferkit.data import lazy_tensorflow as tf
from transferkit.data.augment.image_ops import GREY, affine_transform


def flip(picture, seed, probability: Annotated[float, (0, 1)] = 0.5):
    """Swap left and right, in half of the views by default."""
    swap = tf.random.stateless_uniform((), seed) < probability
    return tf.cond(swap, lambda: tf.reverse(picture, (1,)), lambda: picture)


def flip_vertical(picture, seed, probability: Annotated[float, (0, 1)] = 0.5):
    """Swap top and bottom, in half of the views by default: for cells, aerial views and the like."""
    swap = tf.random.stateless_uniform((), seed) < probability
    return tf.cond(swap, lambda: tf.reverse(picture, (0,)), lambda: picture)


def pad_crop(picture, seed, pixels: Annotated[int, range(1, 513)] = 4):
    """Shift the picture by up to `pixels` each way, with grey around it (He et al. 2015, section 4.2, for CIFAR).

    The paper pads pictures after subtracting the mean, so its zeros are the mean, not black.
    """
    height, width, channels = picture.shape
    pixels = int(pixels)
    corner = tf.random.stateless_uniform((2,), seed, 0, 2 * pixels + 1, tf.int32)
    padded = tf.pad(picture, ((pixels, pixels), (pixels, pixels), (0, 0)), constant_values=tf.cast(GREY, picture.dtype))
    return tf.slice(padded, (corner[0], corner[1], 0), (height, width, channels))


def rotate(picture, seed, degrees: Annotated[float, (0, 180)] = 15):
    """Rotate about the centre by up to `degrees` either way, bilinear, with grey outside."""
    return rotate_by(picture, tf.random.stateless_uniform((), seed, -1.0, 1.0) * degrees)


def rotate_by(picture, degrees):
    """Rotate anticlockwise about the centre."""
    angle = degrees * (math.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    return affine_transform(picture, (cosine, -sine, 0.0), (sine, cosine, 0.0))


def erase(
    picture,
    seed,
    probability: Annotated[float, (0, 1)] = 0.5,
    low: Annotated[float, (0, 1)] = 0.02,
    high: Annotated[float, (0, 1)] = 0.33,
):
    """Cover a box with noise, of `low` to `high` of the area (random erasing, Zhong et al. 2017, section 3.2).

    Its height over width is drawn log-uniformly from 0.3 to 3.3, as far as such a box fits.
    """
    height, width, channels = picture.shape
    chance, fraction, ratio, down, across = tf.unstack(tf.random.stateless_uniform((5,), seed))

    def erased():
        area = low + fraction * (high - low)
        least, most = tf.maximum(0.3, area), tf.minimum(1 / 0.3, 1 / area)  # beyond, the box would exceed the picture
        shape = tf.exp(tf.math.log(least) + ratio * tf.math.log(most / least))
        box = tf.stack((height * tf.sqrt(area * shape), width * tf.sqrt(area / shape)))
        box = tf.minimum(tf.cast(tf.round(box), tf.int32), (height, width))
        corner = tf.cast(tf.stack((down, across)) * tf.cast((height, width) - box + 1, tf.float32), tf.int32)
        corner = tf.minimum(corner, (height, width) - box)
        inside = [_is_within(tf.range(size), corner[axis], box[axis]) for axis, size in enumerate((height, width))]
        return tf.where(inside[0][:, None, None] & inside[1][None, :, None], _noise(picture, seed), picture)

    return tf.cond((chance < probability) & (low + fraction * (high - low) > 0), erased, lambda: picture)


def _is_within(positions, start, length):
    return (positions >= start) & (positions < start + length)


def _noise(picture, seed):
    """Random bytes in the shape of a picture: four of each number drawn, as drawing is slow."""
    height, width, channels = picture.shape
    count = height * width * channels
    numbers = tf.random.stateless_uniform((-(-count // 4),), tf.random.fold_in(seed, 1), None, None, tf.uint32)
    values = tf.reshape(tf.bitcast(numbers, tf.uint8), (-1,))[:count]
    return tf.cast(tf.reshape(values, picture.shape), picture.dtype)


OPS = {step.__name__: step for step in (flip, flip_vertical, pad_crop, rotate, erase)}
