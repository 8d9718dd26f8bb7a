"""Networks compared by what a classifier makes of their features."""

import time
from collections.abc import Sequence

import numpy as np
from sklearn.pipeline import Pipeline

from transferkit.console import say, warn
from transferkit.data.audit import duplicate_groups
from transferkit.data.audit.problems import check_classes
from transferkit.data.listing import Listing
from transferkit.evaluation.metrics import wilson
from transferkit.features import classifiers, transferability
from transferkit.features.extraction import extract
from transferkit.features.extractor import FeatureExtractor
from transferkit.features.probe_scores import judged
from transferkit.features.spec import SETTINGS, FeatureSpec, identity


def compare(
    specs: Sequence[FeatureSpec], listing: Listing, *, classifier="logreg", folds=5, seed=0, cache=True
) -> list[dict]:
    """Cross-validate a classifier on the features of each network (Kornblith et al. 2019).

    Copies and near copies are in one fold, and a line says so.

    Returns:
        Best first: `base`, `accuracy` over all pictures, each judged by a classifier that has not seen it, `ci95`,
        `folds` (the accuracy of each), `features` (how many), `seconds` (features and all).

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: a network cannot be had, or the pictures cannot be probed.
    """
    classifiers.check(classifier)
    listing = duplicate_groups.mark_duplicates(listing)

    def row(extracted, part, spec):
        words = {"copies": part.duplicate_sets, "classifier": classifier, "folds": folds, "widths": extracted.widths}
        found = judged(extracted.features, *_labels(part), **words, seed=seed)
        if spec is specs[0]:
            duplicate_groups.report_kept_together(
                [part.take(np.flatnonzero(found["fold_of"] == fold)) for fold in range(folds)], "together in the folds"
            )
        return {name: found[name] for name in ("accuracy", "ci95", "folds")}

    return sorted(_rows(specs, listing, row, cache), key=lambda row: -row["accuracy"])


def rank(specs: Sequence[FeatureSpec], listing: Listing, *, cache: bool = True) -> list[dict]:
    """Score the features of each network without training.

    Returns:
        Best first: `base`, `logme`, `neighbours` (see `ranking`), `features`, `seconds`.
    """

    def row(found, part, _):
        labels, _ = _labels(part)
        return {
            "logme": transferability.logme(found.features, labels),
            "neighbours": transferability.neighbours(found.features, labels),
        }

    return sorted(_rows(specs, listing, row, cache), key=lambda row: -row["logme"])


def fit_pipeline(spec: FeatureSpec, listing: Listing, *, classifier="logreg", seed=0, cache=True) -> Pipeline:
    """A fitted pipeline from pictures to class names, of types that skops loads; see `saved`."""
    found = extract(listing.paths, spec, cache=cache)
    known = _labels(listing.take(found.rows))
    learnt = classifiers.fitted(classifier, found.features, *known, widths=found.widths, seed=seed)
    words = {name: getattr(spec, name) for name in ("base", "weights", "pixels", *SETTINGS)}
    words["fit_mode"] = words.pop("fit")
    words["layer"] = spec.layer[0] if len(spec.layer) == 1 else list(spec.layer)
    return Pipeline([("features", FeatureExtractor(**words).fit()), ("classifier", learnt)])


def check_on(pipeline: Pipeline, listing: Listing) -> dict:
    """`accuracy`, `ci95` and `n` on pictures it has not seen."""
    extractor = pipeline[0]
    found = extract(listing.paths, extractor.spec(), cache=extractor.cache)
    labels, _ = _labels(listing.take(found.rows))
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
        check_classes(listing, {listing.paths[place]: why for place, why in found.errors.items()}, "the listing")
        if found.features.ndim > 2:
            raise ValueError(f"A probe needs vectors: give --pool another value than {spec.pool}.")
        for place, why in found.errors.items() if spec is specs[0] else ():
            warn(f"{listing.paths[place]} cannot be read and is left out: {why}.")
        figures = row(found, listing.take(found.rows), spec)
        seconds = round(time.perf_counter() - started, 2)
        rows.append({"base": spec.base, **figures, "features": found.features.shape[1], "seconds": seconds})
        say(f"{spec.base}: {seconds:.1f} s, {found.reused:,} of {len(found.rows):,} pictures from the cache")
    return rows


def _labels(listing: Listing) -> tuple[np.ndarray, np.ndarray | None]:
    """Class names, and the groups if there are any."""
    return np.array(listing.classes, str)[list(listing.labels)], np.array(listing.groups) if listing.groups else None
