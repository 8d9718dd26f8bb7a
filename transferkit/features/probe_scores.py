"""How well a classifier on features does on pictures that it has not learned from."""

import numpy as np

from transferkit.data.splitting import draw_folds
from transferkit.evaluation.metrics import wilson
from transferkit.features import classifiers


def judged(
    features,
    labels,
    groups=None,
    *,
    copies=(),
    classifier: str = "logreg",
    folds: int = 5,
    widths=None,
    seed: int = 0,
) -> dict:
    """Cross-validate a classifier, whose strength each fold chooses from its own learning part.

    Args:
        features: (n, d), of any scale.
        labels: (n,), numbers or names.
        groups: (n,) or None; pictures of one group are never on both sides.
        copies: (n,) sets of copies, "" for none, as of `Listing.copies`, or (); no fold cuts one, but for those of a
            class that would not go into the folds then.
        classifier: of `classifiers.CLASSIFIERS`.
        folds: 2 and more.
        widths: of the layers whose features stand side by side; by default one.
        seed: of the folds and all chance after; the same seed gives the same answer.

    Returns:
        `accuracy`, 0..1, over all pictures, each judged once, by a classifier that has not seen it; `ci95`, its Wilson
        interval, which takes pictures as independent and so is too narrow where `groups` are large; `folds`, the
        accuracy of each; `n`; `guesses`, an array (n,) of labels; `fold_of`, an array (n,) of each picture's fold.

    Raises:
        UnknownName: no classifier is called that.
        ValueError: a feature is not finite, there is one class, or a class has too few pictures or groups.
    """
    features, labels = np.asarray(features, "float64"), np.asarray(labels)
    groups = None if groups is None else np.asarray(groups)
    finite = np.isfinite(features).all(1)
    if not finite.all():
        raise ValueError(f"Row {int(finite.argmin())} of the features is not finite; float16 ends at 65,504.")
    guesses, shares, fold_of = np.empty_like(labels), [], _fold_of(labels, groups, copies, folds, seed)
    for train, held in ((np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)):
        known = None if groups is None else groups[train]
        model = classifiers.fitted(classifier, features[train], labels[train], known, widths=widths, seed=seed)
        guesses[held] = model.predict(features[held])
        shares.append(float((guesses[held] == labels[held]).mean()))
    hits = int((guesses == labels).sum())
    return {
        "accuracy": hits / len(labels),
        "ci95": list(wilson(hits, len(labels))),
        "folds": shares,
        "n": len(labels),
        "guesses": guesses,
        "fold_of": fold_of,
    }


def _fold_of(labels, groups, copies, folds: int, seed: int) -> np.ndarray:
    if folds < 2:
        raise ValueError(f"{folds} folds were asked for: cross-validation needs 2 or more.")
    units, what = (np.arange(len(labels)), "picture") if groups is None else (groups, "group")
    counts = {one: len(np.unique(units[labels == one])) for one in np.unique(labels)}
    if len(counts) < 2:
        raise ValueError(
            f"All {len(labels)} pictures are of class {next(iter(counts), None)}: a probe needs two classes."
        )
    rare = min(counts, key=counts.get)
    if counts[rare] < folds:
        has = f"Class {rare} has {counts[rare]} {what}{'s' * (counts[rare] > 1)}"
        most = (
            f"so {counts[rare]} folds are the most" if counts[rare] > 1 else f"and folds need 2 {what}s of each class"
        )
        raise ValueError(f"{has}, {most}; {folds} were asked for.")
    numbers = np.unique(labels, return_inverse=True)[1]
    return draw_folds(numbers, () if groups is None else groups, copies, folds, seed, min_left=1)
