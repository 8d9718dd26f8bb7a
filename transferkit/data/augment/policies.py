"""Augmentation steps that draw one of many changes: RandAugment and TrivialAugment."""

from functools import partial
from typing import Annotated

from transferkit.data import lazy_tensorflow as tf
from transferkit.data.augment.color import adjust_color
from transferkit.data.augment.geometric import rotate_by
from transferkit.data.augment.image_ops import (
    affine_transform,
    apply_to_colour,
    flatten_rows,
    reduce_channels,
    tile_channels,
    to_float,
    to_picture,
)


def shear_across(picture, level):
    return affine_transform(picture, (1.0, level, 0.0), (0.0, 1.0, 0.0))


def shear_down(picture, level):
    return affine_transform(picture, (1.0, 0.0, 0.0), (level, 1.0, 0.0))


def shift_across(picture, level):
    return affine_transform(picture, (1.0, 0.0, level * picture.shape[1]), (0.0, 1.0, 0.0))


def shift_down(picture, level):
    return affine_transform(picture, (1.0, 0.0, 0.0), (0.0, 1.0, level * picture.shape[0]))


def brightness(picture, level):
    return apply_to_colour(lambda colours: to_picture(to_float(colours) * (1.0 + level), colours), picture)


def contrast(picture, level):
    return adjust_color(picture, contrast=1.0 + level)


def saturation(picture, level):
    return adjust_color(picture, saturation=1.0 + level)


def sharpness(picture, level):
    """Move away from the picture smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, or towards it; the border does not change."""
    values = to_float(picture)
    rows = values[:-2] + values[1:-1] + values[2:]
    inner = values[1:-1, 1:-1]
    smooth = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * inner) / 13
    change = tf.pad(level * (inner - smooth), ((1, 1), (1, 1), (0, 0)))
    return to_picture(values + change, picture)


def posterize(picture, level):
    """Clear the |level| lowest bits."""
    step = tf.cast(tf.bitwise.left_shift(1, tf.cast(tf.round(tf.abs(level)), tf.int32)), tf.float32)
    return apply_to_colour(lambda p: to_picture(tf.floor(to_float(p) / step) * step, p), picture)


def solarize(picture, level):
    """Invert values of 255 * (1 - |level|) and above."""

    def invert(colours):
        values = to_float(colours)
        return to_picture(tf.where(values >= 255 * (1 - tf.abs(level)), 255 - values, values), colours)

    return apply_to_colour(invert, picture)


def autocontrast(picture, level=0.0):
    """Stretch each channel to 0..255."""

    def stretch(colours):
        low, high = reduce_channels(tf.reduce_min, to_float(colours)), reduce_channels(tf.reduce_max, to_float(colours))
        scale = tf.where(high > low, 255 / tf.maximum(high - low, 1e-3), 1.0)
        low = tf.where(high > low, low, 0.0)
        rows = (to_float(flatten_rows(colours)) - tile_channels(low, colours)) * tile_channels(scale, colours)
        return tf.reshape(to_picture(rows, colours), colours.shape)

    return apply_to_colour(stretch, picture)


def equalize(picture, level=0.0):
    """Equalize the histogram of each channel, by Pillow's rule for whole pixels."""
    return apply_to_colour(_equalize_channels, picture)


def _equalize_channels(picture):
    channels = picture.shape[-1]
    bins = tf.cast(to_picture(to_float(picture), tf.zeros((), tf.uint8)), tf.int32) + 256 * tf.range(channels)
    counts = tf.raw_ops.Bincount(arr=tf.reshape(bins, (-1,)), size=256 * channels, weights=tf.zeros(0, tf.int32))
    counts = tf.reshape(counts, (channels, 256))
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), 1, keepdims=True)
    step = (tf.reduce_sum(counts, 1, keepdims=True) - tf.gather(counts, last, batch_dims=1)) // 255
    levels = (step // 2 + tf.cumsum(counts, 1, exclusive=True)) // tf.maximum(step, 1)
    levels = tf.where(step > 0, tf.minimum(levels, 255), tf.range(256))
    return tf.cast(tf.gather(tf.reshape(levels, (-1,)), bins), picture.dtype)


def identity(picture, level):
    return picture


# (change, its highest level in RandAugment and in TrivialAugment): Cubuk et al. 2019, with AutoAugment's ranges, and
# Mueller and Hutter 2021, "wide"; shifts are fractions of the size: 150 of 331 pixels, 32 of 224
CHANGES = (
    (identity, 0, 0),
    (autocontrast, 0, 0),
    (equalize, 0, 0),
    (rotate_by, 30, 135),
    (solarize, 1, 1),
    (posterize, 4, 6),
    (saturation, 0.9, 0.99),
    (contrast, 0.9, 0.99),
    (brightness, 0.9, 0.99),
    (sharpness, 0.9, 0.99),
    (shear_across, 0.3, 0.99),
    (shear_down, 0.3, 0.99),
    (shift_across, 150 / 331, 32 / 224),
    (shift_down, 150 / 331, 32 / 224),
)


def rand_augment(picture, seed, n: Annotated[int, range(1, 11)] = 2, magnitude: Annotated[float, (0, 30)] = 9):
    """Apply `n` changes drawn from 14, one after the other, all of one magnitude (Cubuk et al. 2019).

    Args:
        magnitude: 30 is the highest level of AutoAugment.
    """
    for number in range(int(n)):
        which, sign = tf.unstack(tf.random.stateless_uniform((2,), tf.random.fold_in(seed, number)))
        level = tf.where(sign < 0.5, -magnitude / 30, magnitude / 30)
        picture = _apply_change(picture, which, level, [highest for _, highest, _ in CHANGES])
    return picture


def trivial_augment(picture, seed):
    """Apply one change drawn from 14, of any magnitude (Mueller and Hutter 2021, wide): there is nothing to tune."""
    which, level = tf.unstack(tf.random.stateless_uniform((2,), seed))
    level = tf.round((2 * level - 1) * 30) / 30
    return _apply_change(picture, which, level, [highest for _, _, highest in CHANGES])


def _apply_change(picture, which, level, highest):
    """Apply the change that `which`, from 0 to 1, selects; the others are not computed.

    Args:
        level: -1 to 1, a fraction of the highest level of the change.
    """
    branches = [partial(change, picture, level * end) for (change, *_), end in zip(CHANGES, highest, strict=True)]
    changed = tf.switch_case(tf.cast(which * len(CHANGES), tf.int32), branches)
    return tf.ensure_shape(changed, picture.shape)


OPS = {step.__name__: step for step in (rand_augment, trivial_augment)}
