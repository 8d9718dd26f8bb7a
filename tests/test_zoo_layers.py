"""Local response normalisation and adaptive average pooling, which Keras and the papers define differently."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from transferkit.zoo import layers


def neighbours(x):
    """Krizhevsky et al. 2012, section 3.3, in its own words."""
    squares, out = np.square(x.astype("float64")), np.empty(x.shape)
    for i in range(x.shape[-1]):
        out[..., i] = x[..., i] / (2 + 1e-4 * squares[..., max(0, i - 2) : i + 3].sum(-1)) ** 0.75
    return out


def test_local_response_norm():
    x = np.random.default_rng(0).uniform(0, 400, (2, 5, 6, 11)).astype("float32")
    found = np.asarray(layers.local_response_norm(x))
    np.testing.assert_allclose(found, neighbours(x), rtol=1e-5)
    theirs = tf.nn.local_response_normalization(x, depth_radius=2, bias=2, alpha=1e-4, beta=0.75)
    np.testing.assert_allclose(found, theirs, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_local_response_norm_in_half_precision(dtype):
    """The square of 300 is no number of float16."""
    maps = keras.Input((4, 4, 8), dtype=dtype)
    model = keras.Model(maps, layers.local_response_norm(maps))
    x = np.full((1, 4, 4, 8), 300.0)
    found = model(keras.ops.cast(x, dtype))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, neighbours(x), rtol=1e-4)


def windows(x, side):
    """torch's windows: from floor(i * n / side) to ceil((i + 1) * n / side)."""
    starts = [(i * x.shape[1] // side, -(-(i + 1) * x.shape[1] // side)) for i in range(side)]
    rows = [[x[:, a:b, c:d].mean((1, 2)) for c, d in starts] for a, b in starts]
    return np.moveaxis(np.array(rows), 2, 0)


@pytest.mark.parametrize(("size", "side"), [*itertools.product((1, 4, 5, 6, 7, 9, 10, 13, 14, 20), (6, 7))])
def test_windows_of_the_adaptive_average(size, side):
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    found = np.asarray(keras.layers.AdaptiveAveragePooling2D(side)(x))
    np.testing.assert_allclose(found, windows(x, side), rtol=1e-5, atol=1e-6)
    if size == side:
        assert np.array_equal(found, x)
