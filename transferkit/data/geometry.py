"""Fit pictures to the size that a network sees: evaluation views, crops and training windows."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from transferkit.data import decode, deferred_errors, pillow_reader, resizing
from transferkit.pixels import Pixels


def _resize_to_cover(size, target):
    """As torchvision resizes for a centre crop: the longer side is rounded down."""
    axis = np.argmax(target / size)
    resized = size * target[axis] // size[axis]
    return resized, resized


def _resize_to_fill(size, target):
    return target, target


def _resize_to_fit(size, target):
    """As Pillow's `ImageOps.pad` resizes: rounded, half to even."""
    axis = np.argmin(target / size)
    return np.maximum(np.round(size / size[axis] * target[axis]), 1).astype(int), target


def _draw_in_picture(draw_window):
    return draw_window


def _draw_in_stretched_square(draw_window):
    """Draw a window in a square, and stretch both to the shape of the picture."""

    def window(shape):
        square = tf.repeat(tf.reduce_max(shape), 2)
        return _scale_window(draw_window(square), square, shape)

    return window


def _draw_in_padded_square(draw_window):
    """Draw a window in the square that the picture is padded to, moved so that it shows no more padding than needed."""

    def window(shape):
        square = tf.repeat(tf.reduce_max(shape), 2)
        drawn = draw_window(square)
        return _move_inside(tf.concat((drawn[:2] - (square - shape) // 2, drawn[2:]), 0), shape)

    return window


def _window_function(draw_window, pixels: Pixels):
    """Adapt `draw_window` to the fit, and to a network that does not see squares.

    For a rectangle, the window is drawn as if it and the picture were stretched to a square.
    """
    draw, (height, width) = FITS[pixels.fit].adapt_window(draw_window), pixels.shape
    if height == width:
        return draw

    def window(shape):
        square = tf.stack((shape[0], tf.maximum(shape[1] * height // width, 1)))
        return _move_inside(_scale_window(draw(square), square, shape), shape)

    return window


def _move_inside(window, shape):
    """Move a window so that it reaches beyond the picture no further than its size requires."""
    free = shape - window[2:]
    corner = tf.clip_by_value(window[:2], tf.minimum(free, 0), tf.maximum(free, 0))
    return tf.concat((corner, window[2:]), 0)


def _scale_window(window, shape, new_shape):
    """Scale a window of a picture of `shape` to one of `new_shape`."""
    start, size = (tf.cast(pair, tf.int64) * tf.cast(new_shape, tf.int64) for pair in (window[:2], window[2:]))
    start, size = (tf.cast(pair // tf.cast(shape, tf.int64), tf.int32) for pair in (start, size))
    return tf.concat((start, tf.maximum(size, 1)), 0)


class Fit(NamedTuple):
    """One way to fit a picture of any shape to the size that the network sees.

    Attributes:
        resize: (resized, canvas) = resize(size, target), all (height, width) in pixels: the size to which a picture is
            resized, and that of the canvas it is centred on. Crops are cut out of the canvas.
        crops_centre: whether a single view is cut out of a larger canvas.
        adapt_window: from a function that draws a window (y, x, height, width) in a rectangle (height, width) to one
            that draws it in a picture of that size. The window may reach beyond the picture.
        any_aspect: whether the window may have any shape, so that one side may shrink much more than the other.
    """

    resize: Callable
    crops_centre: bool
    adapt_window: Callable
    any_aspect: bool


FITS = {
    "crop": Fit(_resize_to_cover, True, _draw_in_picture, False),
    "squash": Fit(_resize_to_fill, False, _draw_in_stretched_square, True),
    "pad": Fit(_resize_to_fit, False, _draw_in_padded_square, False),
}


class Box(NamedTuple):
    """A part of a picture, in its pixels, and where it is in the view that it is resized to; the rest is background."""

    left: float
    top: float
    right: float
    bottom: float
    x: int
    y: int
    width: int
    height: int


class Crops(NamedTuple):
    """The views of a picture in an evaluation.

    Attributes:
        views: their number.
        boxes: boxes(size, pixels), for a picture of `size` (height, width): a `Box` for each view, or None if it would
            be all background.
    """

    views: int
    boxes: Callable


def _boxes_at(positions):
    """Crops of the fitted picture: each position is a fraction of the free space above and to the left."""

    def boxes(size, pixels: Pixels) -> list[Box | None]:
        shape, found = np.array(pixels.shape), []
        larger = FITS[pixels.fit].crops_centre or len(positions) > 1
        target = np.array(pixels.uncropped if larger else pixels.shape)
        resized, canvas = FITS[pixels.fit].resize(size, target)
        for position in positions:
            # corners are rounded half to even, as in torchvision and Pillow
            corner = np.round((canvas - shape) * np.array(position)) - np.round((canvas - resized) / 2)
            start, end = np.maximum(corner, 0), np.minimum(corner + shape, resized)
            is_empty = (end <= start).any()
            (top, left), (bottom, right) = start * size / resized, end * size / resized
            (y, x), (height, width) = (start - corner).astype(int), (end - start).astype(int)
            found.append(None if is_empty else Box(left, top, right, bottom, x, y, width, height))
        return found

    return boxes


CENTRE_CROP = Crops(1, _boxes_at([(0.5, 0.5)]))
FIVE_CROPS = Crops(5, _boxes_at([(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)]))  # as torchvision's FiveCrop


def evaluation_view(source, pixels: Pixels, load=decode.as_bytes):
    """Make the view of a picture for evaluation and prediction, by `pixels.fit`, antialiased.

    By default the shorter side is resized to `pixels.resize` and the centre `pixels.crop` is cut out: torchvision's
    view, up to the rounding of `resizing.resize`. Large JPEGs are decoded at a DCT scale that is at least twice the
    size needed.

    Args:
        source: scalar string, the content of the file, or what `load` takes.
        load: Python function from `source` to the content, such as `decode.read_path` for a path.

    Returns:
        uint8 (height, width, channels).
    """
    return evaluation_views(source, pixels, CENTRE_CROP, load)[0]


def evaluation_views(source, pixels: Pixels, crops: Crops, load=decode.as_bytes):
    """Make several views of a picture.

    Args:
        crops: `CENTRE_CROP`, `FIVE_CROPS`, or one of `paper_crops`.
        source, pixels, load: as of `evaluation_view`.

    Returns:
        uint8 (crops, height, width, channels).
    """

    def view(source):
        views = load_views(lambda: load(source), pixels, crops)
        return np.zeros(0, np.uint8) if views is None else views  # fails in the graph; an error would be printed

    views = tf.numpy_function(view, (source,), tf.uint8, stateful=False)
    return tf.ensure_shape(views, (crops.views, *pixels.shape, pixels.channels))


def load_views(load: Callable[[], bytes], pixels: Pixels, crops: Crops) -> np.ndarray | None:
    """Make `evaluation_views` of what `load` reads, outside a graph; None if it cannot be read."""
    try:
        return cut_crops(*read_for_crops(load(), pixels, crops), pixels, crops)
    except Exception:  # Pillow's readers raise nearly anything on damaged files; errors of `cut_crops` are recorded
        return None


def read_for_crops(data: bytes, pixels: Pixels, crops: Crops) -> tuple[np.ndarray, np.ndarray]:
    """Decode a picture for `cut_crops`, a JPEG at a DCT scale that is at least twice the size needed.

    Returns:
        The picture, uint8 (height, width, channels), and its (height, width) at full size.

    Raises:
        Exception: whatever Pillow's readers raise on damaged files; see `formats.error_reason`.
    """

    return pillow_reader.read_shrunk(data, pixels.channels, lambda size: _find_min_size(crops, *size.tolist(), pixels))


@lru_cache(maxsize=4096)
def _find_boxes(crops: Crops, height: int, width: int, pixels: Pixels) -> list[Box | None]:
    """Find the boxes of crops, for sizes that many pictures have."""
    return crops.boxes(np.array((height, width)), pixels)


@lru_cache(maxsize=4096)
def _find_min_size(crops: Crops, height: int, width: int, pixels: Pixels) -> np.ndarray:
    """The least (height, width) at which a picture is decoded: at least twice the size at which its crops are cut."""
    scales = [
        (box.height / (box.bottom - box.top), box.width / (box.right - box.left))
        for box in _find_boxes(crops, height, width, pixels)
        if box
    ]
    return np.ceil(2 * np.array((height, width)) * np.max(scales, 0) - 1e-6).astype(int)


@deferred_errors.record_errors
def cut_crops(picture: np.ndarray, size, pixels: Pixels, crops: Crops) -> np.ndarray:
    """Cut the views out of a decoded picture.

    Args:
        picture: uint8 (height, width, channels).
        size: its (height, width) at full size; it may have been decoded at a DCT scale down to 1/8.
    """
    boxes = _find_boxes(crops, *map(int, size), pixels)
    views = [_cut_crop(picture, size, pixels, box) for box in boxes]
    return np.stack(views) if len(views) > 1 else views[0][np.newaxis]


def _cut_crop(picture: np.ndarray, size, pixels: Pixels, box: Box | None) -> np.ndarray:
    """One view, (height, width, channels): what is in the box, and the background around it."""
    height, width = picture.shape[:2]
    if box:
        down, across = -(-int(size[0]) // height), -(-int(size[1]) // width)  # the DCT scale
        ends = (min(box.right / across, width), min(box.bottom / down, height))
        area = (box.left / across, box.top / down, *ends)
        resized = resizing.resize(picture, (box.height, box.width), pixels.interpolation, area)
        if resized.shape[:2] == pixels.shape:
            return resized
    view = np.full((*pixels.shape, pixels.channels), pixels.background, np.uint8)
    if box:
        view[box.y : box.y + box.height, box.x : box.x + box.width] = resized
    return view


def training_window(opened: decode.OpenedPicture, pixels: Pixels, draw_window):
    """Draw a window of a picture, adapted to `pixels.fit`.

    Args:
        draw_window: from the upright (height, width), int32, to a window.

    Returns:
        int32 (y, x, height, width); it may reach beyond the picture.
    """
    return _window_function(draw_window, pixels)(opened.shape)


def training_view(picture, window, opened: decode.OpenedPicture, pixels: Pixels):
    """Resize a decoded window to the size that the network sees.

    Its DCT scale leaves a factor below two, so a plain bilinear resize does not alias. A picture that cannot be decoded
    at such a scale, and shrinks by more, is antialiased.

    Args:
        picture: the part of the window inside the picture, by `decode.decode_window`.

    Returns:
        uint8 (height, width, channels).

    Raises:
        InvalidArgumentError: in the graph, if the window is outside the picture.
    """
    fit, shape, size = FITS[pixels.fit], pixels.shape, opened.shape
    assertion = tf.debugging.assert_positive(decode.clip_window(window, size)[2:], "A window is outside its picture.")
    with tf.control_dependencies([assertion] if assertion is not None else []):
        picture = tf.identity(picture)
    reaches_beyond = tf.reduce_any(decode.clip_window(window, size) != window)
    picture = tf.cond(reaches_beyond, lambda: _pad(picture, window, size, pixels), lambda: picture)
    shrinks = tf.shape(picture)[:2] > 2 * np.array(shape)
    view = tf.cond(
        tf.reduce_any(shrinks) if fit.any_aspect else tf.reduce_all(shrinks),
        lambda: tf.image.resize(picture, shape, antialias=True),
        lambda: tf.image.resize(picture, shape),
    )
    # the cast rounds; bilinear values stay in 0..255, so they need no clipping, which would take as long
    return tf.ensure_shape(tf.cast(view + 0.5, tf.uint8), (*shape, pixels.channels))


def _pad(picture, window, size, pixels: Pixels):
    """Pad the part of a window inside the picture with the background."""
    inside = decode.clip_window(window, size)
    scale = tf.cast(tf.shape(picture)[:2], tf.float32) / tf.cast(inside[2:], tf.float32)
    beyond = (
        inside[:2] - window[:2],
        window[:2] + window[2:] - inside[:2] - inside[2:],
    )  # above and left, below and right
    margins = [tf.cast(tf.round(tf.cast(pair, tf.float32) * scale), tf.int32) for pair in beyond]
    margins = tf.concat((tf.stack(margins, 1), tf.zeros((1, 2), tf.int32)), 0)
    background = tf.constant(pixels.background, tf.uint8)
    return tf.pad(picture - background, margins) + background  # bytes wrap around, so the subtraction is undone
