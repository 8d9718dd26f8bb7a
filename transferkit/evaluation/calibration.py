"""Calibration on validation pictures: a temperature, a threshold for rejection, and conformal sets of classes."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# standard deviation of the logarithm of the temperature before the pictures are seen, above and below 1: networks that
# are too unsure are rare, and a few pictures that are all correct look like one
PRIOR_ABOVE, PRIOR_BELOW = 0.5, 0.15
MAX_LOG = 3.0  # of the temperature: from 0.05 to 20
DECIMALS = 6  # of a probability
MOST = 2000  # pictures in a record


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
        deviation = PRIOR_ABOVE if log_temperature > 0 else PRIOR_BELOW
        return (log_temperature / deviation) ** 2 / 2 - likelihood

    if not len(labels):
        return 1.0
    return math.exp(minimize_scalar(loss, bounds=(-MAX_LOG, MAX_LOG), method="bounded").x)


def to_probabilities(logits: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """softmax(logits / temperature), float64.

    Args:
        logits: (n, classes).
        temperature: one for all, or (n,), one for each picture.
    """
    return np.exp(log_softmax(logits.astype("float64") / np.reshape(temperature, (-1, 1)), axis=1))


def cross_fit_temperatures(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The temperature (n,) for each picture that is fitted on the half of the pictures without it.

    Figures on the pictures that a temperature is fitted on would be too good. Each class is divided between the halves.
    """
    half = np.empty(len(labels), int)
    half[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 2
    return np.array([fit_temperature(logits[half != part], labels[half != part]) for part in (0, 1)])[half]


def record_confidences(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """What `find_rejection_threshold` and `find_conformal_threshold` need, of a draw of at most `MOST` pictures.

    Args:
        probabilities: (n, classes), calibrated.
        labels: (n,), int.

    Returns:
        `n`, the number of all pictures, and lists for those drawn: `confidences`, `hits` (whether the prediction is
        correct) and `label_probabilities`. They are rounded as the probabilities of `predict` are.
    """
    drawn = np.random.default_rng(0).permutation(len(labels))[:MOST]
    of_label = probabilities[drawn, labels[drawn]]
    return {
        "n": len(labels),
        "confidences": probabilities[drawn].max(1).round(DECIMALS).tolist(),
        "hits": (probabilities[drawn].argmax(1) == labels[drawn]).tolist(),
        "label_probabilities": of_label.round(DECIMALS).tolist(),
    }


def find_rejection_threshold(confidences: np.ndarray, hits: np.ndarray, precision: float) -> tuple[float, float]:
    """The lowest confidence from which on predictions have a wanted precision.

    Args:
        confidences: (n,), the probability of each predicted class.
        hits: (n,), whether it is correct.
        precision: fraction of the predictions from the threshold on that are to be correct.

    Returns:
        The threshold, and the fraction of the pictures that reach it. Above 1.0, and 0.0, if no threshold will do.
    """
    thresholds, precisions = estimate_precisions(confidences, hits)
    enough = np.flatnonzero(precisions >= precision - 1e-9)
    if not len(enough):
        return math.nextafter(1.0, 2.0), 0.0
    threshold = thresholds[enough[-1]]
    return float(threshold), float((confidences >= threshold).mean())


def estimate_precisions(confidences: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What precision to expect of other predictions, by their lowest confidence.

    One more mistake is counted than there is, as in conformal risk control (Angelopoulos et al. 2024, section 2): the
    precision on the pictures that choose a threshold is too good for others.

    Args:
        confidences, hits: as in `find_rejection_threshold`.

    Returns:
        The distinct confidences in falling order, and the precision from each on.
    """
    order = np.argsort(-confidences, kind="stable")
    is_last = np.diff(confidences[order], append=-np.inf) < 0  # of equal confidences
    precisions = np.cumsum(hits[order]) / (np.arange(len(hits)) + 2)
    return confidences[order][is_last], precisions[is_last]


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
