"""What the steps of augmentation share: 0..255 in, 0..255 out, in the dtype that came, without overflow."""

import tensorflow as tf

GREY = 117  # what shows where a step has nothing to show: the mean luma of ImageNet, near 0 once normalised
LUMA = (0.299, 0.587, 0.114)  # of R, G and B, as Pillow and libjpeg weigh them


def to_picture(values, like):
    """Float values as a picture of the dtype of `like`: rounded where that is an integer type, cut to 0..255."""
    if like.dtype.is_integer:
        return tf.saturate_cast(tf.round(values), like.dtype)
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), like.dtype)


def to_float(picture):
    """float32, in which all steps reckon: 255 times a factor overflows nothing."""
    return tf.cast(picture, tf.float32)


def flatten_rows(picture):
    """(height, width, channels) as (height, width * channels): TensorFlow is slow where the last axis is short."""
    height, width, channels = picture.shape
    return tf.reshape(picture, (height, width * channels))


def tile_channels(values, picture):
    """One value a channel as one row of `as_rows(picture)`."""
    return tf.tile(values, (picture.shape[1],))


def reduce_channels(reduce, picture):
    """`reduce` (such as tf.reduce_max) of each channel: (channels,)."""
    return reduce(tf.reshape(reduce(flatten_rows(picture), 0), picture.shape[1:]), 0)


def apply_to_colour(change, picture):
    """`change` the colours of a picture of 1, 3 or 4 channels, and keep its alpha."""
    if picture.shape[-1] == 4:
        return tf.concat((change(picture[..., :3]), picture[..., 3:]), -1)
    return change(picture)


def affine_transform(picture, across, down):
    """Each pixel taken from where two rows of an affine map say, about the centre, bilinear; grey from outside.

    Args:
        across, down: (a, b, c): pixel (x, y) from the centre shows what is at a * x + b * y + c, in pixels.
    """
    height, width, _ = picture.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    (a, b, c), (d, e, f) = across, down
    rows = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y, 0.0, 0.0)
    values = tf.raw_ops.ImageProjectiveTransformV3(
        images=to_float(picture)[None],
        transforms=tf.stack([tf.cast(value, tf.float32) for value in rows])[None],
        output_shape=(height, width),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=float(GREY),
    )[0]
    return to_picture(values, picture)
