"""Experiments on identity blocks, response normalisation and dropout."""

import numpy as np
import pytest
import tensorflow as tf

from transferkit.lab.experiments import identities
from transferkit.lab.fitting import build

PICTURES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")


def test_identity_blocks_change_nothing_and_others_do():
    model = build(identities.NETWORK)
    model.get_layer("classifier").set_weights([np.ones((512, 10)), np.zeros(10)])
    before = np.asarray(model(PICTURES))
    extended = identities.insert_blocks(model, 2, identities.identity_kernel)
    assert len(extended.layers) == len(model.layers) + 12
    np.testing.assert_allclose(np.asarray(extended(PICTURES)), before, rtol=1e-4)
    assert np.abs(np.asarray(identities.insert_blocks(model, 2)(PICTURES)) - before).max() > 1


def test_residual_blocks_begin_as_the_identity():
    zero, ordinary = identities.compare_residual_blocks(PICTURES)
    assert zero < 1e-5 < 0.1 < ordinary


@pytest.mark.slow
def test_networks_are_trained_and_extended():
    finding = identities.extend_network(2, blocks=1, pictures=100, epochs=1, rates=(0.01,))
    assert [row[:2] for row in finding.rows] == [
        ("shallow", 4),
        ("with identity blocks", 7),
        ("deep, from scratch", 7),
    ]
    assert finding.rows[0][2:] == finding.rows[1][2:]
    assert "3 identity blocks" in finding.sentence


@pytest.mark.slow
def test_training_does_not_find_the_identity():
    finding = identities.extend_network(3)
    accuracies = [float(row[2].split()[0]) for row in finding.rows]
    assert accuracies[0] == accuracies[1] > accuracies[2] + 0.1


def test_response_normalisation_is_that_of_tensorflow():
    values = np.random.default_rng(1).normal(size=(3, 12)).astype("float32")
    expected = tf.nn.local_response_normalization(values[:, None, None], 2, bias=1, alpha=0.2, beta=0.75)
    found = identities.normalise_maps(values, 0.2)
    np.testing.assert_allclose(found, np.asarray(expected)[:, 0, 0], rtol=1e-4, atol=1e-5)


def test_an_excited_unit_damps_its_neighbours():
    first, *_, last = ([float(value) for value in row] for row in identities.normalise_responses().rows)
    assert last[3] < first[3] / 10  # the next map
    assert last[4] == first[4]  # five maps away
    assert first[1] == pytest.approx(1 / (1 + 0.2 * 5) ** 0.75, abs=1e-3)


def test_masks_average_to_the_linear_layer():
    finding = identities.average_masks(inputs=6, draws=500)
    rows = {name: float(value) for name, value in finding.rows}
    assert rows["linear"] < 1e-9 < 0.1 < rows["ReLU"]
    assert "all 64 masks" in finding.sentence


def test_thinned_networks_are_averaged():
    finding = identities.average_networks(2, pictures=200, epochs=4, draws=(1, 5))
    assert [row[0] for row in finding.rows] == ["whole", "1", "5"]
    losses = [float(row[1].split()[0]) for row in finding.rows]
    assert losses[2] < losses[1]


@pytest.mark.slow
def test_one_thinned_network_is_worse_than_the_whole():
    whole, one, *_ = (float(row[1].split()[0]) for row in identities.average_networks(3).rows)
    assert one > whole
