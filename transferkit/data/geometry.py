"""From decoded pictures to the square a network sees."""

import tensorflow as tf

from transferkit.data import decode
from transferkit.pixels import Pixels

KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}


def evaluation_view(data, pixels: Pixels):
    """The one view of a picture outside training: shorter side to `pixels.resize`, antialiased; centre `pixels.crop`.

    Large JPEGs are first decoded at a DCT scale that leaves at least twice the side: nearer to Pillow's antialiased
    resize than TensorFlow's own antialiasing from the full size, and faster.

    Returns:
        uint8 (crop, crop, channels).
    """
    picture, size = decode.whole(data, pixels.channels, cover=2 * pixels.resize)
    shrunk = -(-size // tf.shape(picture)[:2])  # while decoding, by 1, 2, 4 or 8
    # as torchvision: the longer side is truncated, the crop's corner rounded half to even
    resized = size * pixels.resize // tf.reduce_min(size)
    corner = tf.round((resized - pixels.crop) / 2)
    view = tf.raw_ops.ScaleAndTranslate(  # what tf.image.resize calls, told to compute the crop alone
        images=picture[None],
        size=(pixels.crop, pixels.crop),
        scale=tf.cast(resized * shrunk / size, tf.float32),
        translation=-tf.cast(corner, tf.float32),
        kernel_type=KERNELS[pixels.interpolation],
        antialias=True,
    )[0]
    view = tf.saturate_cast(tf.round(view), tf.uint8)
    return tf.ensure_shape(view, (pixels.crop, pixels.crop, pixels.channels))


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
