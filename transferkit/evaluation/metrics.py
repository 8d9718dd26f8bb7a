"""Metrics of a classifier, with confidence intervals."""

import math

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

MAX_CONFUSION = 1000  # classes of a confusion matrix: of ten times as many it would take gigabytes
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
    return max(0.0, middle - half), min(1.0, middle + half)


def describe_accuracy(figures: dict, pictures: str) -> str:
    """The accuracy with its interval; `pictures` says of which, as "test pictures".

    Example:
        >>> describe_accuracy({"accuracy": 0.8, "ci95": wilson_interval(8, 10), "n": 10}, "test pictures")
        'accuracy 80.0% (95%: 49.0% to 94.3%) on 10 test pictures'
    """
    low, high = figures["ci95"]
    return f"accuracy {figures['accuracy']:.1%} (95%: {low:.1%} to {high:.1%}) on {figures['n']:,} {pictures}"


def corrected_interval(figures: dict, optimism: float) -> tuple[float, float]:
    """95% interval of an accuracy on pictures that also made a choice.

    Args:
        figures: with `accuracy` and `n`.
        optimism: by how much the choice overestimates the accuracy on average.
    """
    return wilson_interval(max(0.0, figures["accuracy"] - optimism) * figures["n"], figures["n"])


def compute_metrics(probabilities: np.ndarray, labels: np.ndarray, classes) -> dict:
    """All metrics of an evaluation.

    Args:
        probabilities: (n, classes), float64.
        labels: (n,), int.
        classes: names.

    Returns:
        Those of `compute_label_metrics`, and `top5` (None below six classes), `loss` (cross-entropy) and `ece`.
    """
    predicted = probabilities.argmax(1)
    of_label = probabilities[np.arange(len(labels)), labels]
    rank = (probabilities > of_label[:, None]).sum(1)
    return compute_label_metrics(labels, predicted, classes) | {
        "top5": float((rank < 5).mean()) if len(classes) > 5 else None,
        "loss": float(-np.log(np.maximum(of_label, 1e-300)).mean()),
        "ece": calibration_error(probabilities.max(1), predicted == labels),
    }


def compute_label_metrics(labels: np.ndarray, predicted: np.ndarray, classes) -> dict:
    """The metrics that need no probabilities.

    Args:
        labels, predicted: (n,), int.
        classes: names.

    Returns:
        `accuracy` and its `ci95`, `balanced_accuracy` (mean recall of the classes with pictures), `n`, `per_class`
        (precision, recall, f1, n), `confused` (the five most confused pairs: label, predicted, count), and `confusion`
        (rows are labels), None above `MAX_CONFUSION` classes.
    """
    hits, numbers = predicted == labels, list(range(len(classes)))
    scores = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0.0)
    recall, support = scores[1], scores[3]
    pairs, counts = np.unique(np.stack((labels, predicted))[:, ~hits], axis=1, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:5]
    is_small = len(classes) <= MAX_CONFUSION
    return {
        "accuracy": float(hits.mean()),
        "ci95": list(wilson_interval(int(hits.sum()), len(labels))),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "n": len(labels),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(count)}
            for name, p, r, f, count in zip(classes, *scores, strict=True)
        },
        "confused": [[*(classes[label] for label in pairs[:, i]), int(counts[i])] for i in most],
        "confusion": confusion_matrix(labels, predicted, labels=numbers).tolist() if is_small else None,
    }


def calibration_error(confidences: np.ndarray, hits: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, section 2): mean gap of confidence and accuracy over equal bins.

    Args:
        confidences: (n,), probability of the predicted class.
        hits: (n,), whether the prediction is correct.
    """
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    gaps = [abs(confidences[index == b].sum() - hits[index == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(hits))
