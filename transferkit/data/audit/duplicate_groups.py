"""Sets of duplicates and near-duplicates, which a split made here keeps on one side.

A duplicate of a duplicate is in the same set, so all frames of a burst are, although the last may differ from the
first. If such a chain holds more than half of a class, one side of the split would hold little else of that class: the
chain is cut, in the order of the names, into pieces of a tenth of the class. Near-duplicates on the two sides of a cut
may then be on different sides of the split.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transferkit.console import say
from transferkit.data.audit import duplicate_search
from transferkit.data.audit.file_scan import FileScan
from transferkit.data.audit.scan import scan_files
from transferkit.data.listing import Listing, Splits, complete_splits

MAX_FRACTION = 0.5  # of a class: a chain that holds more is cut
PIECES = 10  # a piece of a cut chain is this part of its class


def make_splits(parts: dict[str, Listing], scans: Sequence[FileScan] = (), *, validation: float, seed: int) -> Splits:
    """`listing.complete_splits`; a "val" that is split off "train" shares no set of duplicates with it.

    Args:
        scans: of the pictures of "train", in order; by default they are scanned here if they are split.
    """
    if "val" in parts:
        return complete_splits(parts, validation=validation, seed=seed)
    marked = mark_duplicates(parts["train"], scans)
    splits = complete_splits(parts | {"train": marked}, validation=validation, seed=seed)
    report_kept_together((splits.train, splits.val), "on one side of the split")
    return splits


def mark_duplicates(listing: Listing, scans: Sequence[FileScan] = ()) -> Listing:
    """The listing with its `duplicate_sets`.

    Args:
        scans: of its pictures, in order; by default they are scanned here.
    """
    sets = find_duplicate_sets(scans or scan_files(listing.paths), listing.labels)
    return replace(listing, duplicate_sets=sets if any(sets) else ())


def find_duplicate_sets(scans: Sequence[FileScan], labels: Sequence[int]) -> tuple[str, ...]:
    """The set of each picture, "1" and up; "" for a picture without duplicates, or one that cannot be read."""
    scans = [FileScan() if scan.reason else scan for scan in scans]
    chains = _find_chains(len(scans), duplicate_search.find_near_duplicates(scans))
    chains = _cut_long_chains(chains, np.array(labels, int))
    for first, *others in duplicate_search.find_exact_duplicates(scans):  # only the first was compared with others
        chains[others] = chains[first]
    _, chain_of, sizes = np.unique(chains, return_inverse=True, return_counts=True)
    numbers: dict[int, int] = {}  # of the sets, in the order of their first pictures
    return tuple(str(numbers.setdefault(c, len(numbers) + 1)) if sizes[c] > 1 else "" for c in chain_of.tolist())


def report_kept_together(parts: Sequence[Listing], where: str):
    """Print one line on the sets of duplicates that a split kept together, if there are any.

    Args:
        parts: the listings that the pictures were split into.
        where: "on one side of the split", say.
    """
    parts_of: dict[str, list[int]] = {}
    for number, part in enumerate(parts):
        for name in part.duplicate_sets:
            if name:
                parts_of.setdefault(name, []).append(number)
    sizes = [len(numbers) for numbers in parts_of.values() if len(numbers) > 1 and len(set(numbers)) == 1]
    if sizes:
        sets = "a set" if len(sizes) == 1 else f"{len(sizes):,} sets"
        say(f"{sum(sizes):,} pictures in {sets} of duplicates or near-duplicates stay {where}.")


def _find_chains(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The chain (count,) of each picture: a number."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    ends = np.array(pairs, int).reshape(-1, 2).T
    return connected_components(coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(count, count)))[1]


def _cut_long_chains(chains: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cut chains that hold more than half of a class into pieces; a pair stays a pair."""
    chains, sizes = chains.copy(), np.bincount(labels)
    counts = Counter(zip(chains.tolist(), labels.tolist(), strict=True))
    for (chain, label), count in counts.items():
        if count > max(2, MAX_FRACTION * sizes[label]):
            rows = np.flatnonzero((chains == chain) & (labels == label))
            chains[rows] = chains.max() + 1 + np.arange(count) // max(2, sizes[label] // PIECES)
    return chains
