"""Compare networks by a classifier on their features, and fit that classifier."""

import os
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from sklearn.pipeline import Pipeline

from transferkit.console import say, warn
from transferkit.data.audit import duplicate_groups
from transferkit.data.audit.problems import check_classes
from transferkit.data.listing import Listing
from transferkit.data.sources.resolve import as_listing
from transferkit.evaluation.metrics import wilson_interval
from transferkit.features import classifiers, transferability
from transferkit.features.extraction import Extraction, extract
from transferkit.features.extractor import FeatureExtractor
from transferkit.features.feature_spec import SETTINGS, FeatureSpec, probe_layers
from transferkit.features.probe_scores import LabelledFeatures, cross_validate
from transferkit.lookup import as_count, as_text, count_noun, describe_type, none_can


def probe(
    bases: str | os.PathLike | Iterable,
    listing,
    *,
    classifier: str = "logreg",
    folds: int = 5,
    seed: int = 0,
    cache: bool = True,
) -> list[dict]:
    """Cross-validate a classifier on the features of each base, at the depths that a fine-tuned head starts from.

    Args:
        bases: networks of `list_models`, run folders, files of Keras models, or `keras:NAME`; a list, or one of them.
        listing: the pictures with their classes: a listing, a path or name as of `--data` (the pictures of train/ and
            val/), or a list of paths (the folder of each is its class).
        classifier, folds, seed, cache: as in `compare`.

    Returns:
        A dict for each base, the best first: `base`, `accuracy`, `ci95`, `folds`, `features` and `seconds`.

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: as `compare`.

    Example:
        >>> probe(["resnet18", "efficientnet_lite0"], "pets/")[0]["base"]  # doctest: +SKIP
        'efficientnet_lite0'
    """
    if not isinstance(bases, (str, os.PathLike, Iterable)):
        raise ValueError(f"bases must be names of networks, not {describe_type(bases)}.")
    names = [as_text(base, "A base") for base in ([bases] if isinstance(bases, (str, os.PathLike)) else bases)]
    if not names:
        raise ValueError("bases is empty: expected the names of one or more networks.")
    specs = [FeatureSpec(name, layer=probe_layers(name)) for name in names]
    listing, folds = as_listing(listing, "listing"), as_count(folds, "folds", least=2)
    return compare(specs, listing, classifier=classifier, folds=folds, seed=seed, cache=cache)


def compare(
    specs: Sequence[FeatureSpec],
    listing: Listing,
    *,
    classifier: str = "logreg",
    folds: int = 5,
    seed: int = 0,
    cache: bool = True,
) -> list[dict]:
    """Cross-validate a classifier on the features of each network (Kornblith et al. 2019).

    Duplicates and near-duplicates are in one fold; a line on standard error says how many there are.

    Args:
        classifier: a key of `classifiers.CLASSIFIERS`.
        folds: number of folds, 2 or more.
        seed: of the folds and of the classifier.
        cache: as in `extraction.extract`.

    Returns:
        A dict for each network, the best first: `base`, `accuracy` over all pictures, each predicted by a classifier
        that was not fitted to it, `ci95`, `folds` (the accuracy of each), `features` (their number) and `seconds`
        (with the extraction).

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: a network is not found, or the pictures cannot be probed.
    """
    classifiers.check_name(classifier)
    listing = duplicate_groups.mark_duplicates(listing)

    def score(extraction: Extraction, readable: Listing, spec: FeatureSpec) -> dict:
        labels, groups = _labels_and_groups(readable)
        data = LabelledFeatures(extraction.features, labels, groups, readable.duplicate_sets, extraction.widths)
        result = cross_validate(data, classifier=classifier, folds=folds, seed=seed)
        if spec is specs[0]:
            duplicate_groups.report_kept_together(
                [readable.take(np.flatnonzero(result.fold_of == fold)) for fold in range(folds)],
                "together in the folds",
            )
        return {"accuracy": result.accuracy, "ci95": result.ci95, "folds": result.folds}

    return sorted(_score_networks(specs, listing, score, cache), key=lambda row: -row["accuracy"])


def rank(specs: Sequence[FeatureSpec], listing: Listing, *, cache: bool = True) -> list[dict]:
    """Score the features of each network without training.

    Returns:
        A dict for each network, the best first: `base`, `logme`, `neighbours` (see `transferability`), `features` and
        `seconds`.
    """

    def score(extraction: Extraction, readable: Listing, _) -> dict:
        labels, _ = _labels_and_groups(readable)
        return {
            "logme": transferability.logme(extraction.features, labels),
            "neighbours": transferability.neighbour_accuracy(extraction.features, labels),
        }

    return sorted(_score_networks(specs, listing, score, cache), key=lambda row: -row["logme"])


def fit_pipeline(
    spec: FeatureSpec, listing: Listing, *, classifier: str = "logreg", seed: int = 0, cache: bool = True
) -> Pipeline:
    """Fit a pipeline from pictures to class names, of types that skops loads (see `skops_file`)."""
    extraction = extract(listing.paths, spec, cache=cache)
    labels, groups = _labels_and_groups(listing.take(extraction.rows))
    fitted = classifiers.fit_classifier(
        classifier, extraction.features, labels, groups, widths=extraction.widths, seed=seed
    )
    parameters = {name: getattr(spec, name) for name in ("base", "weights", "pixels", *SETTINGS)}
    parameters["fit_mode"] = parameters.pop("fit")
    parameters["layer"] = spec.layer[0] if len(spec.layer) == 1 else list(spec.layer)
    return Pipeline([("features", FeatureExtractor(**parameters).fit()), ("classifier", fitted)])


def evaluate_pipeline(pipeline: Pipeline, listing: Listing) -> dict:
    """Compute `accuracy`, `ci95` and `n` of a fitted pipeline on other pictures."""
    extractor = pipeline[0]
    extraction = extract(listing.paths, extractor.spec(), cache=extractor.cache)
    labels, _ = _labels_and_groups(listing.take(extraction.rows))
    hits = int((pipeline[1:].predict(extraction.features) == labels).sum())
    return {"accuracy": hits / len(labels), "ci95": list(wilson_interval(hits, len(labels))), "n": len(labels)}


def _score_networks(specs: Sequence[FeatureSpec], listing: Listing, score: Callable, cache: bool) -> list[dict]:
    """A row for each network, with what score(extraction, readable pictures, spec) returns."""
    for spec in specs:
        spec.identity()  # raises the error of a missing network now, not after the others are done
    rows = []
    for spec in specs:
        started = time.perf_counter()
        extraction = extract(listing.paths, spec, cache=cache, description=f"features of {spec.base}")
        if not len(extraction.rows):
            raise ValueError(f"{none_can(len(listing), 'picture')} be read.")
        unreadable = {listing.paths[row]: why for row, why in extraction.errors.items()}
        check_classes(listing, unreadable, "the listing")
        if extraction.features.ndim > 2:
            raise ValueError(f"A probe needs vectors, not maps: give another --pool than {spec.pool}.")
        for path, why in unreadable.items() if spec is specs[0] else ():
            warn(f"{path} is skipped: it cannot be read ({why}).")
        figures = score(extraction, listing.take(extraction.rows), spec)
        count, seconds = len(extraction.rows), round(time.perf_counter() - started, 2)
        rows.append({"base": spec.base, **figures, "features": extraction.features.shape[1], "seconds": seconds})
        say(f"{spec.base}: {seconds:.1f} s, {extraction.reused:,} of {count_noun(count, 'picture')} from the cache")
    return rows


def _labels_and_groups(listing: Listing) -> tuple[np.ndarray, np.ndarray | None]:
    """The class name and the group of each picture; None if there are no groups."""
    return np.array(listing.classes, str)[list(listing.labels)], np.array(listing.groups) if listing.groups else None
