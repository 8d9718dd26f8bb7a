"""Augmentation steps that change colours or blur: functions of a picture and a seed, for grey ones and alpha too."""

from functools import partial
from typing import Annotated

from transferkit.data import lazy_tensorflow as tf
from transferkit.data.augment.image_ops import (
    LUMA,
    apply_to_colour,
    flatten_rows,
    reduce_channels,
    tile_channels,
    to_float,
    to_picture,
)
from transferkit.data.augment.pca_axes import IMAGENET


def pca_jitter(picture, seed, sigma: Annotated[float, (0, 10)] = 0.1, *, axes=IMAGENET):
    """Shift all pixels along the principal axes of RGB (Krizhevsky et al. 2012, section 4.1): sum of p_i a_i lambda_i.

    With ImageNet's axes and sigma 0.1, each channel moves by about 3.2 of 255 (standard deviation).

    Args:
        sigma: standard deviation of a_i, which are drawn once a picture.
        axes: `data.augment.pca_axes.Axes`; by default those of ImageNet.
    """
    return _shift_along(picture, seed, sigma, axes.shifts())


def pca_jitter_std(picture, seed, sigma: Annotated[float, (0, 10)] = 0.1, *, axes=IMAGENET):
    """`pca_jitter` with the roots of the eigenvalues, as in Krizhevsky's code: sum of p_i a_i sqrt(lambda_i).

    That is `ColorNoiseMakerThread` in convdata.py of cuda-convnet2 (Krizhevsky 2014), which then also shrinks pixels by
    1 + sigma about their mean; here they keep their scale. A standard deviation has the unit of pixels, so the shift is
    the same whether they are scaled to 0 to 1 or at 0 to 255: with ImageNet's axes and sigma 0.1, about 7.2 of 255 a
    channel.

    Args:
        sigma, axes: as of `pca_jitter`.
    """
    return _shift_along(picture, seed, sigma, axes.deviations())


def _shift_along(picture, seed, sigma, columns):
    """Move all pixels along three columns (R, G, B), each times a normal draw of standard deviation sigma."""
    shift = tf.linalg.matvec(tf.constant(columns, tf.float32), tf.random.stateless_normal((3,), seed) * sigma)
    return apply_to_colour(lambda colours: _shift_colours(colours, shift), picture)


def _shift_colours(picture, shift):
    if picture.shape[-1] == 1:
        shift = tf.reduce_sum(shift * LUMA, keepdims=True)  # the luma of the shift
    if picture.dtype != tf.uint8:
        return to_picture(to_float(picture) + shift, picture)
    # an integer plus a shift, rounded, is the integer plus the rounded shift, so bytes suffice, which are several
    # times as fast as floats; they are clipped first, so that the sum cannot wrap
    shift = tf.round(shift)
    up = tile_channels(tf.saturate_cast(shift, tf.uint8), picture)
    down = tile_channels(tf.saturate_cast(-shift, tf.uint8), picture)
    rows = tf.minimum(tf.maximum(flatten_rows(picture), down), 255 - up) + (up - down)
    return tf.reshape(rows, picture.shape)


def jitter(
    picture,
    seed,
    brightness: Annotated[float, (0, 1)] = 0.4,
    contrast: Annotated[float, (0, 1)] = 0.4,
    saturation: Annotated[float, (0, 1)] = 0.4,
):
    """Scale brightness, contrast and saturation by factors of 1 - amount to 1 + amount (Howard 2013, section 2.2).

    Howard applies them in random order. Computed without rounding in between they are linear and commute, so there is
    no order to draw.
    """
    factors = tf.random.stateless_uniform((3,), seed, -1.0, 1.0) * (brightness, contrast, saturation) + 1.0
    return adjust_color(picture, *tf.unstack(factors))


def adjust_color(picture, brightness=1.0, contrast=1.0, saturation=1.0):
    """Scale brightness about black, contrast about the mean luma, saturation about each pixel's; 1 is no change."""
    return apply_to_colour(lambda colours: _adjust(colours, brightness, contrast, saturation), picture)


def _adjust(picture, brightness, contrast, saturation):
    values = to_float(picture)
    weights = LUMA if picture.shape[-1] == 3 else (1.0,)
    mean = tf.reduce_sum(reduce_channels(tf.reduce_mean, values) * weights)
    offset = brightness * (1 - contrast) * mean
    if picture.shape[-1] == 3:
        towards_luma = (1 - saturation) * tf.tile(tf.constant(LUMA)[:, None], (1, 3))
        values = tf.matmul(tf.reshape(values, (-1, 3)), saturation * tf.eye(3) + towards_luma)
    rows = tf.reshape(values, flatten_rows(picture).shape) * (brightness * contrast) + offset
    return tf.reshape(to_picture(rows, picture), picture.shape)


def hue(picture, seed, amount: Annotated[float, (0, 0.5)] = 0.1):
    """Rotate the hue by up to `amount` of the colour circle either way; a grey picture does not change."""
    delta = tf.random.stateless_uniform((), seed, -1.0, 1.0) * amount
    if picture.shape[-1] == 1:
        return picture
    return apply_to_colour(lambda p: to_picture(tf.raw_ops.AdjustHue(images=to_float(p), delta=delta), p), picture)


def blur(
    picture,
    seed,
    probability: Annotated[float, (0, 1)] = 0.5,
    low: Annotated[float, (0.1, 10)] = 0.1,
    high: Annotated[float, (0.1, 10)] = 2.0,
):
    """Blur by a Gaussian of a deviation from `low` to `high` pixels (SimCLR: Chen et al. 2020, appendix A).

    At the border the weights of what lies inside sum to one.
    """
    chance, place = tf.unstack(tf.random.stateless_uniform((2,), seed))
    sigma = low + place * (high - low)
    blurred = partial(apply_to_colour, lambda colours: blur_by(colours, sigma), picture)
    return tf.cond(chance < probability, blurred, lambda: picture)


def blur_by(picture, sigma):
    """Blur by a Gaussian of deviation `sigma`, in pixels: one matrix for the columns, one for the rows."""
    height, width, _ = picture.shape
    rows = tf.matmul(_gaussian_weights(height, sigma), to_float(flatten_rows(picture)))
    return to_picture(tf.matmul(_gaussian_weights(width, sigma), tf.reshape(rows, picture.shape)), picture)


def _gaussian_weights(length, sigma):
    """The weight of each position, a column, in each blurred one, a row."""
    places = tf.range(length, dtype=tf.float32)
    return tf.nn.softmax(-0.5 * tf.square((places[:, None] - places) / sigma))


OPS = {step.__name__: step for step in (pca_jitter, pca_jitter_std, jitter, hue, blur)}
