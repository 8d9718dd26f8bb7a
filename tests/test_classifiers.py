"""Classifiers: chosen by cross-validation on the training part, and plain scikit-learn objects when fitted."""

import numpy as np
import pytest
import skops.io
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from transferkit.features import classifiers
from transferkit.lookup import UnknownName

NAMES = sorted(classifiers.CLASSIFIERS)


def features(n=60, d=20, k=3, gap=3.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return np.maximum(rng.normal(size=(n, d)) + gap * np.eye(k, d)[labels], 0).astype("float32"), labels


def test_regularisation_strengths_suit_normalised_features():
    path = classifiers.build_classifier("logreg", (60, 20), features()[1])[-1]
    assert path.Cs == pytest.approx(classifiers.LOGREG_CS)
    assert classifiers.LOGREG_CS[0] < classifiers.DEFAULT_C < classifiers.LOGREG_CS[-1]


def test_layers_have_equal_weight_whatever_their_scale_and_width():
    X, _ = features(80, 30, gap=1)
    X = np.concatenate([X[:, :4] * 1000, X[:, 4:] / 1000], axis=1)
    Z = classifiers.fit_block_scaler(X, (4, 26)).transform(X)
    assert [Z[:, :4].var(0).sum(), Z[:, 4:].var(0).sum()] == pytest.approx([0.5, 0.5])
    constant = np.concatenate([X, np.ones((80, 3))], axis=1)
    assert np.isfinite(classifiers.fit_block_scaler(constant, (4, 26, 3)).transform(constant)).all()


def test_the_scale_of_the_features_makes_no_difference():
    X, y = features(60, 12, gap=1.5)
    one, other = (classifiers.fit_classifier("logreg", X * scale, y).predict_proba(X * scale) for scale in (1, 1e-4))
    assert one == pytest.approx(other, abs=1e-4)


def test_probabilities_of_few_pictures_are_not_near_chance():
    """The strongest of many penalties won ties of accuracy: all pictures at 34% of three classes, right or not."""
    X, y = features(30, 200, gap=4)
    others, labels = features(90, 200, gap=4, seed=1)
    model = classifiers.fit_classifier("logreg", X, y)
    chances = model.predict_proba(others)
    right = chances.argmax(1) == labels
    assert right.mean() > 0.9 and chances.max(1)[right].mean() > 0.7
    assert model.score(others, labels) == right.mean()


def test_strength_is_that_of_the_papers_loss():
    X, y = features(30, 3, gap=1)
    penalty = 0.7

    def loss(flat):
        weights, bias = flat[:9].reshape(3, 3), flat[9:]
        logits = X @ weights + bias
        return (logsumexp(logits, axis=1) - logits[np.arange(30), y]).sum() + penalty * (weights**2).sum()

    weights = minimize(loss, np.zeros(12), options={"gtol": 1e-6}).x[:9].reshape(3, 3)
    model = LogisticRegression(C=1 / (2 * penalty), tol=1e-8).fit(X, y)
    assert np.abs(model.coef_.T - weights).max() < 1e-3


def test_balanced_weights_equal_equal_class_sizes():
    X, _ = features(9, 20)
    labels = np.array([0] * 8 + [1])
    found = classifiers.fit_classifier("logreg", X, labels, class_weight="balanced")
    rows = np.r_[:8, [8] * 8]  # the only picture of its class, eight times
    scaled = found[0].transform(X)
    same = LogisticRegression(C=classifiers.DEFAULT_C * 9 / 16, tol=1e-8, max_iter=10_000).fit(
        scaled[rows], labels[rows]
    )
    assert found.decision_function(X) == pytest.approx(same.decision_function(scaled), rel=0.01)


def test_the_strength_of_balanced_classes_is_chosen_by_a_balanced_loss():
    X, _ = features(60, 5)
    labels = np.repeat([0, 1], [50, 10])
    model = LogisticRegression().fit(X, labels)
    losses = -model.predict_log_proba(X)[np.arange(60), labels]
    score = classifiers.build_classifier("logreg", X.shape, labels, class_weight="balanced")[-1].scoring
    assert -score(model, X, labels) == pytest.approx((losses[:50].mean() + losses[50:].mean()) / 2)


@pytest.mark.parametrize("d", [10, 200])
def test_the_rotation_keeps_all_information(d):
    # in float64 by a solver that goes to the end: what is left is the rotation's own, on any processor
    (X, y), others = features(40, d, gap=1), features(20, d, seed=1)[0]
    X, others = X.astype("float64"), others.astype("float64")
    axes = classifiers.build_classifier("logreg", X.shape, y)[0]
    turned = make_pipeline(axes, LogisticRegression(solver="newton-cholesky", tol=1e-10)).fit(X, y)
    plain = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(X, y)
    assert turned.decision_function(others) == pytest.approx(plain.decision_function(others), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [False, True])
def test_a_saved_classifier_is_trusted_and_predicts_the_same(name, words):
    X, y = features()
    y = np.array(["ant", "bee", "cat"])[y] if words else y
    model = classifiers.fit_classifier(name, X, y)
    data = skops.io.dumps(model)
    assert skops.io.get_untrusted_types(data=data) == []
    assert (skops.io.loads(data).predict(X) == model.predict(X)).all()
    assert model.score(X, y) > 0.8
    assert (classifiers.fit_classifier(name, X, y).predict(X) == model.predict(X)).all()


@pytest.mark.parametrize("name", NAMES)
def test_scikit_learn_can_clone_and_cross_validate_it(name):
    X, y = features()
    with threadpool_limits(1):
        assert (cross_val_predict(classifiers.build_classifier(name, X.shape, y), X, y, cv=2) == y).mean() > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_the_strength_is_chosen(name):
    def strength(X, y):
        model = classifiers.fit_classifier(name, X, y)
        last = model[-1] if hasattr(model, "steps") else model
        return next(getattr(last, one) for one in ("C_", "alpha_", "C", "n_neighbors") if hasattr(last, one))

    assert len({strength(*features(n, d, gap=gap)) for n, d, gap in [(40, 60, 0), (60, 2, 1), (40, 20, 5)]}) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("counts", [(1, 2), (1, 1), (2, 2), (3, 3, 1), (2, 4)])
def test_few_pictures(name, counts):
    y = np.repeat(np.arange(len(counts)), counts)
    X = features(len(y), 5)[0] + 20 * np.eye(len(counts), 5)[y]
    assert (classifiers.fit_classifier(name, X, y).predict(X) == y).all()


def test_held_out_parts_keep_groups_whole_and_all_classes():
    rng = np.random.default_rng(0)
    for _ in range(20):
        y, groups = rng.integers(0, 3, 60), rng.integers(0, 9, 60)
        for train, held in classifiers._find_cv(y, groups, 0) or []:
            assert not set(groups[train]) & set(groups[held])
            assert set(y[train]) == set(y)
            assert len(held)
    assert classifiers._find_cv(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), 0) is None


@pytest.mark.parametrize("grouped", [False, True])
def test_large_data_sets_use_a_single_split(grouped):
    y = np.arange(classifiers.LARGE_SET) % 4
    held_out = classifiers._find_cv(y, np.arange(len(y)) // 4 if grouped else None, 0)
    pairs = held_out if grouped else list(held_out.split(y, y))
    assert [len(held) / len(y) for _, held in pairs] == [pytest.approx(0.2, abs=0.01)]


def test_the_iteration_limit_gives_no_warning(monkeypatch):
    monkeypatch.setattr(classifiers, "LogisticRegressionCV", lambda max_iter, **rest: LogisticRegression(max_iter=1))
    assert classifiers.fit_classifier("logreg", *features())[-1].n_iter_ == [1]


def test_error_messages():
    X, y = features()
    with pytest.raises(UnknownName, match="No classifier is called 'logref'. Did you mean 'logreg'"):
        classifiers.fit_classifier("logref", X, y)
    with pytest.raises(ValueError, match="All pictures are of class 0: a classifier needs two classes."):
        classifiers.fit_classifier("svm", X, y * 0)
