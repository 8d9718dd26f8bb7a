"""Keras' layers on single arrays with given kernels, in float64, and their gradients."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from transferkit.data import lazy_tensorflow as tf

CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}


def apply_convolution(values: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None, **knobs) -> np.ndarray:
    """What `keras.layers.Conv1D` or `Conv2D` with this kernel makes of one signal or picture.

    Args:
        values: (n,) or (h, w), or with a last axis of channels.
        kernel: (k,) or (k, l), or with two last axes, of the input's and the output's channels.
        bias: (output channels,); by default none.
        **knobs: of the layer: `strides`, `padding`, `dilation_rate`.

    Returns:
        The maps, with an axis of channels if `kernel` has one.

    Example:
        >>> apply_convolution(np.array([1.0, 2, 3, 4]), np.array([1.0, 0, -1]))
        array([-2., -2.])
    """
    flat = kernel.ndim < 3
    axes = kernel.ndim if flat else kernel.ndim - 2
    if flat:
        values, kernel = values[..., None], kernel[..., None, None]
    layer = CONVOLUTIONS[axes](
        kernel.shape[-1], kernel.shape[:axes], use_bias=bias is not None, dtype="float64", **knobs
    )
    layer.build((None, *values.shape))
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    found = np.asarray(layer(values[None].astype("float64")))[0]
    return found[..., 0] if flat else found


def find_gradients(function: Callable, arrays: Sequence[np.ndarray], upstream: np.ndarray) -> list[np.ndarray]:
    """The gradients of the sum of `function(*arrays) * upstream` by the arrays, by automatic differentiation."""
    tensors = [tf.convert_to_tensor(values, "float64") for values in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = keras.ops.sum(function(*tensors) * upstream)
    return [np.asarray(gradient) for gradient in tape.gradient(total, tensors)]


def differ_numerically(function: Callable[[np.ndarray], float], values: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of a function of an array by central differences."""
    gradient = np.zeros_like(values, "float64")
    for place in np.ndindex(values.shape):
        shift = np.zeros_like(gradient)
        shift[place] = step
        gradient[place] = (function(values + shift) - function(values - shift)) / (2 * step)
    return gradient


def largest_difference(first, second) -> float:
    """The largest absolute difference of two arrays."""
    return float(np.abs(np.asarray(first, "float64") - np.asarray(second, "float64")).max())
