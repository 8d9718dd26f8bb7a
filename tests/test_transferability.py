"""LogME is the maximum evidence, and prefers features that separate classes."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from test_classifiers import features

from transferkit.features.transferability import logme, neighbour_accuracy


def dense(X, y) -> float:
    """The evidence, from the covariance of the labels, and both variances by a search without derivatives."""

    def negative(logs, target):
        weight, noise = np.exp(logs)
        return -multivariate_normal.logpdf(target, cov=weight * X @ X.T + noise * np.eye(len(X)))

    best = []
    for one in np.unique(y):
        target = (y == one).astype(float)
        starts = [(-8, -2), (-3, -3), (0, -6)]
        ends = [minimize(negative, start, target, "Nelder-Mead", options={"fatol": 1e-9}).fun for start in starts]
        best.append(-min(ends) / len(X))
    return np.mean(best)


@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize(("n", "d"), [(24, 5), (15, 40), (12, 12)])
def test_logme_is_the_maximum_evidence(n, d, gap):
    X, y = features(n, d, gap=gap)
    X = X.astype("float64")
    assert logme(X, y) == pytest.approx(dense(X, y), abs=1e-5)


@pytest.mark.parametrize("d", [20, 150])
def test_separating_features_rank_higher(d):
    scores = [logme(*features(60, d, gap=gap)) for gap in (0, 1, 2, 4, 8)]
    assert scores == sorted(scores)


def test_rotated_scaled_and_padded_features_rank_the_same():
    X, y = features(40, 30)
    X = X.astype("float64")
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    for other in (X @ turned, 1e3 * X, np.hstack([X, np.zeros((40, 50))]), X.astype("float32")):
        assert logme(other, y) == pytest.approx(logme(X, y), abs=1e-5)


def test_constant_and_perfect_features():
    y = np.arange(30) % 3
    nothing = logme(np.zeros((30, 4)), y)
    assert nothing == pytest.approx(-0.5 * (np.log(2 * np.pi / 3) + 1))  # a normal density of mean 0, variance 1/3
    assert nothing < logme(np.ones((30, 4)), y) < logme(np.eye(3)[y], y) < np.inf


def test_labels_may_be_names_and_one_class_is_refused():
    X, y = features()
    assert logme(X, np.array(["ant", "bee", "cat"])[y]) == logme(X, y)
    with pytest.raises(ValueError, match="All pictures are of class 0: a ranking needs two classes."):
        logme(X, y * 0)


def test_leave_one_out_neighbours_are_scikit_learns():
    X, y = features(60, 10, gap=1.5)
    one = cross_val_score(KNeighborsClassifier(1, metric="cosine"), X, y, cv=LeaveOneOut()).mean()
    assert neighbour_accuracy(X, y, 1) == pytest.approx(one)
    assert neighbour_accuracy(X, y) == neighbour_accuracy(X * 1e-6, np.array(["ant", "bee", "cat"])[y])
    scores = [neighbour_accuracy(*features(60, 20, gap=gap)) for gap in (0, 2, 4)]
    assert scores == sorted(scores)
    assert neighbour_accuracy(X[:3], y[:3]) == 0
