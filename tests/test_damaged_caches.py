"""Cached values are checked when they are read: a damaged row is computed again."""

import sqlite3
from contextlib import closing
from dataclasses import astuple

import numpy as np
import pytest

from transferkit.cache_folder import cache_folder
from transferkit.data.audit import scan
from transferkit.data.audit.file_scan import scan_file
from transferkit.data.formats import decoder_versions
from transferkit.feature_cache import FeatureStore

DATABASE_ERRORS = [b"", b"x", "text", 1.5, None, -1, 2**62, b"\0" * 10_000]


@pytest.mark.parametrize("column", scan.COLUMNS)
def test_file_scans(pets, column):
    path = str(pets / "cat" / "000.jpg")
    found, key = scan_file(path), scan.file_key(path)
    for value in DATABASE_ERRORS:
        store = scan.open_store()
        scan.save_scans(store, [(key, found)])
        assert list(scan.load_scans(store, [key])) == [found]
        with store:
            store.execute(f"UPDATE looks SET {column} = ?", (value,))
        (again,) = scan.load_scans(store, [key])
        store.close()
        assert again is None or list(map(type, astuple(again))) == list(map(type, astuple(found)))


@pytest.mark.parametrize("value", DATABASE_ERRORS)
def test_features(value):
    digests, features = [b"a" * 32, b"b" * 32], np.arange(6, dtype="float32").reshape(2, 3)
    with FeatureStore("kind") as store:
        store.add_features(digests, features)
        store.add_errors({b"c" * 32: "empty"}, decoder_versions())
    path = cache_folder() / "features" / "kind.sqlite"
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE vectors SET vector = ? WHERE digest = ?", (value, digests[0]))
        raw.execute("UPDATE unreadable SET reason = ?", (value,))
    with FeatureStore("kind") as store:
        found = store.get_features(digests)
        assert list(found) == digests[1:] and found[digests[1]].tolist() == [3, 4, 5]
        assert store.get_errors([b"c" * 32], decoder_versions()) in ({}, {b"c" * 32: str(value)})
        assert store.get_errors([b"c" * 32], "another version") == {}
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE facts SET shape = ?", (value,))
    with FeatureStore("kind") as store:
        assert store.shape() is None and store.get_features(digests) == {}
        store.add_features(digests, features)
        assert store.shape() == (3,) and len(store.get_features(digests)) == 2
