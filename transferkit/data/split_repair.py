"""Keep sets of pictures that belong together undivided by a split that was drawn without regard to them."""

from collections.abc import Iterator, Sequence

import numpy as np


def keep_sets_together(
    part_of: np.ndarray, labels: np.ndarray, sets: Sequence[str], *, seed: int, min_outside: int = 1
) -> np.ndarray:
    """Change a split so that no set is divided: each set moves to the part of its first picture, and others move out.

    Without sets the split does not change. Where there are enough pictures outside of sets, each part keeps its count
    of each class. A set that is larger than its part's count of a class moves to the part with the most room. The sets
    of a class are ignored if a part would have none of the class, or too few would be outside of a part.

    Args:
        part_of: (n,) the part of each picture, 0 and up, with every class in every part.
        labels: (n,) the class of each picture, 0 and up.
        sets: (n,) the set of each picture, "" for none; or () if there are none.
        seed: of the draw of pictures that move out.
        min_outside: pictures of each class that must be outside of each part.

    Returns:
        (n,) the part of each picture.
    """
    if not any(sets):
        return part_of
    set_names, shape = np.array(sets, object), (part_of.max() + 1, labels.max() + 1)
    while True:
        members = [rows for rows in _rows_by_set(set_names) if len(rows) > 1]
        parts = _move_sets(part_of, labels, members, shape, np.random.default_rng(seed))
        _fill_missing_classes(parts, labels, members, shape)
        counts = _count(parts, labels, shape)
        is_short = ((counts < 1) | (counts.sum(0) - counts < min_outside)).any(0)
        is_short &= np.isin(np.arange(shape[1]), labels[np.concatenate(members)] if members else [])
        if not is_short.any():
            return parts
        set_names[is_short[labels]] = ""


def merge_groups(
    groups: Sequence[str], sets: Sequence[str], labels: np.ndarray, *, min_groups: int = 2
) -> tuple[str, ...]:
    """Merge groups that have a set in common, under the name of the first.

    Args:
        groups, sets: (n,) names; "" is no set.
        labels: (n,) the class of each picture, 0 and up.
        min_groups: groups that each class needs; if a class would have fewer, the sets that merge them are ignored.

    Returns:
        (n,) the merged group of each picture.
    """
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    set_names = np.array(sets, object)
    _, first, group_of = np.unique(np.array(groups, object), return_index=True, return_inverse=True)
    while True:
        _, set_of = np.unique(set_names, return_inverse=True)
        has_set, count = set_names != "", len(first)
        edges = (group_of[has_set], count + set_of[has_set])
        size = (count + len(sets),) * 2
        _, component = connected_components(coo_array((np.ones(has_set.sum()), edges), shape=size), directed=False)
        merged = component[group_of]
        by_class = [np.unique(merged[labels == label]) for label in np.unique(labels)]
        too_few = [found for found in by_class if len(found) < min_groups]
        ignored = has_set & np.isin(merged, np.concatenate(too_few) if too_few else [])
        if not ignored.any():
            _, leader, number = np.unique(merged, return_index=True, return_inverse=True)
            return tuple(groups[leader[i]] for i in number)
        set_names[ignored] = ""


def _rows_by_set(sets: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each set, the largest set first: where it fits, the smaller ones still do."""
    rows = np.flatnonzero(sets != "")
    names, number = np.unique(sets[rows], return_inverse=True)
    order = np.argsort(number, kind="stable")
    by_set = np.split(rows[order], np.cumsum(np.bincount(number, minlength=len(names)))[:-1]) if len(rows) else []
    return iter(sorted(by_set, key=lambda rows: (-len(rows), rows[0])))


def _move_sets(part_of, labels, members, shape, rng) -> np.ndarray:
    """Move each set to one part, and as many other pictures of its classes out of that part."""
    room, parts = _count(part_of, labels, shape), part_of.copy()
    for rows in members:
        need = np.bincount(labels[rows], minlength=shape[1])
        spare = (room - need)[:, need > 0].min(1)
        part = part_of[rows[0]] if spare[part_of[rows[0]]] >= 0 else spare.argmax()
        parts[rows] = part
        room[part] -= need
    has_set = np.zeros(len(labels), bool)
    has_set[np.concatenate(members) if members else []] = True
    for label in np.unique(labels[has_set]):
        free, moving = rng.permutation(np.flatnonzero(~has_set & (labels == label))), []
        for part in range(shape[0]):
            rows = free[part_of[free] == part]
            stay = max(room[part, label], 0)
            moving.extend(rows[stay:])
            room[part, label] -= len(rows[:stay])
        for row in moving:
            parts[row] = part = room[:, label].argmax()
            room[part, label] -= 1
    return parts


def _fill_missing_classes(parts, labels, members, shape):
    """Move the smallest set of a class into each part that has none, if its old part keeps all of its classes.

    Args:
        parts: (n,), changed in place.
    """
    counts = _count(parts, labels, shape)
    for part, label in zip(*np.nonzero(counts == 0), strict=True):
        for rows in reversed(members):
            need, old_part = np.bincount(labels[rows], minlength=shape[1]), parts[rows[0]]
            if need[label] and not counts[part, label] and (counts[old_part] - need)[need > 0].min() > 0:
                counts[old_part] -= need
                counts[part] += need
                parts[rows] = part


def _count(parts, labels, shape) -> np.ndarray:
    """Pictures (parts, classes)."""
    counts = np.zeros(shape, int)
    np.add.at(counts, (parts, labels), 1)
    return counts
