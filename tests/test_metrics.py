"""Metrics against scikit-learn, SciPy and manual computations."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, top_k_accuracy_score

from transferkit.commands.result_output import balanced_line
from transferkit.evaluation import metrics


def chances(n=200, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 2 * np.eye(classes)[labels]
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), labels


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 1), (93, 100), (412, 500)])
def test_wilson_is_scipys(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert metrics.wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_report_agrees_with_scikit_learn():
    p, labels = chances()
    found = metrics.compute_metrics(p, labels, list("abcdefg"))
    assert found["accuracy"] == accuracy_score(labels, p.argmax(1))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, p.argmax(1)))
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, p, k=5))
    assert found["loss"] == pytest.approx(log_loss(labels, p))
    assert found["n"] == 200
    assert np.trace(found["confusion"]) == round(found["accuracy"] * 200)
    assert sum(score["n"] for score in found["per_class"].values()) == 200


def test_a_class_without_pictures_and_few_classes():
    p = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    found = metrics.compute_metrics(p, np.array([0, 1, 1]), ["a", "b", "c"])
    assert found["top5"] is None and found["balanced_accuracy"] == 0.75
    assert found["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0}
    assert found["confused"] == [["b", "a", 1]]


@pytest.mark.parametrize(("counts", "shown"), [((9, 3), True), ((8, 3), False), ((9, 3, 0), True), ((5, 5), False)])
def test_balanced_accuracy_is_shown_of_unequal_classes(counts, shown):
    labels = np.repeat(np.arange(len(counts)), counts)
    figures = metrics.compute_label_metrics(labels, np.zeros_like(labels), list("abc"[: len(counts)]))
    line = "balanced accuracy, the mean over the classes: 50.0%"
    assert balanced_line(figures) == (line if shown else "")


def test_calibration_error():
    hit = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    assert metrics.calibration_error(np.full(10, 0.75), hit) == pytest.approx(0.45)
    assert metrics.calibration_error(np.full(4, 1.0), np.ones(4)) == 0


def test_ten_thousand_classes():
    """No matrix of a hundred million numbers, and the same pairs as of one."""
    random, classes = np.random.default_rng(0), [f"class {number}" for number in range(10_000)]
    labels = random.integers(0, 10_000, 3000)
    guesses = np.where(random.random(3000) < 0.5, labels, (labels + 1) % 10_000)
    labels[:3], guesses[:3] = 7, 5
    tracemalloc.start()
    found = metrics.compute_label_metrics(labels, guesses, classes)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert found["confusion"] is None and found["confused"][0] == ["class 7", "class 5", 3]
    assert found["accuracy"] == pytest.approx(0.5, abs=0.05) and len(found["per_class"]) == 10_000


def test_the_most_confused_are_those_of_the_matrix():
    random = np.random.default_rng(1)
    labels, guesses = random.integers(0, 6, (2, 400))
    found = metrics.compute_label_metrics(labels, guesses, list("abcdef"))
    matrix = np.array(found["confusion"])
    np.fill_diagonal(matrix, 0)
    counts = [count for _, _, count in found["confused"]]
    assert counts == sorted(matrix.ravel().tolist(), reverse=True)[:5]
    assert all(matrix["abcdef".index(a), "abcdef".index(b)] == count for a, b, count in found["confused"])
