"""What earlier looks at files found, kept in the cache folder: a file of the same size and times is not read again.

One SQLite file for all folders: several processes may use it at once, and a row is written whole or not at all. What it
holds can be had again, so a damaged, locked or read-only one is done without.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, fields

from transferkit.cache_folder import cache_folder
from transferkit.data.audit.file_scan import PRINT, Look
from transferkit.data.file_ranges import file_of
from transferkit.data.formats import decoders
from transferkit.feature_cache import CHUNK, DATABASE_ERRORS, open_database

FILE = "looks-5.sqlite"  # the number grows whenever a look finds something else
NAMES = [field.name for field in fields(Look)]
FACTS = "size, time, changed, decoders"
MOST = 2_000_000  # rows; older ones go, at some 500 bytes each

Key = tuple[bytes, int, int, int]


def key_of(path: str) -> Key | None:
    """Path, size and times of a file, of the shard for a picture in one; None if it is gone.

    Of the two times the second, of the last change of any kind, cannot be set: `cp -p` and a clock that was set back
    give another content the first of the one before.
    """
    try:
        facts = os.stat(file_of(path))
        return os.fsencode(os.path.abspath(path)), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    except (OSError, ValueError):
        return None


def open_store() -> sqlite3.Connection | None:
    """The store, begun anew if it is damaged; None where there can be none."""
    return open_database(cache_folder() / FILE, _make_table)


def _make_table(store: sqlite3.Connection):
    store.execute(f"CREATE TABLE IF NOT EXISTS looks (path BLOB PRIMARY KEY, {FACTS}, {', '.join(NAMES)})")
    store.execute("DELETE FROM looks WHERE rowid <= (SELECT max(rowid) FROM looks) - ?", (MOST,))
    store.execute(f"SELECT {FACTS}, {', '.join(NAMES)} FROM looks LIMIT 1").fetchall()


def recall(store: sqlite3.Connection | None, keys: Sequence[Key | None]) -> Iterator[Look | None]:
    """What is known of each of these files, in order."""
    for at in range(0, len(keys), CHUNK):
        some = [key for key in keys[at : at + CHUNK] if key]
        known = _rows(store, some)
        for key in keys[at : at + CHUNK]:
            yield known.get(key)


def _rows(store, keys: list[Key]) -> dict[Key, Look]:
    if store is None or not keys:
        return {}
    marks = ", ".join("?" * len(keys))
    try:
        rows = store.execute(
            f"SELECT path, size, time, changed, {', '.join(NAMES)} FROM looks WHERE decoders = ? AND path IN ({marks})",
            (decoders(), *(key[0] for key in keys)),
        ).fetchall()
        return {row[:4]: Look(*row[4:]) for row in rows if _is_look(row[4:])}
    except DATABASE_ERRORS:
        return {}


def _is_look(values: tuple) -> bool:
    """Whether a row is what a look can find: a damaged one is not used, and the file is looked at again."""
    kinds = all(type(value) is field.type for value, field in zip(values, fields(Look), strict=True))
    return kinds and len(values[NAMES.index("fingerprint")]) in (0, PRINT)


def remember(store: sqlite3.Connection | None, found: Iterable[tuple[Key | None, Look]]):
    """Keep what was found, but for files that could not be read: the disk may do better next time."""
    rows = [(*key, decoders(), *astuple(one)) for key, one in found if key and one.digest]
    if store is not None and rows:
        marks = ", ".join("?" * len(rows[0]))
        with suppress(*DATABASE_ERRORS), store:
            store.executemany(f"INSERT OR REPLACE INTO looks VALUES ({marks})", rows)
