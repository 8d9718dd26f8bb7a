"""Experiments on one layer: its gradients are those of SciPy and of Keras, and a wrong one is reported."""

import numpy as np
from scipy import signal

from transferkit.lab.experiments import single_layer

RANDOM = np.random.default_rng(3)


def test_gradients_of_a_convolution_are_those_of_scipy():
    values, kernel, upstream = RANDOM.normal(size=(6, 7)), RANDOM.normal(size=(3, 2)), RANDOM.normal(size=(4, 6))
    by_kernel, by_values = single_layer.back_through_convolution(
        values[..., None], kernel[..., None, None], upstream[..., None]
    )
    np.testing.assert_allclose(by_kernel[..., 0, 0], signal.correlate2d(values, upstream, "valid"), atol=1e-12)
    np.testing.assert_allclose(by_values[..., 0], signal.convolve2d(upstream, kernel, "full"), atol=1e-12)


def test_gradients_by_hand_are_those_of_keras_and_of_differences():
    rows = single_layer.compare_gradients().rows
    assert len(rows) == 15
    assert all(float(row[3]) < (1e-6 if row[2] == "finite differences" else 1e-10) for row in rows)


def test_a_wrong_gradient_is_reported(monkeypatch):
    right = single_layer.back_through_convolution
    monkeypatch.setattr(single_layer, "back_through_convolution", lambda *args: [2 * each for each in right(*args)])
    assert all(float(row[3]) > 0.1 for row in single_layer.compare_gradients().rows)


def test_the_gradient_of_a_pool():
    values = np.array([[1.0, 5, 2], [3, 4, 0], [9, 0, 0]])
    maximum = single_layer.back_through_pool(values, np.array([[10.0, 20], [30, 40]]), 2, 1, "max")
    np.testing.assert_array_equal(maximum, [[0, 30, 0], [0, 40, 0], [30, 0, 0]])
    average = single_layer.back_through_pool(values, np.array([[4.0, 8], [0, 0]]), 2, 1, "average")
    np.testing.assert_array_equal(average, [[1, 3, 2], [1, 3, 2], [0, 0, 0]])
    assert all(float(row[5]) < 1e-12 for row in single_layer.compare_pool_gradients().rows)


def test_one_output_spans_the_full_depth():
    finding = single_layer.compute_one_output(10, 20)
    assert [row[2] for row in finding.rows] == [27, 8]
    assert all(float(row[3]) < 1e-9 for row in finding.rows)


def test_a_pool_has_no_weights():
    rows = single_layer.summarise_pool(window_sides=(1, 4)).rows
    assert rows == [("1x1", "32x32x16", 448, 0, 163_850, 163_840), ("4x4", "8x8x16", 448, 0, 10_250, 10_240)]
