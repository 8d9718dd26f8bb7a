"""Networks compared by what a classifier makes of their features."""

import time
from collections.abc import Sequence

import numpy as np
from sklearn.pipeline import Pipeline

from transferkit.console import say, warn
from transferkit.data.listing import Listing
from transferkit.evaluation.metrics import wilson
from transferkit.features import classifiers, ranking
from transferkit.features.extraction import Extraction, extract
from transferkit.features.extractor import FeatureExtractor
from transferkit.features.probes import judged
from transferkit.features.spec import SETTINGS, FeatureSpec, identity


def compare(
    specs: Sequence[FeatureSpec], listing: Listing, *, classifier="logreg", folds=5, seed=0, cache=True
) -> list[dict]:
    """Cross-validate a classifier on the features of each network (Kornblith et al. 2019).

    Returns:
        Best first: `base`, `accuracy` over all pictures, each judged by a classifier that has not seen it, `ci95`,
        `folds` (the accuracy of each), `features` (how many), `seconds` (features and all).

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: a network cannot be had, or the pictures cannot be probed.
    """
    classifiers.check(classifier)

    def row(features, labels, groups):
        found = judged(features, labels, groups, classifier=classifier, folds=folds, seed=seed)
        return {name: found[name] for name in ("accuracy", "ci95", "folds")}

    return sorted(_rows(specs, listing, row, cache), key=lambda row: -row["accuracy"])


def rank(specs: Sequence[FeatureSpec], listing: Listing, *, cache: bool = True) -> list[dict]:
    """Score the features of each network without training.

    Returns:
        Best first: `base`, `logme`, `neighbours` (see `ranking`), `features`, `seconds`.
    """

    def row(features, labels, _):
        return {"logme": ranking.logme(features, labels), "neighbours": ranking.neighbours(features, labels)}

    return sorted(_rows(specs, listing, row, cache), key=lambda row: -row["logme"])


def fit_pipeline(spec: FeatureSpec, listing: Listing, *, classifier="logreg", seed=0, cache=True) -> Pipeline:
    """A fitted pipeline from pictures to class names, of types that skops loads; see `saved`."""
    found = extract(listing.paths, spec, cache=cache)
    learnt = classifiers.fitted(classifier, found.features, *_labels(listing, found), seed=seed)
    words = {name: getattr(spec, name) for name in ("base", "weights", "pixels", *SETTINGS)}
    words["fit_mode"] = words.pop("fit")
    words["layer"] = spec.layer[0] if len(spec.layer) == 1 else list(spec.layer)
    return Pipeline([("features", FeatureExtractor(**words).fit()), ("classifier", learnt)])


def check_on(pipeline: Pipeline, listing: Listing) -> dict:
    """`accuracy`, `ci95` and `n` on pictures it has not seen."""
    extractor = pipeline[0]
    found = extract(listing.paths, extractor.spec(), cache=extractor.cache)
    labels, _ = _labels(listing, found)
    hits = int((pipeline[1:].predict(found.features) == labels).sum())
    return {"accuracy": hits / len(labels), "ci95": list(wilson(hits, len(labels))), "n": len(labels)}


def _rows(specs, listing: Listing, row, cache: bool) -> list[dict]:
    for spec in specs:
        identity(spec)  # a network that cannot be had is an error now, not after the others are done
    rows = []
    for spec in specs:
        started = time.perf_counter()
        found = extract(listing.paths, spec, cache=cache, what=f"features of {spec.base}")
        if not len(found.rows):
            raise ValueError(f"None of the {len(listing):,} pictures can be read.")
        if found.features.ndim > 2:
            raise ValueError(f"A probe needs vectors: give --pool another value than {spec.pool}.")
        for place, why in found.errors.items() if spec is specs[0] else ():
            warn(f"{listing.paths[place]} cannot be read and is left out: {why}.")
        figures = row(found.features, *_labels(listing, found))
        seconds = round(time.perf_counter() - started, 2)
        rows.append({"base": spec.base, **figures, "features": found.features.shape[1], "seconds": seconds})
        say(f"{spec.base}: {seconds:.1f} s, {found.reused:,} of {len(found.rows):,} pictures from the cache")
    return rows


def _labels(listing: Listing, found: Extraction) -> tuple[np.ndarray, np.ndarray | None]:
    """Class names, and the groups if there are any, of the pictures that have features."""
    names = np.array(listing.classes, str)[np.array(listing.labels)[found.rows]]
    return names, np.array(listing.groups)[found.rows] if listing.groups else None
