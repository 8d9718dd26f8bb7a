"""Pictures shared out for cross-validation."""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from transferkit.data.listing import Listing, Splits


def pooled(splits: Splits) -> Listing:
    """The pictures that folds are made of: those of train and of val. A test split is not touched."""
    train, val = splits.train, splits.val
    groups = train.groups + val.groups if train.groups and val.groups else ()
    return Listing(train.paths + val.paths, train.labels + val.labels, train.classes, groups=groups)


def shared_out(pool: Listing, count: int, seed: int) -> list[np.ndarray]:
    """The rows that each of so many folds holds out: as much of each class in all of them, no group cut in two.

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
                f"Class {name!r} has {len(units)} {what}, too few for {count} folds: each holds one out, and two or "
                "more must be left."
            )
    kind, groups = (StratifiedGroupKFold, pool.groups) if pool.groups else (StratifiedKFold, None)
    folds = kind(count, shuffle=True, random_state=seed)
    return [held for _, held in folds.split(labels, labels, groups)]


def parts(pool: Listing, held: np.ndarray, validation: float, seed: int) -> Splits:
    """The splits of one fold: `test` is what it holds out; of the rest, a share is `val`, which chooses the epoch."""
    train, val = pool.take(np.setdiff1d(np.arange(len(pool)), held)).split(validation, seed=seed)
    return Splits(train, val, pool.take(held), made=True)
