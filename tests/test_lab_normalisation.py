"""Experiments on initialisation and normalisation."""

import numpy as np
import pytest

from transferkit.lab.experiments import normalisation


def test_a_gradient_vanishes_or_explodes_by_its_norm_at_the_first_convolution():
    last = np.ones((2, 1))
    assert normalisation._verdict(np.hstack([last * 1e-9, last])) == "vanishing"
    assert normalisation._verdict(np.hstack([last * 0, last])) == "vanishing"
    assert normalisation._verdict(np.hstack([last * 0.1, last * 1e-9])) == "moderate"
    assert normalisation._verdict(np.hstack([last * 1e9, last])) == "exploding"


def test_the_narrow_net_a_is_vggs_when_it_is_as_wide():
    model = normalisation.build_narrow_a(respond=False, width=64)
    convolutions = sum(each.count_params() for each in model.layers if each.name.startswith("conv"))
    assert convolutions == 9_220_480  # torchvision's vgg11().features


def test_response_normalisation_is_in_one_of_the_two_networks():
    with_it, without = (normalisation.build_narrow_a(respond=respond, width=4) for respond in (True, False))
    with_it.set_weights(without.get_weights())  # it has none of its own
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    ratio = np.abs(with_it.predict(pictures, verbose=0) / without.predict(pictures, verbose=0))
    assert ratio.max() < 0.7  # divided by (2 + ...) ** 0.75, which is 1.7 at least, before biases of 0


def test_rates_in_words():
    assert normalisation._spell_rates([0.01, 0.1, 1], [0.8, 0.51, 0.5]) == "2 of 3 rates (0.01, 0.1)"
    assert normalisation._spell_rates([0.01], [0.1]) == "0 of 1 rates"


@pytest.mark.slow
def test_gradients_vanish_with_a_sigmoid_and_small_kernels_and_batch_norm_mends_it():
    finding = normalisation.measure_gradients(2, depth=20, pictures=16)
    verdicts = {row[0]: row[3] for row in finding.rows}
    assert verdicts["sigmoid Glorot"] == verdicts["relu Gaussian 0.01"] == "vanishing"
    assert verdicts["relu Gaussian 0.5"] == "exploding"
    assert verdicts["relu He"] == verdicts["relu Gaussian 0.01 + batch norm"] == "moderate"


@pytest.mark.slow
def test_small_runs_of_the_experiments_on_normalisation():
    rows = normalisation.sweep_rates(2, rates=(0.03, 30.0), epochs=3, pictures=96, depth=2).rows
    assert [row[0] for row in rows] == [0.03, 30.0]
    found = normalisation.compare_response_norm(2, rates=(0.03,), epochs=1, pictures=64, depth=1)
    assert "times as long" in found.sentence
    assert len(normalisation.compare_vgg(2, rates=(0.03,), epochs=1, pictures=64, width=2).rows) == 2
