"""Experiments with fixed kernels: smoothing and edges are SciPy's, and pools are what their definition says."""

import numpy as np
import pytest
from scipy import ndimage

from transferkit.lab.experiments import filters
from transferkit.lab.operations import apply_convolution

RANDOM = np.random.default_rng(5)


def test_smoothing_is_that_of_scipy():
    picture = RANDOM.normal(size=(20, 30))
    box = ndimage.uniform_filter(picture, 7, mode="mirror")
    np.testing.assert_allclose(filters.smooth(picture, filters.SMOOTHING["box of 7"]), box, atol=1e-10)
    gaussian = ndimage.gaussian_filter1d(picture[0], 2, mode="mirror", truncate=3)
    np.testing.assert_allclose(filters.smooth(picture[0], filters.make_gaussian(13, 2)), gaussian, atol=1e-10)


def test_noise_is_measured_before_and_after():
    finding = filters.compare_smoothing(2, noise=10)
    rows = {row[0]: [float(text.split()[0]) for text in row[1:]] for row in finding.rows}
    assert rows["none"] == pytest.approx([10, 10], rel=0.1)
    assert rows["box of 3"][0] < 9
    assert rows["box of 15"][1] > 20  # blurred


def test_edges_are_those_of_scipy():
    picture = RANDOM.normal(size=(12, 12))
    for name, axis in (("Sobel, rows", 0), ("Sobel, columns", 1)):
        expected = ndimage.sobel(picture, axis)[1:-1, 1:-1]
        np.testing.assert_allclose(apply_convolution(picture, filters.EDGES[name]), expected, atol=1e-10)


def test_each_kernel_answers_to_its_edge():
    rows = {row[0]: row[1:5] for row in filters.detect_edges().rows}
    assert rows == {
        "horizontal line": ("0", "300", "0", "600"),
        "Sobel, rows": ("0", "400", "0", "400"),
        "Sobel, columns": ("0", "0", "400", "0"),
    }


def test_pools_by_hand():
    values = np.array([[3.0, 4], [0, 12]])[..., None]
    assert [float(filters.pool_maps(values, kind)[0, 0, 0]) for kind in ("max", "average", "L2")] == [12, 4.75, 13]


def test_salt_moves_the_maximum_most():
    finding = filters.add_salt(2, fractions=(0.05,))
    ((_, *texts),) = finding.rows
    maximum, average, root = (float(text.split()[0]) for text in texts)
    assert maximum > root > average > 0
    assert "differs by 0 when" in finding.sentence
