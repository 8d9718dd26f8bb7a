"""Which rows of a listing are held out or used: by class, and by groups and copies that belong together."""

import re
from dataclasses import replace
from numbers import Real
from pathlib import PurePath

import numpy as np

from transferkit.data import whole_groups

ATTEMPTS = 20  # orders in which the groups are tried, before it is said that there is no way


def hold_out(listing, fraction: float, seed: int) -> np.ndarray:
    """Rows of about `fraction` of each class, at least one picture of each class in and out, no group cut in two.

    Sets of copies are not cut either, but for those of a class that could not be split then.

    Raises:
        ValueError: `fraction` is not between 0 and 1; a class has a single picture or a single group, or its groups
            cannot be shared out.
    """
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        raise ValueError(f"The share to hold out must be a number between 0 and 1, as 0.2, not {fraction!r}.")
    labels = np.array(listing.labels)
    for name, count in listing.counts().items():
        if count < 2:
            raise ValueError(
                f"Class {name!r} has {count} picture{'s' * (not count)}; a split needs at least 2 of each class, "
                "one to train on and one to check."
            )
    if listing.groups:
        return _groups_held_out(listing, labels, fraction, seed)
    rng, drawn = np.random.default_rng(seed), np.zeros(len(labels), int)
    for label in range(len(listing.classes)):
        rows = np.flatnonzero(labels == label)
        share = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        drawn[rng.permutation(rows)[:share]] = 1
    return np.flatnonzero(whole_groups.kept(drawn, labels, listing.copies, seed=seed))


def _groups_held_out(listing, labels, fraction, seed) -> np.ndarray:
    if listing.copies:
        joined = whole_groups.joined(listing.groups, listing.copies, labels)
        try:
            return _groups_held_out(replace(listing, groups=joined, copies=()), labels, fraction, seed)
        except ValueError:  # the groups alone may do, and if not, the sentence is about them
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
        chosen = _share_out(counts, fraction, rng.permutation(len(names)))
        if chosen is not None:
            return np.flatnonzero(chosen[group_of])
    raise ValueError(
        f"The {len(names)} groups cannot be shared out so that each of the {len(listing.classes)} classes is on both "
        "sides: give a --group-by with smaller groups, or a split of your own."
    )


def _share_out(counts: np.ndarray, fraction: float, order: np.ndarray) -> np.ndarray | None:
    """Which groups are held out: those that bring every class nearer to its share, taken in this order.

    In an order by size the held-out groups would be the large ones, which are not like the others.

    Args:
        counts: (groups, classes) pictures.
    """
    whole, held, chosen = counts.sum(0), np.zeros(counts.shape[1]), np.zeros(len(counts), bool)

    def cost(some):
        return (((some / whole) - fraction) ** 2).sum(-1)

    for label in np.argsort((counts > 0).sum(0), kind="stable"):  # the classes of few groups have the least choice
        if not held[label]:
            able = [g for g in order if counts[g, label] and not chosen[g] and np.all(held + counts[g] < whole)]
            if not able:
                return None
            best = able[int(np.argmin(cost(held + counts[able])))]
            chosen[best], held = True, held + counts[best]
    for group in order:
        more = held + counts[group]
        if not chosen[group] and np.all(more < whole) and cost(more) < cost(held):
            chosen[group], held = True, more
    return chosen


def by_pattern(names, pattern: str, *, columns=()) -> tuple[str, ...]:
    """The group of each picture: what a regular expression finds in its name, its first group or the whole match.

    Args:
        names: paths below the folder of the pictures, or the names they had before they were packed.
        columns: of the list, for the sentence: the pattern may be a misspelt one.

    Raises:
        ValueError: it is no regular expression, or finds nothing in one of the names.
    """
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ValueError(f"--group-by {pattern!r} is no regular expression: {error}.") from None
    names = [PurePath(name).as_posix() for name in names]  # a pattern's slash is that of any system
    found = [search(name) for name in names]
    lost = [name for name, match in zip(names, found, strict=True) if not match]
    if lost:
        known = f", and is none of the columns {', '.join(columns)}" if columns else ""
        raise ValueError(
            f"--group-by {pattern!r} finds nothing in {len(lost)} of {len(names)} paths{known}; the first: {lost[0]!r}."
        )
    return tuple((match[1] or "") if match.re.groups else match[0] for match in found)


def check_apart(parts: dict):
    """Raise `ValueError` if a group is in two of the parts."""
    owner = {}
    for name, part in parts.items():
        for path, group in zip(part.paths, part.groups, strict=True) if part.groups else ():
            if owner.setdefault(group, name) != name:
                raise ValueError(
                    f"Group {group!r} is in {owner[group]} and in {name} ({path}): no group may be on both sides; move "
                    "its pictures to one of them, or leave --group-by out."
                )


def lessened(listing, fraction: float, per_class: int, seed: int):
    """A listing with this share of each class, at least one picture, and at most `per_class`; 0 is no limit.

    With one seed, the pictures of a smaller share are among those of a larger one.
    """
    if fraction >= 1 and not per_class:
        return listing
    labels, rng, kept = np.array(listing.labels), np.random.default_rng(seed), []
    for label in range(len(listing.classes)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        most = max(1, round(len(rows) * fraction))
        kept.extend(rows[: min(most, per_class or most)])
    return listing.take(sorted(kept))
