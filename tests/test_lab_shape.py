"""Experiments on pools and on convolutional classifiers."""

import keras
import numpy as np
import pytest

from transferkit import lab, zoo
from transferkit.lab import fitting
from transferkit.lab.experiments import shape
from transferkit.lab.small_data import Split


def test_the_network_without_pools_keeps_the_size_of_the_maps():
    model, pooled = shape.build_pooled("none", 2), shape.build_pooled("max 2x2", 2)
    assert not any(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers)
    assert model.get_layer("stage3").output.shape[1:3] == (32, 32)
    # the pools have no weights, and what they save is all in the classifier
    saved = model.count_params() - pooled.count_params()
    assert saved == (32 * 32 - 4 * 4) * 8 * 10


def test_each_pool_is_what_its_name_says():
    kinds = {name: shape.build_pooled(name, 2).get_layer("pool1") for name in shape.POOLS if name != "none"}
    assert {name: type(layer).__name__ for name, layer in kinds.items()} == {
        "max 2x2": "MaxPooling2D",
        "average 2x2": "AveragePooling2D",
        "max 3x3, overlapping": "MaxPooling2D",
        "average 3x3, overlapping": "AveragePooling2D",
        "convolution, stride 2": "Conv2D",
    }
    assert kinds["max 3x3, overlapping"].pool_size == (3, 3) and kinds["max 2x2"].pool_size == (2, 2)


def test_window_pools_are_computed_by_window():
    picture = np.arange(16.0).reshape(1, 4, 4)
    windows = shape._windows(picture)
    assert shape.WINDOW_POOLS["max"](windows)[0].tolist() == [[5, 7], [13, 15]]
    assert shape.WINDOW_POOLS["average"](windows)[0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert shape.WINDOW_POOLS["L2"](windows)[0, 0, 0] == pytest.approx((0 + 1 + 16 + 25) ** 0.5)  # a sum, not a mean


def test_salt_makes_a_fraction_of_the_pixels_white():
    pictures = np.full((20, 32, 32, 3), 10, "float32")
    noisy = shape.add_salt(pictures, 0.1, 0)
    assert np.mean(noisy[..., 0] == 255) == pytest.approx(0.1, abs=0.01)
    assert (noisy.min(-1) == noisy.max(-1)).all() and set(np.unique(noisy)) == {10, 255}
    assert np.array_equal(shape.add_salt(pictures, 0.0, 0), pictures)


def test_one_pass_over_a_larger_picture_answers_for_each_window():
    model = fitting.build("simple_cnn(padding=valid, width=4)")
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=weights.shape) for weights in model.get_weights()])
    canvas = random.uniform(0, 255, (56, 64, 3)).astype("float32")
    answers = shape.make_convolutional(model).predict(canvas[None], verbose=0)[0]
    assert answers.shape == (4, 5, 10)
    windows = np.stack([canvas[8 * i : 8 * i + 32, 8 * j : 8 * j + 32] for i in range(4) for j in range(5)])
    alone = model.predict(windows, verbose=0).reshape(4, 5, 10)
    np.testing.assert_allclose(answers, alone, atol=1e-4 * abs(alone).max())
    np.testing.assert_array_equal(shape._cut_windows(canvas, 32, 8).reshape(windows.shape), windows)


def test_the_width_of_allcnn_shapes_all_its_maps():
    model = fitting.build("allcnn_c(width=4, variant=base)")
    widths = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert widths == [4, 4, 8, 8, 8, 8, 10]
    assert zoo.spell("allcnn_c(width=96)") == "allcnn_c"


def test_pools_are_compared_with_the_first_of_them():
    found = shape.compare_pools(2, width=2, pools=("max 2x2", "none"), pictures=40, epochs=1, rates=(0.01,))
    assert [row[2] for row in found.rows] == [4 * 4 * 8 * 10 + 10, 32 * 32 * 8 * 10 + 10]
    assert "with none" in found.sentence


def test_splits_without_test_pictures_are_not_needed_to_choose():
    split = Split(np.zeros((10, 32, 32, 3), "float32"), np.zeros(10, int), None, None)
    assert fitting.choose_rate(split, (0.2,), None) == 0.2


@pytest.mark.slow
def test_salt_changes_maxima_more_than_averages():
    rows = {row[:2]: [float(text.split()[0]) for text in row[3:]] for row in lab.run("salt-noise", seeds=3).rows}
    assert rows["change", "max"][-1] > rows["change", "average"][-1]
    assert rows["accuracy", "max 2x2"][0] > rows["accuracy", "max 2x2"][-1] + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pools", "all-convolutional"])
def test_every_network_learns_digits(name):
    assert all(float(row[-1].split()[0]) > 0.5 for row in lab.run(name, seeds=3).rows)


@pytest.mark.slow
def test_answers_are_right_where_the_digit_is():
    found = lab.run("larger-pictures", seeds=2)
    assert found.rows[1][2] < found.rows[0][2] / 3
    assert float(found.sentence.split("digit is, ")[1].split()[0]) > 0.85
