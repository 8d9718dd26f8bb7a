"""Experiments by hand: the loops and matrices are those of NumPy and SciPy, and faults are reported."""

import numpy as np
import pytest
from scipy import linalg, signal

from transferkit.lab import operations
from transferkit.lab.experiments import by_hand

RANDOM = np.random.default_rng(3)


def test_loops_are_a_correlation():
    values, kernel = RANDOM.normal(size=(7, 9)), RANDOM.normal(size=(3, 2))
    np.testing.assert_allclose(by_hand.slide(values, kernel), signal.correlate2d(values, kernel, "valid"), atol=1e-12)
    np.testing.assert_allclose(by_hand.slide(values[0], kernel[:, 0]), np.correlate(values[0], kernel[:, 0], "valid"))


def test_a_signal_has_the_lengths_of_its_paddings():
    rows = by_hand.convolve_signal().rows
    assert [row[:2] for row in rows] == [("valid", 8), ("same", 10), ("full", 12)]
    assert all(float(value) < 1e-12 for row in rows for value in row[2:])


def test_layer_and_convolution_agree_once_the_kernel_is_flipped():
    rows = {name: (float(odd), float(even)) for name, odd, even in by_hand.compare_flipped().rows}
    assert rows["layer"][0] > 1
    others = [value for name, pair in rows.items() for value in pair if (name, value) != ("layer", rows["layer"][0])]
    assert sum(value > 1e-9 for value in others) == 1  # SciPy's correlation


def test_a_fault_of_the_layer_is_reported(monkeypatch):
    monkeypatch.setattr(operations, "apply_convolution", lambda values, kernel: np.zeros((10, 10)))
    monkeypatch.setattr(by_hand, "_convolve_twice", lambda picture, kernel: 7.0)
    sentence = by_hand.compare_flipped().sentence
    assert "and by 6 once the kernel is flipped on both axes" in sentence
    assert "differs by 7." in sentence


def test_laws():
    rows = {name: (float(value), holds) for name, value, holds in by_hand.check_laws().rows}
    holding = [name for name, (_, holds) in rows.items() if holds == "yes"]
    assert len(holding) == 4
    assert not [name for name in holding if "correlation" in name or "with a bias is" in name or "ReLU" in name]
    assert rows["layer with a bias is linear"][0] == pytest.approx((2 - 0.5 - 1) * 0.7)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_matrix_of_a_convolution(padding):
    values, kernel = RANDOM.normal(size=(6, 8)), RANDOM.normal(size=(3, 5))
    product = by_hand.make_matrix(values.shape, kernel, padding) @ values.ravel()
    np.testing.assert_allclose(product, signal.correlate2d(values, kernel, padding).ravel(), atol=1e-12)


def test_the_matrix_of_a_signal_is_a_toeplitz_matrix():
    found = by_hand.make_matrix((5,), np.array([1.0, 2, 3])).toarray()
    np.testing.assert_array_equal(found, linalg.toeplitz([2, 1, 0, 0, 0], [2, 3, 0, 0, 0]))


def test_density_of_the_matrix():
    rows = by_hand.build_matrices().rows
    assert rows[0][:4] == ("5", "3", "5x5", 13) and rows[0][5] == 3
    assert rows[3][3] == (3 * 32 - 2) ** 2  # of 9 * 32 * 32, less what lies outside
    assert all(float(row[-1]) < 1e-9 for row in rows)


def test_joined_kernels_do_what_two_layers_do():
    first, second = RANDOM.normal(size=(3, 3, 2, 4)), RANDOM.normal(size=(2, 2, 4, 3))
    joined = by_hand.join_kernels(first, second)
    by_scipy = sum(signal.convolve2d(first[:, :, 1, maps], second[:, :, maps, 2]) for maps in range(4))
    np.testing.assert_allclose(joined[:, :, 1, 2], by_scipy, atol=1e-12)


def test_a_stack_without_activation_is_one_layer():
    one, two = by_hand.collapse_stack(depths=(1, 2)).rows
    assert one[1:] == ("3x3", 216, 216, "0", "0%")
    assert two[1] == "5x5" and float(two[4]) < 1e-9 and int(two[5][:-1]) > 20
