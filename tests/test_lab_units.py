"""Experiments on units, and what all trainings of the lab share: rates, measures, intervals in words."""

import numpy as np
import pytest
from scipy import stats

from transferkit.lab import experiment, fitting, measures, trainings
from transferkit.lab.experiments import units


@pytest.fixture(scope="module")
def small():
    return fitting.build("simple_cnn(depth=2, width=4)", side=trainings.SIDE)


def test_a_training_error_is_reached_between_two_epochs():
    assert units.epochs_until(np.array([0.9, 0.5, 0.2]), 0.25, 30) == pytest.approx(2 + 0.25 / 0.3)
    assert units.epochs_until(np.array([0.2, 0.1]), 0.25, 30) == pytest.approx(0.75 / 0.8)  # from 1 before the first
    assert units.epochs_until(np.array([0.9, 0.5]), 0.25, 30) == 30


def test_a_training_stops_at_the_error(small):
    split = trainings.draw_split(0, 64)
    how = {"epochs": 9, "rate": 0.001, "seed": 0}
    stopped = trainings.train_anew(small, split.train, split.train_labels, callbacks=[units._stop_below(1.0)], **how)
    assert len(stopped["accuracy"]) == 1


def test_dead_units_and_zeros_are_those_that_were_planted(small):
    fitting.redraw(small, 0)
    layer = small.get_layer("conv2")
    layer.bias.assign(np.array([-1e6, 1e6] * 4))
    values = measures.unit_values(small, trainings.draw_split(0, 8).test[:20], ["act2"])["act2"]
    assert values.shape == (20 * 8 * 8, 8)
    assert measures.dead_units(values) == 0.5
    assert np.mean(values == 0) == 0.5


def test_saturated_values_are_near_an_end_of_their_activation():
    assert units.saturated(np.tanh([-8.0, -0.5, 0.0, 8.0]), "tanh") == 0.5
    assert units.saturated(np.array([0.001, 0.5, 0.999, 0.3]), "sigmoid") == 0.5
    assert units.saturated(np.array([0.0, 0.5, 3.0]), "relu") == 0


def test_units_of_one_source_are_one_group():
    random = np.random.default_rng(0)
    sources = random.normal(size=(2000, 3))
    values = np.concatenate([np.repeat(sources, 4, axis=1), np.zeros((2000, 1))], axis=1)
    values[:, :12] += 0.3 * random.normal(size=(2000, 12))
    matrix = units.correlate(values)
    assert matrix.shape == (12, 12)  # without the constant one
    assert matrix[0, 1] == pytest.approx(stats.pearsonr(values[:, 0], values[:, 1])[0])
    numbers = units.group(matrix, 0.5)
    assert [len(set(numbers[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert numbers.max() == 3
    assert units.group(matrix, 0.99).max() == 12


def test_pictures_of_a_rate_neither_train_nor_measure():
    split, (choice, labels) = trainings.draw_split(3, 200), trainings.choice_pictures()
    keys = [{each.tobytes() for each in pictures} for pictures in (split.train, choice, split.test)]
    assert not keys[0] & keys[1] and not keys[1] & keys[2] and not keys[0] & keys[2]
    assert (len(split.train), len(choice), len(labels)) == (200, 300, 300)
    assert {each.tobytes() for each in trainings.draw_split(4, 200).train} != keys[0]


def test_a_training_does_not_depend_on_the_one_before(small):
    split = trainings.draw_split(0, 64)
    how = {"epochs": 2, "rate": 0.05, "seed": 1}
    first = trainings.train_anew(small, split.train, split.train_labels, **how)
    trainings.train_anew(small, split.train, split.train_labels, epochs=2, rate=0.5, seed=2)
    again = trainings.train_anew(small, split.train, split.train_labels, **how)
    assert again["loss"] == pytest.approx(first["loss"], rel=1e-4)
    fitting.redraw(small, 2)
    assert np.std(small.get_layer("conv2").kernel) == pytest.approx(np.sqrt(2 / (9 * 4)), rel=0.5)


def test_a_rate_that_learns_nothing_is_not_chosen():
    names = {"small": "simple_cnn(depth=1, width=4)"}
    found = trainings.compare(trainings.named(names), rates=(1e-7, 0.03), epochs=2, seeds=2, pictures=128)["small"]
    assert found.rate == 0.03
    assert found.curves().shape == (2, 2)
    assert found.last().shape == (2,)
    assert found.last().min() > 0.2


def test_the_gradient_of_a_convolution_is_that_by_hand():
    import keras

    pictures = keras.Input((4, 4, 3))
    logits = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 1, name="only")(pictures))
    model = keras.Model(pictures, logits)
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(6, 4, 4, 3)), random.integers(0, 5, 6)
    scores = np.exp(model.predict(x, verbose=0).astype("float64"))
    wrong = scores / scores.sum(1, keepdims=True) - np.eye(5)[labels]
    by_hand = x.mean((1, 2)).T @ wrong / 6
    assert measures.gradient_norms(model, x, labels)["only"] == pytest.approx(np.linalg.norm(by_hand), rel=1e-4)


def test_a_difference_in_words_is_a_paired_t_test():
    first, second = np.array([0.90, 0.92, 0.95]), np.array([0.85, 0.88, 0.86])
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    words = experiment.spell_points(first, second)
    assert f"{100 * (high - low) / 2:.1f} points" in words
    assert ("no difference found" in words) == (low <= 0 <= high)
    assert experiment.spell_points([0.5, 0.51, 0.52], [0.4, 0.41, 0.42]) == "10.0 ± 0.0 points more"
    assert experiment.spell_points([0.4, 0.41, 0.42], [0.5, 0.51, 0.52]) == "10.0 ± 0.0 points less"
    assert experiment.spell_percent([0.5, 0.5]) == "50.0 ± 0.0%"


def test_raw_pictures_reach_the_network_as_they_are():
    raw, centred = (units._build_for("mlp(hidden=4)", values) for values in ((0.0, 1.0), (127.5, 127.5)))
    centred.set_weights(raw.get_weights())
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    assert raw.predict(pictures / 127.5 - 1, verbose=0) == pytest.approx(centred.predict(pictures, verbose=0), abs=1e-4)


INPUTS = {"centred": ((127.5, 127.5), (0.01,)), "raw": ((0.0, 1.0), (0.0001,))}


@pytest.mark.slow
def test_small_runs_of_the_experiments_on_units():
    race = units.race_to_error(2, limit=3, pictures=64, rates=(0.1,), width=4)
    assert "training error relu needs" in race.sentence
    dead = units.count_dead(2, rates=(0.01, 30.0), epochs=2, pictures=64, depth=2, width=4)
    shares = {row[:3]: row[4] for row in dead.rows}
    assert shares["relu", 30.0, "act2"] > shares["relu", 0.01, "act2"]  # a huge step kills
    assert all((row[3] > 10) == (row[0] == "relu") for row in dead.rows if row[1] == 0.01)
    inputs = units.compare_inputs(2, inputs=INPUTS, epochs=1, pictures=64, depth=1)
    assert [row[0] for row in inputs.rows] == ["relu, centred", "relu, raw", "tanh, centred", "tanh, raw"]
    clusters = units.cluster_units(2, epochs=1, pictures=64)
    assert len(clusters.rows) == 4
