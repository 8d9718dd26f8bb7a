"""Steps that mix the pictures of a batch, and their labels with them: functions of both and a seed.

Labels become soft. Cross-entropy, and its label smoothing, are linear in them, so the loss of a mixture is the mixture
of the losses; `accuracy` while training counts the class with the greater share.
"""

import tensorflow as tf

from transferkit.data.augment.pixel_math import to_float, to_picture


def mixup(batch, seed, alpha: (0.05, 10) = 0.2):
    """Each picture blended with another, by a share of Beta(alpha, alpha) (Zhang et al. 2017, section 2).

    Args:
        batch: pictures (n, height, width, channels), 0..255, and labels (n, classes).
    """
    pictures, labels = batch
    keys = tf.random.split(seed, 2)
    others, shares = _partners(pictures, keys[0]), _shares(pictures, keys[1], alpha)
    weights = shares[:, None, None, None]
    values = tf.gather(to_float(pictures), others)
    values += weights * (to_float(pictures) - values)
    return to_picture(values, pictures), _blend(labels, others, shares)


def cutmix(batch, seed, alpha: (0.05, 10) = 1.0):
    """In each picture a box of another, over a share of Beta(alpha, alpha) of the area (Yun et al. 2019, section 3.1).

    The box is placed by its centre and cut at the border; labels weigh as much as is seen.

    Args:
        batch: as of `mixup`.
    """
    pictures, labels = batch
    keys = tf.random.split(seed, 3)
    others, shares = _partners(pictures, keys[0]), _shares(pictures, keys[1], alpha)
    height, width = pictures.shape[1:3]
    places = tf.random.stateless_uniform((2, tf.size(shares)), keys[2])
    down, tall = _stretch(height, places[0], tf.sqrt(1 - shares))
    across, wide = _stretch(width, places[1], tf.sqrt(1 - shares))
    box = down[:, :, None, None] & across[:, None, :, None]
    seen = 1 - tall * wide / (height * width)
    return tf.where(box, tf.gather(pictures, others), pictures), _blend(labels, others, seen)


def _partners(pictures, key):
    return tf.random.experimental.stateless_shuffle(tf.range(tf.shape(pictures)[0]), key)


def _shares(pictures, key, alpha):
    """Beta(alpha, alpha), one a picture: two gammas over their sum, in float64, where small ones do not vanish."""
    shape = (2, tf.shape(pictures)[0])
    one, other = tf.unstack(tf.random.stateless_gamma(shape, key, tf.constant(alpha, tf.float64), dtype=tf.float64))
    return tf.cast(one / (one + other), tf.float32)


def _stretch(side, places, lengths):
    """Which of 0..side-1 lie in a stretch about a place, both shares of it: (n, side); and how many, float32 (n,)."""
    start = tf.round(side * (places - lengths / 2))[:, None]
    inside = tf.range(side, dtype=tf.float32)[None]
    inside = (inside >= start) & (inside < start + tf.round(side * lengths)[:, None])
    return inside, tf.reduce_sum(tf.cast(inside, tf.float32), 1)


def _blend(labels, others, shares):
    weights = tf.cast(shares, labels.dtype)[:, None]
    return weights * labels + (1 - weights) * tf.gather(labels, others)


BATCH_STEPS = {step.__name__: step for step in (mixup, cutmix)}
