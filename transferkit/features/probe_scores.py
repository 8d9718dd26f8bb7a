"""Cross-validate a classifier on features: how good it is on pictures that it was not fitted to."""

from dataclasses import dataclass

import numpy as np

from transferkit.data.splitting import draw_folds
from transferkit.evaluation.metrics import wilson_interval
from transferkit.features import classifiers


@dataclass(frozen=True)
class LabelledFeatures:
    """What a classifier is cross-validated on.

    Attributes:
        features: (n, d), of any scale.
        labels: (n,), numbers or names.
        groups: (n,) or None; pictures of one group are always in the same fold.
        copies: (n,) sets of duplicates, "" for none, as in `Listing.duplicate_sets`, or (). A set is in one fold,
            unless its class could not be divided among the folds then.
        widths: of the layers whose features are concatenated; by default one layer.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None
    copies: tuple[str, ...] = ()
    widths: tuple[int, ...] | None = None


@dataclass(frozen=True)
class CrossValidation:
    """The result of a cross-validation.

    Attributes:
        accuracy: 0..1, over all pictures, each predicted once by a classifier that was not fitted to it.
        ci95: its Wilson interval, which assumes independent pictures and so is too narrow for large groups.
        folds: the accuracy of each fold.
        predictions: (n,) labels.
        probabilities: (n, classes), the classes in the order of `numpy.unique(labels)`; None of a classifier without.
        fold_of: (n,) the fold of each picture.
    """

    accuracy: float
    ci95: list[float]
    folds: list[float]
    predictions: np.ndarray
    probabilities: np.ndarray | None
    fold_of: np.ndarray


def cross_validate(
    data: LabelledFeatures, *, classifier: str = "logreg", folds: int = 5, seed: int = 0
) -> CrossValidation:
    """Cross-validate a classifier; in each fold it chooses its strength on the pictures it is fitted to.

    Args:
        classifier: a key of `classifiers.CLASSIFIERS`.
        folds: number of folds, 2 or more.
        seed: of the folds and of the classifier; the same seed gives the same result.

    Raises:
        UnknownName: there is no such classifier.
        ValueError: a feature is not finite, there is one class, or a class has too few pictures or groups.

    Example:
        >>> cross_validate(LabelledFeatures(features, labels), classifier="svm").accuracy
        0.97
    """
    features, labels = np.asarray(data.features, "float64"), np.asarray(data.labels)
    groups = None if data.groups is None else np.asarray(data.groups)
    finite = np.isfinite(features).all(1)
    if not finite.all():
        raise ValueError(f"Row {int(finite.argmin())} of the features is not finite; float16 ends at 65,504.")
    fold_of = _draw_folds(labels, groups, data.copies, folds, seed)
    classes, predictions, accuracies = np.unique(labels), np.empty_like(labels), []
    probabilities = np.zeros((len(labels), len(classes)))
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        train_groups = None if groups is None else groups[train]
        model = classifiers.fit_classifier(
            classifier, features[train], labels[train], train_groups, widths=data.widths, seed=seed
        )
        predictions[test] = model.predict(features[test])
        has_probabilities = hasattr(model, "predict_proba")
        if has_probabilities:
            probabilities[np.ix_(test, np.searchsorted(classes, model.classes_))] = model.predict_proba(features[test])
        accuracies.append(float((predictions[test] == labels[test]).mean()))
    hits = int((predictions == labels).sum())
    return CrossValidation(
        accuracy=hits / len(labels),
        ci95=list(wilson_interval(hits, len(labels))),
        folds=accuracies,
        predictions=predictions,
        probabilities=probabilities if has_probabilities else None,
        fold_of=fold_of,
    )


def _draw_folds(labels, groups, copies, folds: int, seed: int) -> np.ndarray:
    """The fold (n,) of each picture; raise `ValueError` if a class has fewer pictures or groups than folds."""
    if folds < 2:
        raise ValueError(f"folds must be 2 or more for a cross-validation, not {folds}.")
    units, noun = (np.arange(len(labels)), "picture") if groups is None else (groups, "group")
    counts = {label: len(np.unique(units[labels == label])) for label in np.unique(labels)}
    if len(counts) < 2:
        raise ValueError(f"All pictures are of class {next(iter(counts), None)}: a probe needs two classes.")
    rarest = min(counts, key=counts.__getitem__)
    if (count := counts[rarest]) < folds:
        limit = f"folds must be at most {count}, not {folds}" if count > 1 else f"folds need 2 {noun}s of each class"
        raise ValueError(f"Class {rarest} has {count} {noun}{'s' * (count > 1)}: {limit}.")
    numbers = np.unique(labels, return_inverse=True)[1]
    return draw_folds(numbers, () if groups is None else groups, copies, folds, seed, min_left=1)
