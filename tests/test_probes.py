"""Probes are evaluated on pictures that they were not fitted to."""

import numpy as np
import pytest
from test_classifiers import NAMES, features

from transferkit.features import classifiers
from transferkit.features.probe_scores import LabelledFeatures, cross_validate


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_on_noise_is_chance(name):
    X, y = features(100, 150, k=2, gap=0)
    assert cross_validate(LabelledFeatures(X, y), classifier=name, folds=2).accuracy == pytest.approx(
        0.5, abs=0.2
    )  # four standard errors


@pytest.mark.parametrize("name", NAMES)
def test_duplicates_leak_labels_unless_grouped(name):
    X, _ = features(30, 60, gap=0)
    y = np.random.default_rng(1).permutation(np.arange(30) % 2)
    X, y, groups = np.repeat(X, 4, axis=0), np.repeat(y, 4), np.repeat(np.arange(30), 4)
    assert cross_validate(LabelledFeatures(X, y), classifier=name, folds=3).accuracy > 0.9
    assert cross_validate(LabelledFeatures(X, y, groups), classifier=name, folds=3).accuracy < 0.75


def test_duplicates_are_in_one_fold():
    X, _ = features(60, 60, gap=0)
    y = np.random.default_rng(1).permutation(np.arange(60) % 2)
    X, y, sets = np.repeat(X, 2, axis=0), np.repeat(y, 2), np.repeat([str(n) for n in range(60)], 2)
    assert cross_validate(LabelledFeatures(X, y), classifier="knn").accuracy > 0.8
    assert cross_validate(LabelledFeatures(X, y, copies=sets), classifier="knn").accuracy < 0.7
    assert cross_validate(LabelledFeatures(X, y, np.arange(120), copies=sets), classifier="knn").accuracy < 0.7, (
        "copies join groups"
    )


def test_groups_are_never_split(monkeypatch):
    seen = []
    fitted = classifiers.fit_classifier

    def watched(name, X, y, groups, **rest):
        seen.append(set(groups))
        return fitted(name, X, y, groups, **rest)

    monkeypatch.setattr(classifiers, "fit_classifier", watched)
    X, y = features(90)
    cross_validate(LabelledFeatures(X, y, np.arange(90) // 6), classifier="ridge", folds=5)
    left_out = [set(range(15)) - groups for groups in seen]
    assert sorted(group for groups in left_out for group in groups) == list(range(15))


def test_metrics():
    X, y = features(60, gap=1.5)
    y = np.array(["ant", "bee", "cat"])[y]
    found = cross_validate(LabelledFeatures(X, y), classifier="svm", folds=4, seed=3)
    assert found.accuracy == (found.predictions == y).mean() == pytest.approx(np.mean(found.folds))
    assert found.ci95[0] < found.accuracy < found.ci95[1]
    assert len(found.predictions) == 60
    assert len(found.folds) == 4
    again = cross_validate(LabelledFeatures(X, y), classifier="svm", folds=4, seed=3)
    for name in ("predictions", "fold_of"):
        assert (getattr(again, name) == getattr(found, name)).all()
    assert (again.accuracy, again.ci95, again.folds) == (found.accuracy, found.ci95, found.folds)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grouped", [False, True])
def test_two_classes_of_three_pictures(name, grouped):
    y = np.repeat([0, 1], 3)
    X = 0.1 * features(6, 8)[0] + 5 * np.eye(2, 8)[y]
    assert (
        cross_validate(LabelledFeatures(X, y, np.arange(6) if grouped else None), classifier=name, folds=2).accuracy
        == 1
    )


def test_error_messages():
    X, y = features(30)
    names = np.array(["cat"] * 27 + ["dog"] * 3)
    with pytest.raises(ValueError, match="Class dog has 3 pictures: folds must be at most 3, not 5."):
        cross_validate(LabelledFeatures(X, names))
    with pytest.raises(ValueError, match="Class dog has 1 group: folds need 2 groups of each class."):
        cross_validate(LabelledFeatures(X, names, np.arange(30) // 3))
    with pytest.raises(ValueError, match="folds must be 2 or more for a cross-validation, not 1."):
        cross_validate(LabelledFeatures(X, y), folds=1)
    with pytest.raises(ValueError, match="All pictures are of class 0: a probe needs two classes."):
        cross_validate(LabelledFeatures(X, y * 0))
    X[7, 1] = np.inf
    with pytest.raises(ValueError, match="Row 7 of the features is not finite"):
        cross_validate(LabelledFeatures(X, y))
    apart = np.array([3, 0, 1, 0, 1, 0, 3, 3])
    with pytest.raises(ValueError, match="The 3 groups do not go into 2 folds that each leave 1 or more"):
        cross_validate(LabelledFeatures(np.concatenate((X[:7], X[8:9])), [0, 0, 1, 1, 1, 2, 2, 2], apart), folds=2)
    uneven = np.array([0, 0, 0, 1, 1, 1])  # each group holds both classes: two groups, no third fold
    with pytest.raises(ValueError, match="Class 0 has 2 groups: folds must be at most 2, not 3."):
        cross_validate(LabelledFeatures(X[:6], [0, 1, 0, 1, 0, 1], uneven), folds=3)
