"""Temperature, rejection and conformal sets against their definitions, on drawn pictures."""

import numpy as np
import pytest
from scipy.special import softmax

from transferkit.evaluation import calibration


def drawn(n, temperature, seed=0):
    """Logits that are right once they are divided by a temperature, and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(n, 5))
    labels = (softmax(logits, 1).cumsum(1) > random.random((n, 1))).argmax(1)
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    assert calibration.fit_temperature(*drawn(10_000, temperature)) == pytest.approx(temperature, rel=0.05)


def test_few_correct_pictures_do_not_make_a_network_sure():
    logits = np.tile([2.0, 0.0], (10, 1))
    assert 0.3 < calibration.fit_temperature(logits, np.zeros(10, int)) < 1
    assert calibration.fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0


def test_a_rejection_threshold_has_the_wanted_precision():
    confidences = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5])
    hits = np.array([1, 1, 0, 1, 1, 0])
    assert calibration.find_rejection_threshold(confidences, hits, 0.8) == (0.6, pytest.approx(5 / 6))
    assert calibration.find_rejection_threshold(confidences, hits, 0.9) == (0.9, pytest.approx(1 / 6))
    threshold, coverage = calibration.find_rejection_threshold(confidences, 1 - hits, 0.9)
    assert threshold > 1 and coverage == 0


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.99])
@pytest.mark.parametrize("n", [50, 500])
def test_conformal_sets_have_the_wanted_coverage(coverage, n):
    """On 10,000 pictures, on average over the validation sets that the threshold comes from."""
    found = []
    for seed in range(40):
        logits, labels = drawn(n, 2.0, seed)
        threshold = calibration.find_conformal_threshold(softmax(logits, 1)[np.arange(n), labels], coverage)
        logits, labels = drawn(10_000, 2.0, seed + 1000)
        found.append((softmax(logits, 1)[np.arange(10_000), labels] >= threshold).mean())
    assert coverage - 0.015 < np.mean(found) < coverage + 1.5 / n + 0.015


def test_too_few_pictures_for_a_coverage_give_all_classes():
    assert calibration.find_conformal_threshold(np.full(8, 0.9), 0.9) == 0.0
    assert calibration.find_conformal_threshold(np.full(9, 0.9), 0.9) == 0.9
