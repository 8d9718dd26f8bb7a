"""Sets of copies and near copies, which a split that is drawn here keeps on one side.

A copy of a copy is in the same set, so the frames of a burst are, though the last may differ from the first. Where such
a chain holds more than half of a class, one side of the split would hold little else of it: the chain is cut, in the
order of the names, into pieces of a tenth of the class. Near copies on the two sides of a cut may then be apart.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from transferkit.console import say
from transferkit.data.audit import near_duplicates
from transferkit.data.audit.file_scan import Look
from transferkit.data.audit.scan import scan
from transferkit.data.listing import Listing, Splits, complete

LARGEST = 0.5  # of a class: a chain that holds more is cut
PIECES = 10  # of the class's size


def split(parts: dict[str, Listing], looks: Sequence[Look] = (), *, validation: float, seed: int) -> Splits:
    """`listing.complete`; where a share of "train" is split off, sets of copies stay on one side, and a line says so.

    Args:
        looks: one for each picture of "train", in order; by default they are looked at here, if they are split.
    """
    if "val" in parts:
        return complete(parts, validation=validation, seed=seed)
    splits = complete(parts | {"train": mark(parts["train"], looks)}, validation=validation, seed=seed)
    say_kept((splits.train, splits.val), "on one side of the split")
    return splits


def mark(listing: Listing, looks: Sequence[Look] = ()) -> Listing:
    """The listing with its sets of copies, if it has any.

    Args:
        looks: one for each of its pictures, in order; by default they are looked at here, or were before.
    """
    sets = found(looks or scan(listing.paths), listing.labels)
    return replace(listing, copies=sets if any(sets) else ())


def found(looks: Sequence[Look], labels: Sequence[int]) -> tuple[str, ...]:
    """The set of each picture, numbers from 1 on; "" for a picture that has no copy, or that cannot be read."""
    looks, labels = [Look() if one.reason else one for one in looks], np.array(labels, int)
    chains = _cut(_connected(len(looks), near_duplicates.near(looks)), labels)
    exact = [(group[0], other) for group in near_duplicates.copies(looks) for other in group[1:]]
    for first, other in exact:  # of those with equal bytes, the first took part
        chains[other] = chains[first]
    _, number, counts = np.unique(chains, return_inverse=True, return_counts=True)
    order = {}
    return tuple(str(order.setdefault(one, len(order) + 1)) if counts[one] > 1 else "" for one in number.tolist())


def say_kept(sides: Sequence[Listing], where: str):
    """One line of the sets of copies that a draw kept on one side, if there are any.

    Args:
        sides: what was drawn.
        where: how the sets stay: "on one side of the split".
    """
    owners = {}
    for number, side in enumerate(sides):
        for name in side.copies:
            if name:
                owners.setdefault(name, []).append(number)
    sizes = [len(numbers) for numbers in owners.values() if len(numbers) > 1 and len(set(numbers)) == 1]
    if sizes:
        sets = "a set" if len(sizes) == 1 else f"{len(sizes):,} sets"
        say(f"{sum(sizes):,} pictures in {sets} of copies or near copies stay {where}.")


def _connected(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The number (count,) of the chain of each picture."""
    ends = np.array(pairs, int).reshape(-1, 2).T
    return connected_components(coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(count, count)))[1]


def _cut(chains: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The chains, but those that hold more than half of a class in pieces; a pair stays a pair."""
    chains, sizes = chains.copy(), np.bincount(labels)
    counts = Counter(zip(chains.tolist(), labels.tolist(), strict=True))
    for (chain, label), count in counts.items():
        if count > max(2, LARGEST * sizes[label]):
            rows = np.flatnonzero((chains == chain) & (labels == label))
            chains[rows] = chains.max() + 1 + np.arange(count) // max(2, sizes[label] // PIECES)
    return chains
