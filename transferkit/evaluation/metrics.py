"""Metrics of a classifier, with confidence intervals."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from transferkit.evaluation.bootstrap import DRAWS, find_intervals
from transferkit.evaluation.weighted_scores import (
    BINS,
    find_bins,
    score_labels,
    score_probabilities,
    score_ranking,
)

MAX_CONFUSION = 1000  # classes of a confusion matrix: of ten times as many it would take gigabytes
RANKING_COST = 5e7  # numbers that are sorted and summed for the intervals of rankings: some seconds
MIN_DRAWS = 100  # for an interval
RANKINGS = ("roc_auc", "average_precision")
Z95 = 1.959964  # two-sided 95% of the normal distribution


def wilson_interval(hits: float, n: int) -> tuple[float, float]:
    """95% confidence interval of the proportion hits / n (Wilson 1927; valid for small n and near 0 and 1).

    Example:
        >>> wilson_interval(8, 10)
        (0.490..., 0.943...)
    """
    proportion, spread = hits / n, Z95**2 / n
    middle = (proportion + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(proportion * (1 - proportion) / n + spread / (4 * n))
    # min and max: an interval that holds its proportion, whatever the rounding
    return max(0.0, min(middle - half, proportion)), min(1.0, max(middle + half, proportion))


def describe_accuracy(figures: dict, pictures: str) -> str:
    """The accuracy with its interval; `pictures` says of which, as "test pictures".

    Example:
        >>> describe_accuracy({"accuracy": 0.8, "ci95": wilson_interval(8, 10), "n": 10}, "test pictures")
        'accuracy 80.0% (95%: 49.0% to 94.3%) on 10 test pictures'
    """
    low, high = figures["ci95"]
    if figures["n"] == 1:
        pictures = pictures.replace("pictures", "picture", 1)
    return f"accuracy {figures['accuracy']:.1%} (95%: {low:.1%} to {high:.1%}) on {figures['n']:,} {pictures}"


def corrected_interval(figures: dict, optimism: float) -> tuple[float, float]:
    """95% interval of an accuracy on pictures that also made a choice.

    Args:
        figures: with `accuracy` and `n`.
        optimism: by how much the choice overestimates the accuracy on average.
    """
    return wilson_interval(max(0.0, figures["accuracy"] - optimism) * figures["n"], figures["n"])


def compute_metrics(probabilities: np.ndarray, labels: np.ndarray, classes, groups: Sequence[str] = ()) -> dict:
    """All metrics of an evaluation.

    Args:
        probabilities: (n, classes), float64.
        labels: (n,), int.
        classes: names.
        groups: of each picture, as patients: intervals are then of a bootstrap over groups.

    Returns:
        Those of `compute_label_metrics`, and `top5` (None below six classes), `loss` (cross-entropy), `ece` (expected
        calibration error), `reliability`, and `intervals`, the 95% intervals of these by name, but for `ece`, which is
        larger in a draw of a bootstrap than in all pictures. `per_class`, `macro` and `weighted` have `roc_auc` and
        `average_precision` too, of one class against the rest, None for a class that has no pictures or all.
    """
    predicted = probabilities.argmax(1)

    def score(weights):
        scores = score_labels(labels, predicted, len(classes), weights)
        return scores | score_probabilities(probabilities, labels, weights)

    def score_draws(weights):
        return {name: values for name, values in score(weights).items() if name != "ece"}

    found = compute_label_metrics(labels, predicted, classes)
    scores = {name: float(values[0]) for name, values in score(np.ones((1, len(labels)))).items()}
    found |= {"top5": scores.get("top5"), "loss": scores["loss"], "ece": scores["ece"]}
    intervals = find_intervals(score_draws, len(labels), groups)
    if len(groups):
        count = len(set(groups))
        # where each group has the same accuracy, no draw differs: the groups then count as single pictures
        interval = intervals["accuracy"] or list(wilson_interval(found["accuracy"] * count, count))
        found |= {"ci95": interval, "groups": count}
    intervals |= _add_rankings(found, probabilities, labels, classes, groups)
    return found | {"intervals": intervals, "reliability": measure_reliability(probabilities, labels)}


def _add_rankings(found: dict, probabilities: np.ndarray, labels: np.ndarray, classes, groups) -> dict:
    """Add `roc_auc` and `average_precision` to metrics; return the intervals of their means over the classes."""
    n, counts = len(labels), np.bincount(labels, minlength=len(classes))
    ranked = np.flatnonzero((counts > 0) & (counts < n))

    def score(weights):
        return np.stack([score_ranking(probabilities[:, c], labels == c, weights) for c in ranked], 1)

    def average(weights):
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # NaN in a draw with one class
            return dict(zip(RANKINGS, np.nanmean(score(weights), 1), strict=True))

    values = score(np.ones((1, n)))[..., 0] if len(ranked) else np.zeros((2, 0))
    for key, row in zip(RANKINGS, values, strict=True):
        of_class = dict(zip(ranked, row, strict=True))
        for number, name in enumerate(classes):
            found["per_class"][name][key] = float(of_class[number]) if number in of_class else None
        found["macro"][key] = float(row.mean()) if len(ranked) else None
        found["weighted"][key] = float(np.average(row, weights=counts[ranked])) if len(ranked) else None
    draws = min(DRAWS, int(RANKING_COST / (n * max(1, len(ranked)))))
    return find_intervals(average, n, groups, draws=draws) if len(ranked) and draws >= MIN_DRAWS else {}


def compute_label_metrics(labels: np.ndarray, predicted: np.ndarray, classes) -> dict:
    """The metrics that need no probabilities.

    Args:
        labels, predicted: (n,), int.
        classes: names.

    Returns:
        `accuracy` and its `ci95`, `balanced_accuracy` (mean recall of the classes with pictures), `n`, `per_class`
        (precision, recall and its `recall_ci95`, f1, n), `macro` and `weighted` (means of precision, recall and f1 over
        the classes with pictures), `confused` (the five most confused pairs: label, predicted, count), `confusion`
        (rows are labels), None above `MAX_CONFUSION` classes, and of two classes `binary`: `sensitivity` and
        `specificity` of the second one, `positive`, with their intervals.
    """
    hits, numbers = predicted == labels, list(range(len(classes)))
    scores = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0.0)
    recall, support = scores[1], scores[3]
    pairs, counts = np.unique(np.stack((labels, predicted))[:, ~hits], axis=1, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:5]
    is_small = len(classes) <= MAX_CONFUSION
    intervals = [list(wilson_interval(r * n, n)) if n else None for r, n in zip(recall, support, strict=True)]
    found = {
        "accuracy": float(hits.mean()),
        "ci95": list(wilson_interval(int(hits.sum()), len(labels))),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "n": len(labels),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "recall_ci95": ends, "f1": float(f), "n": int(count)}
            for name, ends, p, r, f, count in zip(classes, intervals, *scores, strict=True)
        },
        "confused": [[*(classes[label] for label in pairs[:, i]), int(counts[i])] for i in most],
        "confusion": confusion_matrix(labels, predicted, labels=numbers).tolist() if is_small else None,
    }
    for name, weights in (("macro", support > 0), ("weighted", support)):
        found[name] = {
            key: float(np.average(values, weights=weights))
            for key, values in zip(("precision", "recall", "f1"), scores, strict=False)
        }
    if len(classes) == 2 and all(support):
        rates = {"sensitivity": recall[1], "specificity": recall[0]}
        ends = {"sensitivity_ci95": intervals[1], "specificity_ci95": intervals[0]}
        found["binary"] = {"positive": classes[1]} | {name: float(rate) for name, rate in rates.items()} | ends
    return found


def measure_reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[dict]:
    """How often predictions of about the same confidence are right (DeGroot and Fienberg 1983; Guo et al. 2017).

    Returns:
        For each of `BINS` bins that has pictures, in order: `low` and `high` of the confidence, the mean `confidence`,
        the `accuracy` and its `ci95`, and the number of pictures `n`.
    """
    confidences, hits = probabilities.max(1), probabilities.argmax(1) == labels
    bins, rows = find_bins(confidences), []
    for number in np.unique(bins):
        inside = bins == number
        rows.append(
            {
                "low": float(number / BINS),
                "high": float((number + 1) / BINS),
                "confidence": float(confidences[inside].mean()),
                "accuracy": float(hits[inside].mean()),
                "ci95": list(wilson_interval(int(hits[inside].sum()), int(inside.sum()))),
                "n": int(inside.sum()),
            }
        )
    return rows
