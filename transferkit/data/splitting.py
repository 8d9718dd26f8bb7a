"""Stratified random splits: hold out a fraction, draw folds, subsample. Groups and duplicate sets are not divided."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real

import numpy as np

from transferkit.data import split_repair
from transferkit.lookup import show

ATTEMPTS = 20  # random orders of the groups that are tried before a split is given up


def hold_out(listing, fraction: float, seed: int) -> np.ndarray:
    """Draw rows to hold out: about `fraction` of each class, with at least one picture of each class in and out.

    No group is divided. No set of duplicates is either, except the sets of a class that could not be split then.

    Raises:
        ValueError: `fraction` is not between 0 and 1; a class has a single picture or a single group, or no division
            of the groups has every class on both sides.
    """
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        raise ValueError(f"The fraction to hold out must be a number between 0 and 1, as 0.2, not {show(fraction)}.")
    labels = np.array(listing.labels)
    for name, count in listing.counts().items():
        if count < 2:
            raise ValueError(
                f"Class {name!r} has {count} picture{'s' * (not count)}; a split needs at least 2 of each class, "
                "one to train on and one to check."
            )
    if listing.groups:
        return _hold_out_groups(listing, labels, fraction, seed)
    rng, is_held_out = np.random.default_rng(seed), np.zeros(len(labels), int)
    for label in range(len(listing.classes)):
        rows = np.flatnonzero(labels == label)
        count = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        is_held_out[rng.permutation(rows)[:count]] = 1
    return np.flatnonzero(split_repair.keep_sets_together(is_held_out, labels, listing.duplicate_sets, seed=seed))


def _hold_out_groups(listing, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    if listing.duplicate_sets:
        merged = split_repair.merge_groups(listing.groups, listing.duplicate_sets, labels)
        try:
            return _hold_out_groups(replace(listing, groups=merged, duplicate_sets=()), labels, fraction, seed)
        except ValueError:  # try the groups alone; if they fail too, the message is about them
            pass
    rng = np.random.default_rng(seed)
    names, group_of = np.unique(np.array(listing.groups, object), return_inverse=True)
    counts = np.zeros((len(names), len(listing.classes)))
    np.add.at(counts, (group_of, labels), 1)
    for label, name in enumerate(listing.classes):
        if (counts[:, label] > 0).sum() < 2:
            only = names[counts[:, label].argmax()]
            raise ValueError(
                f"All {int(counts[:, label].sum())} pictures of class {name!r} are of one group, {only!r}; a split "
                "needs at least 2 groups of each class, one to train on and one to check."
            )
    for _ in range(ATTEMPTS):
        chosen = _choose_groups(counts, fraction, rng.permutation(len(names)))
        if chosen is not None:
            return np.flatnonzero(chosen[group_of])
    raise ValueError(
        f"The {len(names)} groups cannot be divided so that each of the {len(listing.classes)} classes is on both "
        "sides: give a --group-by with smaller groups, or a split of your own."
    )


def _choose_groups(counts: np.ndarray, fraction: float, order: np.ndarray) -> np.ndarray | None:
    """Choose the groups to hold out: in this order, those that bring every class nearer to its fraction.

    In an order by size the large groups would be held out, which differ from the others.

    Args:
        counts: (groups, classes) pictures.

    Returns:
        (groups,) bool; None if a class cannot be on both sides in this order.
    """
    totals, held_out, chosen = counts.sum(0), np.zeros(counts.shape[1]), np.zeros(len(counts), bool)

    def cost(held_out):
        return (((held_out / totals) - fraction) ** 2).sum(-1)

    for label in np.argsort((counts > 0).sum(0), kind="stable"):  # the classes of few groups have the least choice
        if not held_out[label]:
            free = [g for g in order if counts[g, label] and not chosen[g] and np.all(held_out + counts[g] < totals)]
            if not free:
                return None
            best = free[int(np.argmin(cost(held_out + counts[free])))]
            chosen[best], held_out = True, held_out + counts[best]
    for group in order:
        more = held_out + counts[group]
        if not chosen[group] and np.all(more < totals) and cost(more) < cost(held_out):
            chosen[group], held_out = True, more
    return chosen


def draw_folds(
    labels: np.ndarray, groups: Sequence, sets: Sequence[str], count: int, seed: int, *, min_left: int
) -> np.ndarray:
    """Draw the fold of each picture, stratified by class.

    Args:
        labels: (n,) class of each picture, 0 and up; each class has at least `count` pictures, or groups.
        groups: (n,) group of each picture, or () for no groups. No group is divided.
        sets: (n,) duplicate set of each picture, "" for none, or (); see `split_repair`.
        count: number of folds.
        min_left: pictures (or groups) of each class that must be outside of every fold.

    Returns:
        (n,) numbers of the folds, 0 to count - 1.

    Raises:
        ValueError: the groups cannot be divided into so many folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow to import

    if not len(groups):
        splits = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
        fold_of = _fold_numbers(splits, labels)
        return split_repair.keep_sets_together(fold_of, labels, sets, seed=seed, min_outside=min_left)
    # the largest of `count` folds holds out 1 / count of the groups, rounded up
    min_groups = next(units for units in range(count, 2 * count + min_left) if units - -(-units // count) >= min_left)
    merged = [split_repair.merge_groups(groups, sets, labels, min_groups=min_groups)] if any(sets) else []
    for units in (*merged, groups):  # groups that duplicates merge may be too large
        splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, units)
        fold_of = _fold_numbers(splits, labels)
        if all(_leaves_enough(fold_of == fold, labels, np.array(units), min_left) for fold in range(count)):
            return fold_of
    raise ValueError(
        f"The {len(np.unique(groups))} groups do not go into {count} folds that each leave {min_left} or more of every "
        f"class to the others: give smaller groups{' or fewer folds' if count > 2 else ''}."
    )


def _fold_numbers(splits, labels) -> np.ndarray:
    fold_of = np.zeros(len(labels), int)
    for fold, (_, held_out) in enumerate(splits):
        fold_of[held_out] = fold
    return fold_of


def _leaves_enough(held_out, labels, units, min_left: int) -> bool:
    """Whether a fold is not empty, and leaves `min_left` units of every class outside."""
    outside = (len(np.unique(units[~held_out & (labels == label)])) for label in np.unique(labels))
    return held_out.any() and all(count >= min_left for count in outside)


def subsample(listing, fraction: float, per_class: int, seed: int):
    """Take a fraction of each class, at least one picture, and at most `per_class`; 0 is no limit.

    For one seed, the pictures of a smaller fraction are among those of a larger one.
    """
    if fraction >= 1 and not per_class:
        return listing
    labels, rng = np.array(listing.labels), np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(len(listing.classes)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(len(rows) * fraction))
        chosen.extend(rows[: min(count, per_class or count)])
    return listing.take(sorted(chosen))
