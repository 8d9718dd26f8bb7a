"""Augmentation steps that mix the pictures of a batch and their labels: functions of both and a seed.

Labels become soft. Cross-entropy and label smoothing are linear in them, so the loss of a mixture is the mixture of the
losses; `accuracy` in training counts the class with the larger weight.
"""

from typing import Annotated

from transferkit.data import lazy_tensorflow as tf
from transferkit.data.augment.image_ops import to_float, to_picture


def mixup(batch, seed, alpha: Annotated[float, (0.05, 10)] = 0.2):
    """Blend each picture with another, with a weight from Beta(alpha, alpha) (Zhang et al. 2017, section 2).

    Args:
        batch: pictures (n, height, width, channels), 0..255, and labels (n, classes).
    """
    pictures, labels = batch
    keys = tf.random.split(seed, 2)
    partners, weights = _draw_partners(pictures, keys[0]), _draw_weights(pictures, keys[1], alpha)
    values = tf.gather(to_float(pictures), partners)
    values += weights[:, None, None, None] * (to_float(pictures) - values)
    return to_picture(values, pictures), _blend_labels(labels, partners, weights)


def cutmix(batch, seed, alpha: Annotated[float, (0.05, 10)] = 1.0):
    """Paste a box of another picture, with an area from Beta(alpha, alpha), into each (Yun et al. 2019, section 3.1).

    The box is placed by its centre and clipped at the border; labels are weighted by the visible area.

    Args:
        batch: as of `mixup`.
    """
    pictures, labels = batch
    keys = tf.random.split(seed, 3)
    partners, weights = _draw_partners(pictures, keys[0]), _draw_weights(pictures, keys[1], alpha)
    height, width = pictures.shape[1:3]
    centres = tf.random.stateless_uniform((2, tf.size(weights)), keys[2])
    down, tall = _interval(height, centres[0], tf.sqrt(1 - weights))
    across, wide = _interval(width, centres[1], tf.sqrt(1 - weights))
    box = down[:, :, None, None] & across[:, None, :, None]
    visible = 1 - tall * wide / (height * width)
    return tf.where(box, tf.gather(pictures, partners), pictures), _blend_labels(labels, partners, visible)


def _draw_partners(pictures, key):
    return tf.random.experimental.stateless_shuffle(tf.range(tf.shape(pictures)[0]), key)


def _draw_weights(pictures, key, alpha):
    """Draw Beta(alpha, alpha) for each picture, from two gammas; in float64, where small ones do not underflow."""
    shape = (2, tf.shape(pictures)[0])
    a, b = tf.unstack(tf.random.stateless_gamma(shape, key, tf.constant(alpha, tf.float64), dtype=tf.float64))
    return tf.cast(a / (a + b), tf.float32)


def _interval(size, centres, lengths):
    """Which of the pixels 0..size-1 are in an interval, given by fractions of the size.

    Returns:
        bool (n, size), and their number, float32 (n,).
    """
    start = tf.round(size * (centres - lengths / 2))[:, None]
    pixels = tf.range(size, dtype=tf.float32)[None]
    inside = (pixels >= start) & (pixels < start + tf.round(size * lengths)[:, None])
    return inside, tf.reduce_sum(tf.cast(inside, tf.float32), 1)


def _blend_labels(labels, partners, weights):
    weights = tf.cast(weights, labels.dtype)[:, None]
    return weights * labels + (1 - weights) * tf.gather(labels, partners)


BATCH_STEPS = {step.__name__: step for step in (mixup, cutmix)}
