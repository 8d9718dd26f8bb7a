"""Metrics against scikit-learn, SciPy and manual computations."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from transferkit.commands.result_output import balanced_line
from transferkit.evaluation import metrics, weighted_scores


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


def test_an_interval_holds_its_proportion():
    """Rounding made 0.9999999999999999 of 24 of 24, below the accuracy of 1."""
    for n in range(1, 200):
        for hits in (0, n):
            low, high = metrics.wilson_interval(hits, n)
            assert low <= hits / n <= high


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
    of_c = {"precision": 0.0, "recall": 0.0, "recall_ci95": None, "f1": 0.0, "n": 0}
    assert found["per_class"]["c"] == of_c | {"roc_auc": None, "average_precision": None}
    assert found["macro"]["recall"] == 0.75
    assert found["confused"] == [["b", "a", 1]]


@pytest.mark.parametrize(("counts", "shown"), [((9, 3), True), ((8, 3), False), ((9, 3, 0), True), ((5, 5), False)])
def test_balanced_accuracy_is_shown_of_unequal_classes(counts, shown):
    labels = np.repeat(np.arange(len(counts)), counts)
    figures = metrics.compute_label_metrics(labels, np.zeros_like(labels), list("abc"[: len(counts)]))
    line = "balanced accuracy, the mean over the classes: 50.0%"
    assert balanced_line(figures) == (line if shown else "")


def with_confidence(confidence, hits):
    """(probabilities, labels) of two classes: the first one is predicted."""
    p = np.full((len(hits), 2), 1 - confidence)
    p[:, 0] = confidence
    return p, np.where(hits, 0, 1)


def test_calibration_error():
    p, labels = with_confidence(0.75, np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]))
    found = metrics.compute_metrics(p, labels, ["a", "b"])
    assert found["ece"] == pytest.approx(0.45)
    assert found["reliability"] == [
        {
            "low": pytest.approx(11 / 15),
            "high": pytest.approx(12 / 15),
            "confidence": pytest.approx(0.75),
            "accuracy": pytest.approx(0.3),
            "ci95": list(metrics.wilson_interval(3, 10)),
            "n": 10,
        }
    ]
    assert metrics.compute_metrics(*with_confidence(1.0, np.ones(4)), ["a", "b"])["ece"] == 0


@pytest.mark.parametrize("digits", [1, 16])  # few digits make equal scores
def test_rankings_are_scikit_learns(digits):
    p, labels = chances()
    p = p.round(digits)
    weights = np.random.default_rng(1).integers(0, 3, (2, 200)).astype(float)
    for number in range(3):
        area, precision = weighted_scores.score_ranking(p[:, number], labels == number, weights)
        for i, row in enumerate(weights):
            of_class = labels == number
            assert area[i] == pytest.approx(roc_auc_score(of_class, p[:, number], sample_weight=row))
            assert precision[i] == pytest.approx(average_precision_score(of_class, p[:, number], sample_weight=row))


def test_averages_over_classes_are_scikit_learns():
    p, labels = chances()
    found = metrics.compute_metrics(p, labels, list("abcdefg"))
    for average in ("macro", "weighted"):
        for key, score in {"precision": precision_score, "recall": recall_score, "f1": f1_score}.items():
            assert found[average][key] == pytest.approx(score(labels, p.argmax(1), average=average))
        area = roc_auc_score(labels, p, multi_class="ovr", average=average)
        assert found[average]["roc_auc"] == pytest.approx(area)


def test_sensitivity_and_specificity_of_two_classes():
    labels, guesses = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 0])
    found = metrics.compute_label_metrics(labels, guesses, ["healthy", "ill"])["binary"]
    assert (found["positive"], found["sensitivity"], found["specificity"]) == ("ill", pytest.approx(2 / 3), 0.75)
    assert found["specificity_ci95"] == list(metrics.wilson_interval(3, 4))


def test_bootstrap_intervals_are_scipys():
    p, labels = chances(400)
    found = metrics.compute_metrics(p, labels, list("abcdefg"))
    for name, score in {
        "accuracy": lambda rows: accuracy_score(labels[rows], p[rows].argmax(1)),
        "macro_f1": lambda rows: f1_score(labels[rows], p[rows].argmax(1), average="macro"),
        "roc_auc": lambda rows: roc_auc_score(labels[rows], p[rows], multi_class="ovr"),
    }.items():
        expected = bootstrap(
            (np.arange(400),), score, n_resamples=200, vectorized=False, method="percentile", rng=0
        ).confidence_interval
        low, high = found["intervals"][name]
        width = expected.high - expected.low
        assert abs(low - expected.low) < 0.2 * width and abs(high - expected.high) < 0.2 * width


def test_intervals_over_groups_are_wider():
    """Ten pictures of each patient that are all right or all wrong tell as much as one."""
    p, labels = chances(40, 2)
    copies = np.repeat(np.arange(40), 10)
    groups = [f"patient {number}" for number in copies]
    single, pictures, patients = (
        metrics.compute_metrics(p[rows], labels[rows], ["a", "b"], of)
        for rows, of in ((np.arange(40), ()), (copies, ()), (copies, groups))
    )
    assert patients["groups"] == 40
    low, high = single["intervals"]["accuracy"]
    assert patients["ci95"] == pytest.approx([low, high], abs=0.06)
    assert np.diff(patients["ci95"]) > 2.5 * np.diff(pictures["intervals"]["accuracy"])


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
