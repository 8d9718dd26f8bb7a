"""Which pictures of a listing can be decoded, found out before training by the decoder that training uses."""

from dataclasses import dataclass

import numpy as np

from transferkit.console import say, track
from transferkit.data import decode, pipeline
from transferkit.data.listing import Listing

MOST_UNREADABLE = 0.2  # the well-known cats-and-dogs download holds 7% of damaged files, and people train on it


@dataclass(frozen=True)
class Audit:
    """The readable part of a listing, the (path, reason) of the rest, and the median shorter side in pixels."""

    listing: Listing
    unreadable: tuple[tuple[str, str], ...]
    side: int


def audit(listing: Listing, *, channels: int = 3, what: str = "the listing") -> Audit:
    """Decode every picture once.

    Args:
        channels: those of the network's pictures.
        what: they are, for the bar and the sentence, for the progress bar.

    Raises:
        ValueError: more than one picture in five cannot be read, or a class is left with none.
    """
    found = list(track(pipeline.readable(listing.paths, channels), len(listing), f"checking {what}"))
    rows = [int(row) for row, _ in found]
    unreadable = reasons(listing.paths, rows)
    if len(unreadable) > MOST_UNREADABLE * len(listing):
        for path, reason in unreadable:
            say(f"{path}: {reason}")
        raise ValueError(
            f"{len(unreadable)} of {len(listing)} pictures in {what} cannot be read, more than one in five: mend or "
            f"remove those listed above, from {unreadable[0][0]} on."
        )
    readable = listing.take(rows) if unreadable else listing
    empty = [name for name, count in readable.counts().items() if not count and listing.counts()[name]]
    if empty:
        raise ValueError(f"No picture of class {empty[0]!r} in {what} can be read: mend its files or remove it.")
    return Audit(readable, tuple(unreadable), int(np.median([side for _, side in found])))


def reasons(paths, readable_rows) -> list[tuple[str, str]]:
    """(path, reason) of every path whose row is not among the readable ones."""
    lost = sorted(set(range(len(paths))) - set(map(int, readable_rows)))
    return [(paths[row], decode.why_unreadable(paths[row])) for row in lost]
