"""A cache of features, keyed by the content of pictures.

There is one SQLite file for each network, weights, layer and other settings (`feature_spec.cache_key`), in the folder
`features` of the cache folder, with one row for each picture. Layers have separate files, so any combination of known
layers is found. Several processes may use a file at once. If a file is damaged, locked, read-only or on a full disk, or
a row is damaged, the features are computed as if there were no cache.
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

MAX_BYTES = 20e9  # of all files; the least recently used ones are deleted
CHUNK = 500  # keys in a query
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the second if the message of the first is damaged too


def open_database(path: Path, prepare: Callable) -> sqlite3.Connection | None:
    """Open a SQLite file, or create it again if it is damaged; None if that is not possible.

    Args:
        prepare: prepare(connection) creates missing tables and reads a row of each.
    """
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _connect(path, prepare)
        except sqlite3.OperationalError:  # locked for long, or not writable
            return None
        except DATABASE_ERRORS:
            with suppress(OSError):
                path.unlink()
        except OSError:
            return None
    return None


def _connect(path: Path, prepare: Callable) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=10)
    store.text_factory = lambda text: text.decode("utf-8", "replace")  # damaged text must not fail a query
    try:
        store.execute("PRAGMA synchronous = OFF")  # what a power cut loses is computed again
        with store:
            prepare(store)
    except BaseException:
        store.close()
        raise
    return store


class FeatureStore:
    """The features of one layer, by the digest of a picture's content.

    Args:
        key: `feature_spec.cache_key`, the name of the file.

    Example:
        >>> with FeatureStore(cache_key(spec, "pooled")) as store:
        ...     store.get_features([digest])
    """

    def __init__(self, key: str):
        path = cache_folder() / "features" / f"{key}.sqlite"
        self._database = open_database(path, _create_tables)
        if self._database:
            with suppress(OSError):
                os.utime(path)
                _delete_oldest(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._database:
            self._database.close()

    def shape(self) -> tuple[int, ...] | None:
        """The shape of one picture's features; None if the store is empty or its shape is damaged."""
        try:
            (text,) = self._query("SELECT shape FROM facts")[0]
            shape = tuple(json.loads(text))
        except (LookupError, TypeError, ValueError):
            return None
        return shape if all(type(size) is int and size > 0 for size in shape) else None

    def get_features(self, digests: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The stored features of these pictures, float32, by digest."""
        found: dict[bytes, np.ndarray] = {}
        shape = self.shape()
        if shape is None:
            return found
        for at in range(0, len(digests), CHUNK):
            chunk = digests[at : at + CHUNK]
            rows = self._query(f"SELECT * FROM vectors WHERE digest IN ({', '.join('?' * len(chunk))})", chunk)
            whole = (row for row in rows if isinstance(row[1], bytes) and len(row[1]) == 4 * math.prod(shape))
            found |= {digest: np.frombuffer(vector, "<f4").reshape(shape) for digest, vector in whole}
        return found

    def get_errors(self, digests: Sequence[bytes], decoders: str) -> dict[bytes, str]:
        """The reasons why these versions of the decoders cannot read some of the pictures, by digest."""
        found: dict[bytes, str] = {}
        for at in range(0, len(digests), CHUNK):
            chunk = digests[at : at + CHUNK]
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT digest, reason FROM unreadable WHERE decoders = ? AND digest IN ({marks})"
            found |= {digest: why for digest, why in self._query(query, [decoders, *chunk]) if isinstance(why, str)}
        return found

    def add_errors(self, reasons: dict[bytes, str], decoders: str):
        """Store the reasons why these versions of the decoders cannot read pictures."""
        if self._database is not None:
            with suppress(*DATABASE_ERRORS), self._database:
                rows = [(digest, reason, decoders) for digest, reason in reasons.items()]
                self._database.executemany("INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?)", rows)

    def add_features(self, digests: Iterable[bytes], features: np.ndarray):
        """Store features (n, ...), float32, of n pictures."""
        if self._database is not None and len(features):
            rows = ((digest, vector.tobytes()) for digest, vector in zip(digests, features.astype("<f4"), strict=True))
            with suppress(*DATABASE_ERRORS), self._database:
                self._database.execute("INSERT OR REPLACE INTO facts VALUES (0, ?)", (json.dumps(features.shape[1:]),))
                self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _query(self, query: str, values=()) -> list:
        if self._database is None:
            return []
        try:
            return self._database.execute(query, values).fetchall()
        except DATABASE_ERRORS:
            return []


def _create_tables(store: sqlite3.Connection):
    store.execute("CREATE TABLE IF NOT EXISTS facts (id INTEGER PRIMARY KEY, shape TEXT)")
    store.execute("CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, vector BLOB)")
    store.execute("CREATE TABLE IF NOT EXISTS unreadable (digest BLOB PRIMARY KEY, reason, decoders)")
    store.execute("SELECT id, shape FROM facts LIMIT 1").fetchall()
    store.execute("SELECT digest, vector FROM vectors LIMIT 1").fetchall()
    store.execute("SELECT digest, reason, decoders FROM unreadable LIMIT 1").fetchall()


def _delete_oldest(used: Path):
    """Delete the least recently used files until all have at most `MAX_BYTES`; the one in use is kept.

    A time in the future, from a wrong clock, counts as equally far in the past: otherwise the file would never go.
    """
    now = time.time()
    files = sorted(used.parent.glob("*.sqlite"), key=lambda path: -abs(now - path.stat().st_mtime))
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= MAX_BYTES or path == used:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
