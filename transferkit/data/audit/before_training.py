"""The pictures of a job looked at before training: which can be decoded, and what would spoil its figures."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from transferkit.console import say, warn
from transferkit.data import decode, pipeline_errors
from transferkit.data.audit import problems
from transferkit.data.audit.file_scan import Look
from transferkit.data.audit.scan import scan
from transferkit.data.listing import Listing

MOST_NAMED = 10  # pictures, one by one, of those that are lost at once
MOST_UNREADABLE = 0.2  # the well-known cats-and-dogs download holds 7% of damaged files, and people train on it
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Audit:
    """The readable part of a listing, the (path, reason) of the rest, and what one look at each readable one found."""

    listing: Listing
    unreadable: tuple[tuple[str, str], ...]
    looks: tuple[Look, ...]

    @property
    def side(self) -> int:
        """Median of the shorter sides, in pixels."""
        return int(np.median([one.side for one in self.looks]))

    @property
    def aspects(self) -> tuple[float, float, float]:
        """Quartiles of the aspect ratios, longer side over shorter: 1 and more."""
        ratios = [max(one.width, one.height) / one.side for one in self.looks]
        return tuple(np.quantile(ratios, (0.25, 0.5, 0.75)).tolist())


def audit(listing: Listing, *, what: str = "the listing") -> Audit:
    """Look at every picture once, if it was not looked at before.

    Args:
        what: they are, for the bar and the sentence.

    Raises:
        ValueError: more than one picture in five cannot be read, or a class is left with none.
    """
    looks = scan(listing.paths, what=what)
    rows = [row for row, one in enumerate(looks) if not one.reason]
    pairs = zip(listing.paths, looks, strict=True)
    unreadable = [(path, one.reason) for path, one in pairs if one.reason]
    if len(unreadable) > MOST_UNREADABLE * len(listing):
        for path, reason in unreadable:
            say(f"{path}: {reason}")
        raise ValueError(
            f"{len(unreadable)} of {len(listing)} pictures in {what} cannot be read, more than one in five: mend or "
            f"remove those listed above, from {unreadable[0][0]} ({unreadable[0][1]}) on."
        )
    readable = listing.take(rows) if unreadable else listing
    problems.check_classes(listing, dict(unreadable), what)
    return Audit(readable, tuple(unreadable), tuple(looks[row] for row in rows))


def looks_of(audits: dict[str, Audit]) -> dict[str, Look]:
    """The look at each readable picture, by its path."""
    return {path: one for found in audits.values() for path, one in zip(found.listing.paths, found.looks, strict=True)}


def concerns(parts: dict[str, Listing], looks: dict[str, Look]) -> list[str]:
    """What would spoil a job's figures, a sentence each: leaks between its splits, two labels, unequal classes."""
    found = problems.find(parts, looks)
    by_kind = {kind: [one for one in found if one.problem == kind] for kind in ("leak", "two-classes", "imbalance")}
    told = []
    where = {path: name for name, part in parts.items() for path in part.paths}
    for name, count in Counter(where[one.path] for one in by_kind["leak"]).items():
        first = next(one for one in by_kind["leak"] if where[one.path] == name)
        told.append(
            f"{count:,} of the {len(parts[name]):,} {SPLITS[name]} pictures {'is' if count == 1 else 'are'} in another "
            f"split too, so figures on them will be better than the network is: {first.path} is {first.detail}."
        )
    if twice := by_kind["two-classes"]:
        what = "picture is" if len(twice) == 1 else "pictures are"
        told.append(f"{len(twice):,} {what} in two classes: {twice[0].path} is {twice[0].detail}.")
    told += [f"The classes are of unequal size: {one.detail}." for one in by_kind["imbalance"][:1]]
    for name, part in parts.items():
        if empty := [one for one, count in part.counts().items() if not count]:
            told.append(f"No {SPLITS[name]} picture is of class {', '.join(empty)}: the figures say nothing of it.")
    return told


def note_lost(paths, readable_rows, lost: dict[str, str]):
    """Warn of pictures that could be read when they were looked at and now could not; add them to `lost`, with why."""
    readable = {*map(int, readable_rows), *(row for row, path in enumerate(paths) if path in lost)}
    found = reasons(paths, readable)
    for path, reason in found[:MOST_NAMED]:
        warn(f"{path} is left out from here on: {reason}.")
    if len(found) > MOST_NAMED:
        warn(f"{len(found) - MOST_NAMED:,} more pictures are left out, from {found[MOST_NAMED][0]} on.")
    lost |= found


def check_lost(paths, lost: dict[str, str]):
    """Raise `ValueError` if more than one picture in five is lost: what is learnt from the others is another job."""
    gone = [path for path in paths if path in lost]
    if len(gone) > MOST_UNREADABLE * len(paths):
        raise ValueError(
            f"{len(gone):,} of {len(paths):,} pictures can no longer be read, more than one in five, from {gone[0]} "
            f"({lost[gone[0]]}) on: bring them back, and go on with --resume."
        )


def reasons(paths, readable_rows) -> list[tuple[str, str]]:
    """(path, reason) of every path whose row is not among the readable ones.

    Raises:
        RuntimeError: it was no picture's fault, but ours.
    """
    pipeline_errors.check()
    lost = sorted(set(range(len(paths))) - set(map(int, readable_rows)))
    return [(paths[row], decode.why_unreadable(paths[row])) for row in lost]
