"""Experiments on shared weights, neighbours and random data."""

import numpy as np
import pytest

from transferkit import lab
from transferkit.lab import fitting
from transferkit.lab.experiments import priors
from transferkit.lab.small_data import Split, load_digits, place_digits


def _split(count=40):
    pictures = np.random.default_rng(0).uniform(0, 255, (count, 8, 8, 3)).astype("float32")
    return Split(pictures, np.arange(count) % 10, pictures[:10] + 1, np.arange(10))


def test_uses_per_parameter_are_those_counted_by_hand():
    names = ("simple_cnn(depth=1, width=2)", "mlp(hidden=8)")
    found = priors.compare_weight_sharing(2, networks=names, pictures=40, epochs=1, rates=(0.01,))
    (_, parameters, work, uses, *_), (_, dense, dense_work, *_) = found.rows
    assert parameters == (3 * 3 * 3 * 2 + 2) + (16 * 16 * 2 * 10 + 10)
    assert work == 32 * 32 * 27 * 2 + 16 * 16 * 2 * 10
    assert float(uses) == pytest.approx(work / parameters, abs=0.05)
    assert (dense, dense_work) == (32 * 32 * 3 * 8 + 8 + 8 * 10 + 10, 32 * 32 * 3 * 8 + 8 * 10)


def test_all_pictures_are_permuted_in_the_same_way():
    split = _split()
    permuted = priors.permute_pixels(split, 3)
    colours = [picture.reshape(-1, 3) for picture in (split.train[0], permuted.train[0])]
    assert sorted(map(tuple, colours[0])) == sorted(map(tuple, colours[1]))
    assert not np.array_equal(split.train, permuted.train)
    np.testing.assert_allclose(permuted.test, permuted.train[:10] + 1)  # as in the pictures before


def test_random_labels_keep_the_pictures_and_random_pixels_the_labels():
    split = load_digits(0)
    labels = priors.randomise(split, "random labels", 1)
    assert np.array_equal(labels.train, split.train)
    assert np.array_equal(np.bincount(labels.train_labels), np.bincount(split.train_labels))
    assert np.mean(labels.train_labels == split.train_labels) < 0.15
    pixels = priors.randomise(split, "random pixels", 1)
    assert np.array_equal(pixels.train_labels, split.train_labels)
    assert abs(np.corrcoef(pixels.train[..., 0].ravel(), split.train[..., 0].ravel())[0, 1]) < 0.01
    assert priors.randomise(split, "digits", 1) is split


def test_digits_are_placed_where_the_corners_say():
    digits = np.full((5, 8, 8, 3), 200, "float32")
    canvases, corners = place_digits(digits, 0, side=24, step=4)
    assert (corners % 4 == 0).all()
    for canvas, (top, left) in zip(canvases, corners, strict=True):
        assert canvas[top : top + 8, left : left + 8].min() == 200
        assert canvas.sum() == digits[0].sum()


class _Guess:
    """A model that is right on a fraction of the pictures, which are their own labels."""

    def __init__(self, right):
        self.right = right

    def predict(self, pictures, **_):
        labels = pictures[:, 0, 0, 0].astype(int)
        labels = np.where(np.arange(len(labels)) < self.right * len(labels), labels, labels + 1)
        return np.eye(102)[labels]


def test_the_rate_is_chosen_on_training_pictures_that_the_trial_does_not_see():
    pictures = np.arange(100, dtype="float32")[:, None, None, None]
    split = Split(pictures, np.arange(100), None, None)
    seen = []

    def fit(part, rate, seed):
        seen.append(part.train.ravel())
        return _Guess({0.01: 0.5, 0.03: 0.9, 0.1: 0.9, 0.3: 0.1}[rate])

    assert fitting.choose_rate(split, (0.3, 0.1, 0.03, 0.01), fit) == 0.03
    assert all(part.max() == 79 for part in seen)


@pytest.mark.slow
def test_shared_weights_gain_accuracy_and_a_permutation_costs_it():
    found = lab.run("weight-sharing", seeds=3)
    cnn, _, mlp = (float(row[-1].split()[0]) for row in found.rows)
    assert cnn > mlp + 0.05
    permuted = {row[:2]: float(row[-1].split()[0]) for row in lab.run("pixel-permutation", seeds=3).rows}
    lost = [permuted[name, "in order"] - permuted[name, "permuted"] for name in dict.fromkeys(n for n, _ in permuted)]
    assert lost[0] > 0.1 > abs(lost[1])


@pytest.mark.slow
def test_random_labels_are_learned_and_not_generalised():
    rows = {row[0]: [float(text.split()[0]) for text in row[1:]] for row in lab.run("random-labels", seeds=3).rows}
    assert rows["digits"][1] > 0.75
    assert rows["random labels"][0] > 0.5 and rows["random labels"][1] < 0.2
    assert rows["random pixels"][1] < 0.2
