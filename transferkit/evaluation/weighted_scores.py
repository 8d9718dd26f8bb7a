"""Scores of a classifier on weighted pictures.

With a row of ones as the weights they are the plain scores; with numbers of draws, those of bootstrap samples. So a
score and its interval come from one function.
"""

import numpy as np
from scipy.sparse import csr_matrix

BINS = 15  # of confidence: Guo et al. 2017, section 5


def score_labels(labels: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Scores that need no probabilities.

    Args:
        labels, predicted: (n,), int.
        classes: their number.
        weights: (draws, n), how often each picture counts.

    Returns:
        `accuracy`, `balanced_accuracy` (the mean recall of the classes with pictures) and `macro_precision`,
        `macro_f1`, the means over the same classes: each (draws,).
    """
    hits = np.where(predicted == labels, labels, -1)
    right, support, claimed = (weights @ _one_hot(numbers, classes) for numbers in (hits, labels, predicted))
    present = np.where(support > 0, 1.0, np.nan)
    recall, precision = right / np.maximum(support, 1), right / np.maximum(claimed, 1)
    f1 = 2 * right / np.maximum(support + claimed, 1)
    return {
        "accuracy": right.sum(1) / weights.sum(1),
        "balanced_accuracy": np.nanmean(recall * present, 1),
        "macro_precision": np.nanmean(precision * present, 1),
        "macro_f1": np.nanmean(f1 * present, 1),
    }


def _one_hot(numbers: np.ndarray, classes: int) -> csr_matrix:
    """(n, classes) with a one at each picture's class, and nothing where it is -1."""
    rows = np.flatnonzero(numbers >= 0)
    return csr_matrix((np.ones(len(rows)), (rows, numbers[rows])), shape=(len(numbers), classes))


def score_probabilities(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the probabilities of the labels.

    Args:
        probabilities: (n, classes), float64.
        labels: (n,), int.
        weights: (draws, n).

    Returns:
        `top5` (omitted below six classes), `loss` (cross-entropy) and `ece` (expected calibration error; Guo et al.
        2017, section 2): each (draws,).
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    total = weights.sum(1)
    scores = {"loss": weights @ -np.log(np.maximum(of_label, 1e-300)) / total}
    if probabilities.shape[1] > 5:
        scores["top5"] = weights @ ((probabilities > of_label[:, None]).sum(1) < 5) / total
    gaps = probabilities.max(1) - (probabilities.argmax(1) == labels)
    bins = csr_matrix((gaps, (np.arange(len(labels)), find_bins(probabilities.max(1)))), shape=(len(labels), BINS))
    return scores | {"ece": np.abs(weights @ bins).sum(1) / total}


def find_bins(confidences: np.ndarray) -> np.ndarray:
    """The bin of each confidence, of `BINS` equal ones."""
    return np.minimum((confidences * BINS).astype(int), BINS - 1)


def score_ranking(scores: np.ndarray, is_positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The area under the ROC curve, and the average precision, of one class against the rest.

    Pictures with equal scores have one threshold, as in scikit-learn.

    Args:
        scores: (n,), the higher the more likely positive.
        is_positive: (n,), bool.
        weights: (draws, n).

    Returns:
        Both (draws,); NaN where a draw has no positive or no negative picture.
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of equal scores
    weights = weights[:, order]
    positive = np.add.reduceat(weights * is_positive[order], starts, axis=1)
    negative = np.add.reduceat(weights * ~is_positive[order], starts, axis=1)
    hits, false_alarms = positive.cumsum(1), negative.cumsum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = false_alarms[:, -1:] - false_alarms + negative / 2
        area = (positive * below).sum(1) / (hits[:, -1] * false_alarms[:, -1])
        precision = hits / np.maximum(hits + false_alarms, 1e-12)
        average_precision = (positive * precision).sum(1) / hits[:, -1]
    return area, np.where(np.isnan(area), np.nan, average_precision)
