"""Experiments on shifts and turns."""

import keras
import numpy as np
import pytest

from transferkit import lab
from transferkit.data.augment.image_ops import GREY
from transferkit.lab.experiments import invariance


@pytest.mark.parametrize("change, amount", [("shift", 5), ("turn", 40), ("scale", 1.3)])
def test_what_treats_all_pixels_alike_commutes_with_everything(change, amount):
    assert invariance.measure_commutation(lambda picture: 2 * picture, 1, change, amount) < 1e-6


@pytest.mark.parametrize("change, amount", [("shift", 5), ("turn", 40), ("scale", 1.3)])
def test_what_depends_on_the_place_does_not(change, amount):
    brighter = np.linspace(0, 1, invariance.SIDE)[:, None, None]
    assert invariance.measure_commutation(lambda picture: brighter * picture, 1, change, amount) > 0.01


def test_only_multiples_of_the_stride_commute_and_only_round_kernels_turn():
    subjects = invariance.make_subjects(0)
    apart = {
        name: [invariance.measure_commutation(compute, stride, "shift", shift) for shift in (1, 2, 8)]
        for name, (compute, stride) in subjects.items()
    }
    assert max(apart["layer"]) < 1e-5
    assert max(apart["layer, stride 2"][1:]) < 1e-5 < 0.01 < apart["layer, stride 2"][0]
    assert apart["network, stride 8"][2] < 1e-5 < 0.01 < min(apart["network, stride 8"][:2])
    turned = {name: invariance.measure_commutation(*subjects[name], "turn", 90) for name in ("layer", "round kernel")}
    assert turned["round kernel"] < 1e-5 < 0.1 < turned["layer"]


def test_pools_are_those_of_keras():
    maps = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype("float32")
    for name, layer in (("max of 4x4", keras.layers.MaxPooling2D), ("average of 4x4", keras.layers.AveragePooling2D)):
        np.testing.assert_allclose(invariance.POOLS[name](maps), layer(4)(maps), atol=1e-6)


def test_unchanged_features_are_counted_among_those_that_see_something():
    first, second = np.array([0, 0, 1.0, 2.0, 3.0, 0]), np.array([0, 0, 1.0, 2.5, 3.0, 1.0])
    assert invariance._unchanged(first, second) == 0.5


def test_views_are_shifts_of_their_pictures():
    split = invariance.load_on_grey(0).first(3)
    assert (split.train[:, 0] == GREY).all()
    assert np.array_equal(invariance.augment(split.train, "none", 2, 0), np.tile(split.train, (2, 1, 1, 1)))
    views = invariance.augment(split.train, "pad_crop(6)", 2, 0)
    shifted = [np.roll(split.train[1], (i, j), (0, 1)) for i in range(-6, 7) for j in range(-6, 7)]
    assert sum(np.array_equal(views[4], each) for each in shifted) == 1
    assert not np.array_equal(views[1], views[4])


def test_test_pictures_are_moved_to_four_sides_and_turned_to_two():
    split = invariance.load_on_grey(0).first(1)
    pictures = split.test[:2]
    assert len(invariance.move(pictures, 0)) == len(invariance.turn(pictures, 0)) == 1
    up, down, left, right = invariance.move(pictures, 3)
    assert np.array_equal(up[:, :-3], pictures[:, 3:]) and np.array_equal(down[:, 3:], pictures[:, :-3])
    assert np.array_equal(left[:, :, :-3], pictures[:, :, 3:]) and np.array_equal(right[:, :, 3:], pictures[:, :, :-3])
    turned = sorted(
        invariance.turn(pictures, 90), key=lambda each: int(abs(each - np.rot90(pictures, 1, (1, 2))).sum())
    )
    assert abs(turned[0].astype(int) - np.rot90(pictures, 1, (1, 2))).max() <= 1
    assert abs(turned[1].astype(int) - np.rot90(pictures, -1, (1, 2))).max() <= 1


@pytest.mark.slow
def test_a_max_pool_makes_features_change_less():
    rows = {(name, shift): float(change.split()[0]) for name, shift, change, _ in lab.run("pool-shifts", seeds=3).rows}
    assert rows["max of 4x4", 1] < rows["one of 4x4", 1]
    assert rows["max of 4x4", 1] < rows["max of 4x4", 8]


@pytest.mark.slow
def test_each_augmentation_helps_with_what_it_shows():
    rows = lab.run("augmentation-shifts", seeds=3).rows
    scores = {row[:3]: float(row[-1].split()[0]) for row in rows}
    assert scores["none", "shift", 4] < scores["none", "shift", 0] - 0.1
    assert scores["shifts", "shift", 4] > scores["none", "shift", 4] + 0.1
    assert scores["turns", "turn", 45] > scores["none", "turn", 45] + 0.1
