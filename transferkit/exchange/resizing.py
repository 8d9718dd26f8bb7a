"""Fit pictures of any size to a network, in its graph, as `data.geometry` does with Pillow outside.

An antialiased resize of TensorFlow cannot be exported: ONNX Runtime and LiteRT have no such operation. It is linear in
the rows and in the columns, so it is two matrix products, whose weights follow from the sizes (those of Pillow's
`Resample.c`: a triangle or a cubic, wider as the picture shrinks).
"""

from keras import ops

from transferkit.pixels import Pixels

CUBIC = -0.5  # Pillow's coefficient (Keys 1981, section 4)


def _triangle(distance):
    return ops.maximum(1.0 - distance, 0.0)


def _cubic(distance):
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return ops.where(distance < 1, near, ops.where(distance < 2, far, 0.0))


FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def fit_pictures(pictures, pixels: Pixels):
    """Fit pictures to a network by `pixels.fit`, as `geometry.evaluation_view` does.

    Args:
        pictures: (n, height, width, channels) in 0..255, of one size, which may be known at run time only.
        pixels: the geometry of the network.

    Returns:
        float32 (n, *pixels.shape, channels), whole numbers in 0..255. Some differ by 1 from Pillow's, whose
        versions round rows or columns first; after a bicubic resize by 4 at most.
    """
    height, width = ops.shape(pictures)[1:3]
    sides = []
    for axis, (resized, canvas) in enumerate(_plan(height, width, pixels)):
        size, target = (height, width)[axis], pixels.shape[axis]
        sides.append(_weigh(size, resized, canvas, target, FILTERS[pixels.interpolation]))
    (rows, has_row), (columns, has_column) = sides
    fitted = _to_bytes(ops.einsum("jw,nhwc->nhjc", columns, ops.cast(pictures, "float32")))
    fitted = _to_bytes(ops.einsum("ih,nhjc->nijc", rows, fitted))
    if pixels.fit == "pad":
        is_inside = (has_row[:, None] * has_column[None, :])[None, ..., None]
        background = ops.convert_to_tensor(pixels.background, "float32")
        fitted = fitted * is_inside + background * (1 - is_inside)
    return fitted


def _to_bytes(values):
    """Round as Pillow does after each of the two products."""
    return ops.floor(ops.clip(values, 0.0, 255.0) + 0.5)


def _plan(height, width, pixels: Pixels):
    """For rows and columns: the size to which the picture is resized, and that of the canvas it is centred on."""
    rows, columns = pixels.uncropped if pixels.fit == "crop" else pixels.shape
    if pixels.fit == "squash":
        return (rows, rows), (columns, columns)
    if pixels.fit == "crop":  # the side that must grow most, or shrink least, decides
        by_rows = rows * width >= columns * height
        high = ops.where(by_rows, rows, height * columns // width)
        wide = ops.where(by_rows, width * rows // height, columns)
        return (high, high), (wide, wide)
    by_rows = rows * width <= columns * height
    height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
    scale = ops.where(by_rows, rows / height, columns / width)
    high, wide = (ops.maximum(ops.cast(ops.round(side * scale), "int32"), 1) for side in (height, width))
    return (high, rows), (wide, columns)


def _weigh(size, resized, canvas, target: int, curve):
    """The weights (target, size) of one side, and 1 where the picture is, 0 where the background is (target,)."""
    size, resized, canvas = (ops.cast(value, "float32") for value in (size, resized, canvas))
    corner = ops.round((canvas - target) / 2) - ops.round((canvas - resized) / 2)  # half to even, as in Pillow
    at, scale = corner + ops.arange(target, dtype="float32") + 0.5, size / resized
    places = ops.arange(size, dtype="float32") + 0.5
    distance = ops.abs(places[None, :] - (at * scale)[:, None]) / ops.maximum(scale, 1.0)
    weights = curve(distance)
    is_inside = ops.cast(ops.logical_and(at > 0, at < resized), "float32")
    return weights / ops.maximum(ops.sum(weights, 1, keepdims=True), 1e-6), is_inside
