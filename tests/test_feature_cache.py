"""The cache of features: lookup, eviction, and jobs without it."""

import os
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from transferkit import feature_cache
from transferkit.feature_cache import FeatureStore


def keep(kind, count=3, width=4):
    features = np.arange(count * width, dtype="float32").reshape(count, width)
    with FeatureStore(kind) as store:
        store.add_features([bytes([i]) for i in range(count)], features)
    return features


def recalled(kind, *digests):
    with FeatureStore(kind) as store:
        return store.get_features(list(digests))


def test_features_are_found_by_digest():
    features = keep("a")
    found = recalled("a", b"\2", b"\0", b"\7")
    assert set(found) == {b"\0", b"\2"} and np.array_equal(found[b"\2"], features[2])
    assert recalled("b", b"\0") == {}


def test_maps_keep_their_shape():
    maps = np.random.default_rng(0).random((2, 3, 3, 5), "float32")
    with FeatureStore("maps") as store:
        assert store.shape() is None
        store.add_features([b"x", b"y"], maps)
        assert store.shape() == (3, 3, 5) and np.array_equal(store.get_features([b"y"])[b"y"], maps[1])


def test_more_digests_than_a_query_takes():
    digests = [str(i).encode() for i in range(3 * feature_cache.CHUNK)]
    with FeatureStore("many") as store:
        store.add_features(digests, np.ones((len(digests), 1), "float32"))
        assert len(store.get_features(digests)) == len(digests)


@pytest.mark.parametrize("content", [b"no database at all", b""])
def test_a_damaged_file_is_replaced(content, tmp_path):
    keep("a")
    (tmp_path / "home" / "features" / "a.sqlite").write_bytes(content)
    assert recalled("a", b"\0") == {}
    keep("a")
    assert len(recalled("a", b"\0")) == 1


def test_a_file_with_another_schema_is_ignored(tmp_path):
    (tmp_path / "home" / "features").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "home" / "features" / "a.sqlite")) as store, store:
        store.execute("CREATE TABLE vectors (something)")
    assert recalled("a", b"\0") == {}


def test_an_unwritable_folder_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "file"))
    keep("a")
    assert recalled("a", b"\0") == {}


def test_the_least_recently_used_kinds_are_deleted(tmp_path, monkeypatch):
    folder = tmp_path / "home" / "features"
    for age, kind in enumerate(("new", "middle", "old")):
        keep(kind, count=100)
        os.utime(folder / f"{kind}.sqlite", (1e9 - age, 1e9 - age))
    size = (folder / "old.sqlite").stat().st_size
    monkeypatch.setattr(feature_cache, "MAX_BYTES", 2.5 * size)
    keep("new")
    assert {path.stem for path in folder.glob("*.sqlite")} == {"new", "middle"}
    monkeypatch.setattr(feature_cache, "MAX_BYTES", 1)
    assert len(recalled("middle", b"\0")) == 1, "the one in use stays"
