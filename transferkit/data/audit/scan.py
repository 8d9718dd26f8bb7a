"""Scan many picture files: known results come from a cache, the others are computed in threads.

The cache is one SQLite file for all data sets. Several processes may use it at once, and a row is written whole or not
at all. A damaged, locked or read-only cache is ignored, as every scan can be repeated.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import astuple, fields
from itertools import islice

from transferkit.cache_folder import cache_folder
from transferkit.console import track
from transferkit.cpus import available_cpus
from transferkit.data.audit.file_scan import FINGERPRINT_SIZE, FileScan, scan_file
from transferkit.data.file_ranges import container_file
from transferkit.data.formats import decoder_versions
from transferkit.feature_cache import CHUNK, DATABASE_ERRORS, open_database

FILE = "looks-5.sqlite"  # the number grows whenever a scan finds something else
COLUMNS = ("digest", "form", "mode", "width", "height", "turn", "white", "reason", "fingerprint")  # fields of FileScan
KEY_COLUMNS = "size, time, changed, decoders"
MAX_ROWS = 2_000_000  # of some 500 bytes each; the oldest are deleted
SAVE_EVERY = 256  # scans: an interrupt loses no more than these

Key = tuple[bytes, int, int, int]


def scan_files(paths: Sequence[str], *, what: str = "pictures") -> list[FileScan]:
    """Scan files, in order; a file whose path, size and times are in the cache is not read again.

    Threads suffice: Pillow decodes outside Python's lock.

    Args:
        what: the noun of the progress bar.
    """
    store = open_store()
    with closing(store) if store else nullcontext():
        keys = [file_key(path) for path in paths]
        scans = {row: scan for row, scan in enumerate(load_scans(store, keys)) if scan is not None}
        missing = [row for row in range(len(paths)) if row not in scans]
        with ThreadPoolExecutor(available_cpus() + 1) as threads:
            computed = _scan_in_order(threads, [paths[row] for row in missing])
            unsaved = []
            for row, scan in zip(missing, track(computed, len(missing), f"checking {what}"), strict=True):
                scans[row] = scan
                unsaved.append((keys[row], scan))
                if len(unsaved) == SAVE_EVERY:
                    save_scans(store, unsaved)
                    unsaved = []
            save_scans(store, unsaved)
    return [scans[row] for row in range(len(paths))]


def _scan_in_order(threads: ThreadPoolExecutor, paths: list[str]) -> Iterator[FileScan]:
    """`threads.map` that holds a few batches at a time instead of all."""
    batches = _batches(iter(paths))
    running = [threads.submit(_scan_batch, batch) for batch in islice(batches, 8)]
    while running:
        yield from running.pop(0).result()
        running += [threads.submit(_scan_batch, batch) for batch in islice(batches, 1)]


def _batches(paths: Iterator[str], size: int = 16) -> Iterator[list[str]]:
    while batch := list(islice(paths, size)):
        yield batch


def _scan_batch(paths: list[str]) -> list[FileScan]:
    return [scan_file(path) for path in paths]


def file_key(path: str) -> Key | None:
    """Path, size, modification time and change time of a file (of the shard, for a picture in one); None if it is gone.

    The change time cannot be set: `cp -p`, or a clock that was set back, may give new content an old modification time.
    """
    try:
        status = os.stat(container_file(path))
        return os.fsencode(os.path.abspath(path)), status.st_size, status.st_mtime_ns, status.st_ctime_ns
    except (OSError, ValueError):
        return None


def open_store() -> sqlite3.Connection | None:
    """Open the cache, recreated if it is damaged; None if there cannot be one."""
    return open_database(cache_folder() / FILE, _create_table)


def _create_table(store: sqlite3.Connection):
    store.execute(f"CREATE TABLE IF NOT EXISTS looks (path BLOB PRIMARY KEY, {KEY_COLUMNS}, {', '.join(COLUMNS)})")
    store.execute("DELETE FROM looks WHERE rowid <= (SELECT max(rowid) FROM looks) - ?", (MAX_ROWS,))
    store.execute(f"SELECT {KEY_COLUMNS}, {', '.join(COLUMNS)} FROM looks LIMIT 1").fetchall()


def load_scans(store: sqlite3.Connection | None, keys: Sequence[Key | None]) -> Iterator[FileScan | None]:
    """Load the cached scan of each file, in order; None if there is none."""
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        known = _select(store, [key for key in chunk if key])
        for key in chunk:
            yield known.get(key) if key else None


def _select(store, keys: list[Key]) -> dict[Key, FileScan]:
    if store is None or not keys:
        return {}
    marks = ", ".join("?" * len(keys))
    columns = f"path, size, time, changed, {', '.join(COLUMNS)}"
    try:
        rows = store.execute(
            f"SELECT {columns} FROM looks WHERE decoders = ? AND path IN ({marks})",
            (decoder_versions(), *(key[0] for key in keys)),
        ).fetchall()
        return {row[:4]: FileScan(*row[4:]) for row in rows if _is_valid(row[4:])}
    except DATABASE_ERRORS:
        return {}


def _is_valid(values: tuple) -> bool:
    """Whether a row has the types and sizes of a scan; a damaged row is not used."""
    right_types = all(type(value) is field.type for value, field in zip(values, fields(FileScan), strict=True))
    return right_types and len(values[COLUMNS.index("fingerprint")]) in (0, FINGERPRINT_SIZE)


def save_scans(store: sqlite3.Connection | None, scans: Iterable[tuple[Key | None, FileScan]]):
    """Save scans, except of files that could not be read: the disk may do better next time."""
    rows = [(*key, decoder_versions(), *astuple(scan)) for key, scan in scans if key and scan.digest]
    if store is not None and rows:
        marks = ", ".join("?" * len(rows[0]))
        with suppress(*DATABASE_ERRORS), store:
            store.executemany(f"INSERT OR REPLACE INTO looks VALUES ({marks})", rows)
