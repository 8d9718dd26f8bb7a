"""Scan the pictures of a job before training: skip undecodable ones, and warn of what spoils the metrics."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from transferkit.console import say, warn
from transferkit.data import decode, deferred_errors
from transferkit.data.audit import problems
from transferkit.data.audit.file_scan import FileScan
from transferkit.data.audit.scan import scan_files
from transferkit.data.listing import Listing
from transferkit.lookup import count_noun

MAX_NAMED = 10  # pictures that are named one by one when several become unreadable at once
MAX_UNREADABLE = 0.2  # of a listing; the well-known cats-and-dogs download has 7%, and people train on it
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Audit:
    """The scanned pictures of a listing.

    Attributes:
        listing: the readable pictures.
        unreadable: (path, reason) of the others.
        scans: of the readable pictures, in order.
    """

    listing: Listing
    unreadable: tuple[tuple[str, str], ...]
    scans: tuple[FileScan, ...]

    @property
    def median_side(self) -> int:
        """Median of the shorter sides, in pixels."""
        return int(np.median([scan.shorter_side for scan in self.scans]))

    @property
    def aspect_quartiles(self) -> tuple[float, float, float]:
        """Quartiles of the aspect ratios, longer side over shorter: 1 and more."""
        ratios = [max(scan.width, scan.height) / scan.shorter_side for scan in self.scans]
        return tuple(np.quantile(ratios, (0.25, 0.5, 0.75)).tolist())


def audit_listing(listing: Listing, *, what: str = "the listing") -> Audit:
    """Scan every picture of a listing.

    Args:
        what: the listing's name, for the progress bar and messages.

    Raises:
        ValueError: more than one picture in five cannot be read, or no picture of a class can.
    """
    scans = scan_files(listing.paths, what=what)
    rows = [row for row, scan in enumerate(scans) if not scan.reason]
    unreadable = [(path, scan.reason) for path, scan in zip(listing.paths, scans, strict=True) if scan.reason]
    if len(unreadable) > MAX_UNREADABLE * len(listing):
        for path, reason in unreadable:
            say(f"{path}: {reason}")
        raise ValueError(
            f"{len(unreadable)} of {count_noun(len(listing), 'picture')} in {what} cannot be read, more than "
            f"one in five: mend or remove those listed above, from {unreadable[0][0]} ({unreadable[0][1]}) on."
        )
    readable = listing.take(rows) if unreadable else listing
    problems.check_classes(listing, dict(unreadable), what)
    return Audit(readable, tuple(unreadable), tuple(scans[row] for row in rows))


def audit_listings(listings: dict[str, Listing]) -> dict[str, Audit]:
    """Scan every picture of a job, and warn of each that cannot be read."""
    audits = {name: audit_listing(listing, what=name) for name, listing in listings.items()}
    for audit in audits.values():
        for path, reason in audit.unreadable:
            warn(f"{path} cannot be read and is skipped: {reason}.")
    return audits


def scans_by_path(audits: dict[str, Audit]) -> dict[str, FileScan]:
    """The scan of each readable picture, by its path."""
    pairs = (zip(audit.listing.paths, audit.scans, strict=True) for audit in audits.values())
    return {path: scan for part in pairs for path, scan in part}


def find_concerns(parts: dict[str, Listing], scans: dict[str, FileScan]) -> list[str]:
    """Find what spoils a job's metrics: leaks between its splits, pictures in two classes, unequal classes.

    Returns:
        A sentence for each.
    """
    found = problems.find_problems(parts, scans)
    leaks, contradictions, imbalances = (
        [problem for problem in found if problem.kind == kind] for kind in ("leak", "two-classes", "imbalance")
    )
    split_of = {path: name for name, part in parts.items() for path in part.paths}
    concerns = []
    for name, count in Counter(split_of[leak.path] for leak in leaks).items():
        first = next(leak for leak in leaks if split_of[leak.path] == name)
        concerns.append(
            f"{count:,} of the {len(parts[name]):,} {SPLITS[name]} pictures {'is' if count == 1 else 'are'} in another "
            f"split too, so metrics on them are too good: {first.path} is {first.detail}."
        )
    if contradictions:
        pictures = "picture is" if len(contradictions) == 1 else "pictures are"
        first = contradictions[0]
        concerns.append(f"{len(contradictions):,} {pictures} in two classes: {first.path} is {first.detail}.")
    concerns += [f"The classes are of unequal size: {problem.detail}." for problem in imbalances[:1]]
    for name, part in parts.items():
        if empty := [label for label, count in part.counts().items() if not count]:
            concerns.append(f"No {SPLITS[name]} picture is of class {', '.join(empty)}: it is not part of the metrics.")
    return concerns


def report_unreadable(paths, readable_rows, known: Collection[str]) -> dict[str, str]:
    """Warn of pictures that could be read when they were scanned and cannot be read now.

    Args:
        readable_rows: rows of `paths` that could be read now.
        known: paths that were reported before.

    Returns:
        {path: reason} of the newly unreadable pictures.
    """
    readable = {*map(int, readable_rows), *(row for row, path in enumerate(paths) if path in known)}
    unreadable = explain_missing_rows(paths, readable)
    for path, reason in unreadable[:MAX_NAMED]:
        warn(f"{path} is skipped from here on: {reason}.")
    if len(unreadable) > MAX_NAMED:
        warn(
            f"Skipped too: {count_noun(len(unreadable) - MAX_NAMED, 'more picture')}, from "
            f"{unreadable[MAX_NAMED][0]} on."
        )
    return dict(unreadable)


def check_unreadable_fraction(paths, unreadable: dict[str, str]):
    """Raise `ValueError` if more than one picture in five has become unreadable: the rest would be another job."""
    missing = [path for path in paths if path in unreadable]
    if len(missing) > MAX_UNREADABLE * len(paths):
        raise ValueError(
            f"{len(missing):,} of {count_noun(len(paths), 'picture')} can no longer be read, more than one in "
            f"five, from {missing[0]} ({unreadable[missing[0]]}) on: restore them, and continue with --resume."
        )


def explain_missing_rows(paths, readable_rows) -> list[tuple[str, str]]:
    """(path, reason) of every path whose row is not readable.

    Raises:
        RuntimeError: an error of our own made it unreadable, not the picture.
    """
    deferred_errors.raise_recorded()
    missing = sorted(set(range(len(paths))) - set(map(int, readable_rows)))
    return [(paths[row], decode.explain_unreadable(paths[row])) for row in missing]
