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
    thresholds, precisions = calibration.estimate_precisions(confidences, hits)
    assert thresholds.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    np.testing.assert_allclose(precisions, [1 / 2, 2 / 4, 3 / 5, 4 / 6, 4 / 7])  # with one more mistake than there is
    assert calibration.find_rejection_threshold(confidences, hits, 0.6) == (0.6, pytest.approx(5 / 6))
    assert calibration.find_rejection_threshold(confidences, hits, 0.55) == (0.5, 1.0)
    threshold, coverage = calibration.find_rejection_threshold(confidences, hits, 0.7)
    assert threshold > 1 and coverage == 0


@pytest.mark.parametrize("precision", [0.8, 0.9])
def test_a_rejection_threshold_holds_for_other_pictures(precision):
    """On 10,000 pictures, on average over the validation sets that the threshold comes from."""
    found = []
    for seed in range(40):
        parts = []
        for n, draw in ((200, seed), (10_000, seed + 1000)):
            logits, labels = drawn(n, 1.0, draw)
            probabilities = softmax(logits, 1)
            parts.append((probabilities.max(1), probabilities.argmax(1) == labels))
        threshold, kept = calibration.find_rejection_threshold(*parts[0], precision)
        if kept:
            confidences, hits = parts[1]
            found.append(hits[confidences >= threshold].mean())
    assert len(found) > 20 and precision - 0.01 < np.mean(found) < precision + 0.05


def test_a_temperature_for_each_picture_is_of_the_other_half():
    logits, labels = drawn(400, 2.0)
    temperatures = calibration.cross_fit_temperatures(logits, labels)
    halves = [temperatures == value for value in np.unique(temperatures)]
    assert [half.sum() for half in halves] == [200, 200]
    for half in halves:
        assert temperatures[half][0] == calibration.fit_temperature(logits[~half], labels[~half])
        assert max(abs(np.bincount(labels[half]) - np.bincount(labels[~half]))) <= 1


def test_a_record_holds_a_draw_of_many_pictures():
    logits, labels = drawn(3 * calibration.MOST, 1.0)
    probabilities = calibration.to_probabilities(logits)
    found = calibration.record_confidences(probabilities, labels)
    assert found["n"] == len(labels) and {len(found[key]) for key in found if key != "n"} == {calibration.MOST}
    assert np.mean(found["hits"]) == pytest.approx((probabilities.argmax(1) == labels).mean(), abs=0.03)
    assert np.mean(found["label_probabilities"]) == pytest.approx(
        probabilities[np.arange(len(labels)), labels].mean(), abs=0.03
    )


@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_a_temperature_never_changes_the_order(temperature):
    logits = (10 * np.random.default_rng(0).normal(size=(1000, 20))).astype("float32")
    plain, changed = calibration.to_probabilities(logits), calibration.to_probabilities(logits, temperature)
    assert (np.diff(np.take_along_axis(changed, np.argsort(-logits, 1), 1), axis=1) <= 0).all()  # very small ones are 0
    np.testing.assert_array_equal(changed.argmax(1), logits.argmax(1))
    np.testing.assert_allclose(plain, softmax(logits.astype(float), 1))
    np.testing.assert_allclose(changed, softmax(logits.astype(float) / temperature, 1), atol=1e-15)


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
