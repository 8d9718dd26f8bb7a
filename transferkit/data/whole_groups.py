"""Sets of pictures that belong together kept whole in a draw that was made without regard to them."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def kept(drawn: np.ndarray, labels: np.ndarray, sets: Sequence[str], *, seed: int, left: int = 1) -> np.ndarray:
    """A draw changed so that no set is cut: each goes where its first picture is, others of its class go the other way.

    Where all sets are empty it stays as it is, and where pictures without a set suffice, each part keeps its number of
    each class. A set that is larger than its part's share of a class goes to the part that has most room. The sets of a
    class are given up where the class would miss from a part, or would have too few pictures outside of one.

    Args:
        drawn: (n,) the part of each picture, 0 and up, with every class in every part.
        labels: (n,) the class of each, 0 and up.
        sets: (n,) the set of each, "" for none; or () where there are none.
        seed: of which pictures make room.
        left: pictures of each class that there must be outside of each part.
    """
    if not any(sets):
        return drawn
    sets, shape = np.array(sets, object), (drawn.max() + 1, labels.max() + 1)
    while True:
        members = [rows for rows in _members(sets) if len(rows) > 1]
        parts = _moved(drawn, labels, sets, members, shape, np.random.default_rng(seed))
        _filled(parts, labels, members, shape)
        counts = _counts(parts, labels, shape)
        short = ((counts < 1) | (counts.sum(0) - counts < left)).any(0)
        short &= np.isin(np.arange(shape[1]), labels[np.concatenate(members)] if members else [])
        if not short.any():
            return parts
        sets[short[labels]] = ""


def joined(groups: Sequence[str], sets: Sequence[str], labels: np.ndarray, *, least: int = 2) -> tuple[str, ...]:
    """Groups of which those with a set in common are one, by the name of their first; each picture's group.

    Args:
        groups, sets: (n,) names; "" is no set.
        labels: (n,) the class of each, 0 and up.
        least: groups that each class needs; where it would have fewer, the sets that join them count for nothing.
    """
    sets = np.array(sets, object)
    _, first, group_of = np.unique(np.array(groups, object), return_index=True, return_inverse=True)
    while True:
        _, set_of = np.unique(sets, return_inverse=True)
        inside, count = sets != "", len(first)
        ends = (group_of[inside], count + set_of[inside])
        size = (count + len(sets),) * 2
        _, found = connected_components(coo_array((np.ones(inside.sum()), ends), shape=size), directed=False)
        together = found[group_of]
        short = [of for label in np.unique(labels) if len(of := np.unique(together[labels == label])) < least]
        freed = inside & np.isin(together, np.concatenate(short) if short else [])
        if not freed.any():
            _, leader, number = np.unique(together, return_index=True, return_inverse=True)
            return tuple(groups[leader[one]] for one in number)
        sets[freed] = ""


def _members(sets: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each set, the largest set first: where it fits, the smaller ones still do."""
    rows = np.flatnonzero(sets != "")
    names, first, number = np.unique(sets[rows], return_index=True, return_inverse=True)
    order = np.argsort(number, kind="stable")
    found = np.split(rows[order], np.cumsum(np.bincount(number, minlength=len(names)))[:-1]) if len(rows) else []
    return iter(sorted(found, key=lambda one: (-len(one), one[0])))


def _moved(drawn, labels, sets, members, shape, rng) -> np.ndarray:
    room, parts = _counts(drawn, labels, shape), drawn.copy()
    for rows in members:
        need = np.bincount(labels[rows], minlength=shape[1])
        spare = (room - need)[:, need > 0].min(1)
        home = drawn[rows[0]]
        parts[rows] = home = home if spare[home] >= 0 else spare.argmax()
        room[home] -= need
    inside = np.zeros(len(labels), bool)
    inside[np.concatenate(members) if members else []] = True
    for label in np.unique(labels[inside]):
        free, over = rng.permutation(np.flatnonzero(~inside & (labels == label))), []
        for part in range(shape[0]):
            here = free[drawn[free] == part]
            stay = max(room[part, label], 0)
            over.extend(here[stay:])
            room[part, label] -= len(here[:stay])
        for row in over:
            parts[row] = to = room[:, label].argmax()
            room[to, label] -= 1
    return parts


def _filled(parts, labels, members, shape):
    """Give a part that misses a class the smallest set of it that leaves its old part with all of its classes."""
    counts = _counts(parts, labels, shape)
    for part, label in zip(*np.nonzero(counts == 0), strict=True):
        for rows in reversed(members):
            need, home = np.bincount(labels[rows], minlength=shape[1]), parts[rows[0]]
            if need[label] and not counts[part, label] and (counts[home] - need)[need > 0].min() > 0:
                counts[home] -= need
                counts[part] += need
                parts[rows] = part


def _counts(parts, labels, shape) -> np.ndarray:
    """(parts, classes): how many pictures."""
    counts = np.zeros(shape, int)
    np.add.at(counts, (parts, labels), 1)
    return counts
