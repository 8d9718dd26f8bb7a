"""Cross-validation: the listings of each fold."""

from dataclasses import replace

import numpy as np

from transferkit.data.audit import duplicate_groups
from transferkit.data.audit.file_scan import FileScan
from transferkit.data.listing import Listing, Splits
from transferkit.data.splitting import draw_folds


def pool_train_and_val(splits: Splits) -> Listing:
    """Pool the pictures that folds are made of: those of train and val. A test split is not touched."""
    train, val = splits.train, splits.val
    groups = train.groups + val.groups if train.groups and val.groups else ()
    has_duplicates = train.duplicate_sets or val.duplicate_sets
    sets = [part.duplicate_sets or ("",) * len(part) for part in (train, val)] if has_duplicates else [()]
    pool = Listing(train.paths + val.paths, train.labels + val.labels, train.classes, groups=groups)
    return replace(pool, duplicate_sets=sum(sets, ()))


def mark_pool_duplicates(splits: Splits, scans: dict[str, FileScan]) -> Splits:
    """The splits with the duplicate sets of train and val together, which are one pool.

    Args:
        scans: by path.
    """
    pool, count = pool_train_and_val(splits), len(splits.train)
    sets = duplicate_groups.mark_duplicates(pool, [scans[path] for path in pool.paths]).duplicate_sets
    train = replace(splits.train, duplicate_sets=sets[:count])
    val = replace(splits.val, duplicate_sets=sets[count:])
    return replace(splits, train=train, val=val)


def hold_out_folds(pool: Listing, count: int, seed: int) -> list[np.ndarray]:
    """Draw folds, stratified by class; no group is divided.

    No set of duplicates is divided either, except the sets of a class that would not go into the folds then.

    Returns:
        The rows that each fold holds out.

    Raises:
        ValueError: a class has fewer pictures than folds, or fewer groups, or too few to train on.
    """
    labels = np.array(pool.labels)
    for label, name in enumerate(pool.classes):
        rows = np.flatnonzero(labels == label)
        units, noun = ({pool.groups[row] for row in rows}, "groups") if pool.groups else (rows, "pictures")
        # of the rest, one is held out to choose the epoch
        if len(units) < count or len(units) - -(-len(units) // count) < 2:
            raise ValueError(
                f"Class {name!r} has {len(units)} {noun[: -1 if len(units) == 1 else None]}, too few for {count} "
                "folds: each holds one out, and two or more must be left."
            )
    fold_of = draw_folds(labels, pool.groups, pool.duplicate_sets, count, seed, min_left=2)
    return [np.flatnonzero(fold_of == fold) for fold in range(count)]


def fold_splits(pool: Listing, held_out: np.ndarray, validation: float, seed: int) -> Splits:
    """The splits of one fold: `test` is what it holds out, `val` a fraction of the rest, which chooses the epoch."""
    rest = pool.take(np.setdiff1d(np.arange(len(pool)), held_out))
    train, val = rest.split(validation, seed=seed)
    return Splits(train, val, pool.take(held_out), val_from_train=True)
