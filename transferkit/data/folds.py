"""Pictures shared out for cross-validation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from transferkit.data import whole_groups
from transferkit.data.audit import duplicate_groups
from transferkit.data.audit.file_scan import Look
from transferkit.data.listing import Listing, Splits


def pooled(splits: Splits) -> Listing:
    """The pictures that folds are made of: those of train and of val. A test split is not touched."""
    train, val = splits.train, splits.val
    groups = train.groups + val.groups if train.groups and val.groups else ()
    sets = [part.copies or ("",) * len(part) for part in (train, val)] if train.copies or val.copies else [()]
    pool = Listing(train.paths + val.paths, train.labels + val.labels, train.classes, groups=groups)
    return replace(pool, copies=sum(sets, ()))


def marked(splits: Splits, looks: dict[str, Look]) -> Splits:
    """The splits with the sets of copies among train and val together, which are one pool; `looks` are by path."""
    pool, count = pooled(splits), len(splits.train)
    sets = duplicate_groups.mark(pool, [looks[path] for path in pool.paths]).copies
    train, val = replace(splits.train, copies=sets[:count]), replace(splits.val, copies=sets[count:])
    return replace(splits, train=train, val=val)


def shared_out(pool: Listing, count: int, seed: int) -> list[np.ndarray]:
    """The rows that each of so many folds holds out: as much of each class in all of them, no group cut in two.

    Sets of copies are not cut either, but for those of a class that would not go into the folds then.

    Raises:
        ValueError: a class has fewer pictures than folds, or fewer groups, or too few to train on.
    """
    labels = np.array(pool.labels)
    for label, name in enumerate(pool.classes):
        rows = np.flatnonzero(labels == label)
        units, what = ({pool.groups[row] for row in rows}, "groups") if pool.groups else (rows, "pictures")
        # of the rest, one is held out to choose the epoch by
        if len(units) < count or len(units) - -(-len(units) // count) < 2:
            raise ValueError(
                f"Class {name!r} has {len(units)} {what[: -1 if len(units) == 1 else None]}, too few for {count} "
                "folds: each holds one out, and two or more must be left."
            )
    fold_of = drawn(labels, pool.groups, pool.copies, count, seed, left=2)
    return [np.flatnonzero(fold_of == fold) for fold in range(count)]


def drawn(labels: np.ndarray, groups: Sequence, sets: Sequence[str], count: int, seed: int, *, left: int) -> np.ndarray:
    """The fold (n,) of each picture, stratified by class.

    Args:
        labels: (n,) the class of each, 0 and up, at least `count` pictures, or groups, of each.
        groups: (n,) the group of each, () for none: no group is cut.
        sets: (n,) the set of copies of each, "" for none, or () where there are none; see `whole`.
        seed: of the draw.
        left: pictures of each class, or groups, that each fold leaves to the others at least.

    Raises:
        ValueError: the groups do not go into so many folds.
    """
    if not len(groups):
        split = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
        return whole_groups.kept(_fold_of(split, labels), labels, sets, seed=seed, left=left)
    # the largest of so many folds holds out a share of the groups, rounded up
    least = next(units for units in range(count, 2 * count + left) if units - -(-units // count) >= left)
    joined = [whole_groups.joined(groups, sets, labels, least=least)] if any(sets) else []
    for units in (*joined, groups):  # groups that copies join may be too large
        split = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, units)
        fold_of = _fold_of(split, labels)
        if all(_is_fold(fold_of == fold, labels, np.array(units), left) for fold in range(count)):
            return fold_of
    raise ValueError(
        f"The {len(np.unique(groups))} groups do not go into {count} folds that each leave {left} or more of every "
        f"class to the others: give smaller groups{' or fewer folds' if count > 2 else ''}."
    )


def _fold_of(split, labels) -> np.ndarray:
    fold_of = np.zeros(len(labels), int)
    for fold, (_, held) in enumerate(split):
        fold_of[held] = fold
    return fold_of


def _is_fold(held, labels, units, left: int) -> bool:
    return held.any() and all(len(np.unique(units[~held & (labels == one)])) >= left for one in np.unique(labels))


def parts(pool: Listing, held: np.ndarray, validation: float, seed: int) -> Splits:
    """The splits of one fold: `test` is what it holds out; of the rest, a share is `val`, which chooses the epoch."""
    train, val = pool.take(np.setdiff1d(np.arange(len(pool)), held)).split(validation, seed=seed)
    return Splits(train, val, pool.take(held), made=True)
