"""What was computed once of a picture and may be computed again: one store, keyed by content.

A kind of features (the network, its weights, layer, geometry...) is one SQLite file in the folder `features` of the
cache folder, a picture in it one row. Several processes may use it at once, and a row is written whole or not at all.
A damaged, locked or read-only store, or one without room, is done without, and so is a damaged row.
"""

import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from transferkit.cache_folder import cache_folder

MOST = 20e9  # bytes of all kinds together; those not used for longest go
CHUNK = 500  # keys of a query
DAMAGE = (sqlite3.Error, UnicodeDecodeError)  # the second where the words of the first are damaged too


def opened(path: Path, prepare: Callable) -> sqlite3.Connection | None:
    """A SQLite file, begun anew if it is damaged; None where there can be none.

    Args:
        prepare: prepare(connection) makes the tables where there are none, and reads a row of each.
    """
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _prepared(path, prepare)
        except sqlite3.OperationalError:  # locked for long, or no place to write
            return None
        except DAMAGE:
            with suppress(OSError):
                path.unlink()
        except OSError:
            return None
    return None


def _prepared(path: Path, prepare: Callable) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=10)
    store.text_factory = lambda text: text.decode("utf-8", "replace")  # a damaged one is no error of a query
    try:
        store.execute("PRAGMA synchronous = OFF")  # what a power cut loses is computed again
        with store:
            prepare(store)
    except BaseException:
        store.close()
        raise
    return store


class Vectors:
    """The features of one kind, by the digest of a picture. Closed by `with`."""

    def __init__(self, kind: str):
        path = cache_folder() / "features" / f"{kind}.sqlite"
        self._store = opened(path, _make_tables)
        if self._store:
            with suppress(OSError):
                os.utime(path)
                _trim(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._store:
            self._store.close()

    def shape(self) -> tuple[int, ...] | None:
        """Of the features of one picture; None while nothing is kept, or what is kept is no shape."""
        try:
            (told,) = self._asked("SELECT shape FROM facts")[0]
            shape = tuple(json.loads(told))
        except (LookupError, TypeError, ValueError):
            return None
        return shape if all(type(side) is int and side > 0 for side in shape) else None

    def recall(self, digests: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """What is known of these pictures: float32, by digest."""
        found, shape = {}, self.shape()
        for at in range(0, len(digests) if shape is not None else 0, CHUNK):
            some = digests[at : at + CHUNK]
            rows = self._asked(f"SELECT * FROM vectors WHERE digest IN ({', '.join('?' * len(some))})", some)
            whole = (row for row in rows if isinstance(row[1], bytes) and len(row[1]) == 4 * math.prod(shape))
            found |= {digest: np.frombuffer(vector, "<f4").reshape(shape) for digest, vector in whole}
        return found

    def reasons(self, digests: Sequence[bytes], decoders: str) -> dict[bytes, str]:
        """Why some of these pictures cannot be read, by digest, as certain decoders had it."""
        found = {}
        for at in range(0, len(digests), CHUNK):
            some = digests[at : at + CHUNK]
            marks = ", ".join("?" * len(some))
            query = f"SELECT digest, reason FROM unreadable WHERE decoders = ? AND digest IN ({marks})"
            found |= {digest: why for digest, why in self._asked(query, [decoders, *some]) if isinstance(why, str)}
        return found

    def remember_reasons(self, reasons: dict[bytes, str], decoders: str):
        """Keep why pictures cannot be read by these decoders."""
        if self._store is not None:
            with suppress(*DAMAGE), self._store:
                rows = [(digest, reason, decoders) for digest, reason in reasons.items()]
                self._store.executemany("INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?)", rows)

    def remember(self, digests: Iterable[bytes], features: np.ndarray):
        """Keep features (n, ...) float32 of as many pictures."""
        if self._store is not None and len(features):
            rows = ((digest, one.tobytes()) for digest, one in zip(digests, features.astype("<f4"), strict=True))
            with suppress(*DAMAGE), self._store:
                self._store.execute("INSERT OR REPLACE INTO facts VALUES (0, ?)", (json.dumps(features.shape[1:]),))
                self._store.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _asked(self, query: str, values=()) -> list:
        if self._store is None:
            return []
        try:
            return self._store.execute(query, values).fetchall()
        except DAMAGE:
            return []


def _make_tables(store: sqlite3.Connection):
    store.execute("CREATE TABLE IF NOT EXISTS facts (id INTEGER PRIMARY KEY, shape TEXT)")
    store.execute("CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, vector BLOB)")
    store.execute("CREATE TABLE IF NOT EXISTS unreadable (digest BLOB PRIMARY KEY, reason, decoders)")
    store.execute("SELECT id, shape FROM facts LIMIT 1").fetchall()
    store.execute("SELECT digest, vector FROM vectors LIMIT 1").fetchall()
    store.execute("SELECT digest, reason, decoders FROM unreadable LIMIT 1").fetchall()


def _trim(used: Path):
    """Delete the kinds not used for longest, until all are no more than `MOST`; the one in use stays.

    A time in the future, from when the clock was wrong, is as old as it is far: such a file would never go.
    """
    now = time.time()
    kinds = sorted(used.parent.glob("*.sqlite"), key=lambda path: -abs(now - path.stat().st_mtime))
    total = sum(path.stat().st_size for path in kinds)
    for path in kinds:
        if total <= MOST or path == used:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
