"""Figures of a classifier, with how far they can be trusted."""

import math

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

MOST_IN_MATRIX = 1000  # classes: of ten times as many the matrix would take gigabytes
Z95 = 1.959964  # two-sided 95% of the normal distribution


def wilson(hits: float, n: int) -> tuple[float, float]:
    """95% interval of a share of `hits` in `n` (Wilson 1927; it holds for small n and shares near 0 and 1)."""
    share, spread = hits / n, Z95**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def corrected(figures: dict, optimism: float) -> tuple[float, float]:
    """95% interval of an accuracy on pictures that made a choice, which flatters it by `optimism` on average."""
    return wilson(max(0.0, figures["accuracy"] - optimism) * figures["n"], figures["n"])


def calibration_error(chances: np.ndarray, hit: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, section 2): mean gap of confidence and accuracy over equal bins."""
    index = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = [abs(chances[index == b].sum() - hit[index == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(hit))


def report(chances: np.ndarray, labels: np.ndarray, classes) -> dict:
    """All figures of one evaluation.

    Args:
        chances: probabilities (n, classes), float64.
        labels: (n,) of int.
        classes: their names.

    Returns:
        `accuracy`, `ci95`, `balanced_accuracy`, `top5` (None below six classes), `n`, `loss` (cross-entropy), `ece`,
        `per_class` (precision, recall, f1, n of each), `confused` (the most confused pairs, as [label, predicted,
        count]) and `confusion` (rows are labels), as `agreement` has it.
    """
    guesses = chances.argmax(1)
    of_label = chances[np.arange(len(labels)), labels]
    rank = (chances > of_label[:, None]).sum(1)
    return agreement(labels, guesses, classes) | {
        "top5": float((rank < 5).mean()) if len(classes) > 5 else None,
        "loss": float(-np.log(np.maximum(of_label, 1e-300)).mean()),
        "ece": calibration_error(chances.max(1), guesses == labels),
    }


def agreement(labels: np.ndarray, guesses: np.ndarray, classes) -> dict:
    """The figures of `report` that need no probabilities.

    Args:
        labels, guesses: (n,) of int.
        classes: their names.

    Returns:
        `accuracy`, `ci95`, `balanced_accuracy` (the mean recall of the classes that are there), `n`, `per_class`,
        `confused`, and `confusion`, which is None where there are more than `MOST_IN_MATRIX` classes.
    """
    hit, numbers = guesses == labels, list(range(len(classes)))
    scores = precision_recall_fscore_support(labels, guesses, labels=numbers, zero_division=0.0)
    pairs, counts = np.unique(np.stack((labels, guesses))[:, ~hit], axis=1, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:5]
    small = len(classes) <= MOST_IN_MATRIX
    return {
        "accuracy": float(hit.mean()),
        "ci95": list(wilson(int(hit.sum()), len(labels))),
        "balanced_accuracy": float(scores[1][scores[3] > 0].mean()),
        "n": len(labels),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(count)}
            for name, p, r, f, count in zip(classes, *scores, strict=True)
        },
        "confused": [[*(classes[one] for one in pairs[:, at]), int(counts[at])] for at in most],
        "confusion": confusion_matrix(labels, guesses, labels=numbers).tolist() if small else None,
    }
