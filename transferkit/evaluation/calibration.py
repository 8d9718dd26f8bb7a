"""Calibration on validation pictures: a temperature, a threshold for rejection, and conformal sets of classes."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

PRIOR = 0.5  # standard deviation of the logarithm of the temperature before the pictures are seen
MAX_LOG = 3.0  # of the temperature: from 0.05 to 20


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that calibrates logits (Guo et al. 2017, section 4.2): softmax(logits / temperature).

    It minimises the cross-entropy of the labels, with a normal prior on its logarithm: where a few validation pictures
    are all predicted correctly, the cross-entropy alone would have the temperature 0. From some hundred pictures on the
    prior has no effect.

    Args:
        logits: (n, classes).
        labels: (n,), int.

    Returns:
        The temperature, above 1 for a network that is too sure. 1.0 without pictures.

    Example:
        >>> fit_temperature(np.array([[4.0, 0.0], [4.0, 0.0]] * 50), np.array([0, 1] * 50)) > 10
        True
    """
    logits, rows = np.asarray(logits, "float64"), np.arange(len(labels))

    def loss(log_temperature):
        likelihood = log_softmax(logits / math.exp(log_temperature), axis=1)[rows, labels].sum()
        return (log_temperature / PRIOR) ** 2 / 2 - likelihood

    if not len(labels):
        return 1.0
    return math.exp(minimize_scalar(loss, bounds=(-MAX_LOG, MAX_LOG), method="bounded").x)


def find_rejection_threshold(confidences: np.ndarray, hits: np.ndarray, precision: float) -> tuple[float, float]:
    """The lowest confidence from which on predictions have a wanted precision.

    Args:
        confidences: (n,), the probability of each predicted class.
        hits: (n,), whether it is correct.
        precision: fraction of the predictions from the threshold on that are to be correct.

    Returns:
        The threshold, and the fraction of the pictures that reach it. 1.0 or more, and 0.0, if no threshold will do.
    """
    order = np.argsort(-confidences, kind="stable")
    sorted_confidences = confidences[order]
    fraction = np.cumsum(hits[order]) / np.arange(1, len(hits) + 1)
    is_last = np.append(sorted_confidences[1:] < sorted_confidences[:-1], True)  # of equal confidences
    enough = np.flatnonzero(is_last & (fraction >= precision))
    if not len(enough):
        return math.nextafter(1.0, 2.0), 0.0
    return float(sorted_confidences[enough[-1]]), float((enough[-1] + 1) / len(hits))


def find_conformal_threshold(label_probabilities: np.ndarray, coverage: float) -> float:
    """The probability from which on a class belongs to a picture's set, so that sets hold the label with a frequency.

    Split conformal prediction (Sadinle, Lei, Wasserman 2019, "Least ambiguous set-valued classifiers"): if pictures are
    exchangeable with those given, the sets hold the label of at least the fraction `coverage` of them.

    Args:
        label_probabilities: (n,), the probability of each picture's own label, of pictures that were not trained on.
        coverage: wanted fraction, between 0 and 1.

    Returns:
        The threshold; 0.0, so that sets hold all classes, where there are too few pictures for such a coverage.
    """
    n = len(label_probabilities)
    rank = math.floor((n + 1) * (1 - coverage) + 1e-9)  # of the smallest probability that is in
    return float(np.sort(label_probabilities)[rank - 1]) if rank else 0.0
