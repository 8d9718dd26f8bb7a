"""Pixel operations of the augmentation steps: 0..255 in and out, in the input's dtype, without overflow."""

from transferkit.data import lazy_tensorflow as tf

GREY = 117  # fill value: the mean luma of ImageNet, near 0 after normalisation
LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B, as in Pillow and libjpeg


def to_picture(values, like):
    """Convert float values to the dtype of `like`: clipped to 0..255, and rounded for an integer dtype."""
    if like.dtype.is_integer:
        return tf.saturate_cast(tf.round(values), like.dtype)
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), like.dtype)


def to_float(picture):
    """Convert to float32, in which all steps compute: a factor cannot overflow."""
    return tf.cast(picture, tf.float32)


def flatten_rows(picture):
    """Reshape (height, width, channels) to (height, width * channels): TensorFlow is slow on short last axes."""
    height, width, channels = picture.shape
    return tf.reshape(picture, (height, width * channels))


def tile_channels(values, picture):
    """Repeat values (channels,) for a row of `flatten_rows(picture)`."""
    return tf.tile(values, (picture.shape[1],))


def reduce_channels(reduce, picture):
    """Apply `reduce`, such as `tf.reduce_max`, to each channel: (channels,)."""
    return reduce(tf.reshape(reduce(flatten_rows(picture), 0), picture.shape[1:]), 0)


def apply_to_colour(change, picture):
    """Apply `change` to the colours of a picture of 1, 3 or 4 channels, and keep its alpha."""
    if picture.shape[-1] == 4:
        return tf.concat((change(picture[..., :3]), picture[..., 3:]), -1)
    return change(picture)


def affine_transform(picture, across, down):
    """Transform a picture by an affine map about its centre, bilinear, with grey outside of it.

    Args:
        across, down: (a, b, c): output pixel (x, y) is taken from a * x + b * y + c, in pixels from the centre.
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
