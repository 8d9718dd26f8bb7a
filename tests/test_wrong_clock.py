"""Wrong clocks and clocks that are set back: no stale file is trusted, no lock is permanent, no duration negative."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, cut_short
from pictures import encoded, photo

import transferkit as tk
from transferkit import feature_cache, run_folder
from transferkit.cache_folder import cache_folder
from transferkit.data.sources.resolve import find_splits
from transferkit.features import feature_folder
from transferkit.features.feature_spec import FeatureSpec
from transferkit.training import run_job

DECADE = 10 * 365 * 86_400


@pytest.fixture(params=[-DECADE, DECADE], ids=["back", "ahead"])
def shifted(request, monkeypatch):
    """What was written before was written in the future, or long ago."""
    now, shift = time.time, request.param
    monkeypatch.setattr(time, "time", lambda: now() + shift)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (now() + shift)))


def test_a_changed_file_of_the_same_size_and_time_is_scanned_again(cli, data):
    """The clock was set back, or the file was copied with its time: to be the same it takes more than to look so."""
    whole = encoded(photo(40, 40))
    root = data({"cat/a.jpg": whole})
    before = (root / "cat/a.jpg").stat()
    assert "all can be read" in cli("check", root)[1]
    (root / "cat/a.jpg").write_bytes(bytes(len(whole)))
    os.utime(root / "cat/a.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "1 cannot be read" in cli("check", root)[1]


def test_changed_weights_of_the_same_size_and_time_are_detected(tmp_path):
    """In one process, which would take the features of the old ones from the cache."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"one")
    spec, before = FeatureSpec("tiny", str(path)), path.stat()
    first = spec.identity()
    assert spec.identity() == first
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert spec.identity() != first


def test_copied_pictures_are_the_same_job(listing, tmp_path):
    """Machines that share an extraction may each have a copy, with its times, but made when it was made."""
    begun = feature_folder.create_folder(
        tmp_path / "f", FeatureSpec("tiny", "none"), (16,), listing, ["train"] * len(listing)
    )
    for path in listing.paths:  # which changes when it was changed
        os.chmod(path, Path(path).stat().st_mode)
    again = feature_folder.create_folder(
        tmp_path / "f", FeatureSpec("tiny", "none"), (16,), listing, ["train"] * len(listing)
    )
    assert again.note == begun.note


def test_features_from_the_future_are_evicted(monkeypatch):
    features = np.zeros((100, 4), "float32")
    digests = [number.to_bytes(32, "big") for number in range(100)]
    for kind, time_of in (("future", time.time() + DECADE), ("used", time.time())):
        with feature_cache.FeatureStore(kind) as store:
            store.add_features(digests, features)
        os.utime(cache_folder() / "features" / f"{kind}.sqlite", (time_of, time_of))
    monkeypatch.setattr(feature_cache, "MAX_BYTES", 2.5 * (cache_folder() / "features" / "used.sqlite").stat().st_size)
    with feature_cache.FeatureStore("new") as store:
        store.add_features(digests, features)
    with feature_cache.FeatureStore("new"):
        pass
    assert {path.stem for path in (cache_folder() / "features").glob("*.sqlite")} == {"used", "new"}


def test_extracted_features_are_found(cli, pets, tmp_path, shifted):
    words = ("extract", "--base", "tiny", "--weights", "none", "--size", "32", "--data", pets)
    with pytest.MonkeyPatch.context() as right:
        right.setattr(time, "time", lambda: os.stat(pets).st_mtime)
        assert cli(*words, "--out", "a.npz")[0] == 0
    future = time.time() + 2 * DECADE
    for path in cache_folder().rglob("*"):
        os.utime(path, (future, future))
    status, out, _ = cli(*words, "--out", "b.npz")
    assert status == 0 and "24 reused from the cache" in out and " in -" not in out


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_and_a_new_one_has_a_new_name(tmp_path, pets, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = find_splits(pets)
    with cut_short(monkeypatch):
        tk.finetune(tiny, parts.train, parts.val, **QUICK)
    (folder,) = (tmp_path / "runs").iterdir()
    for path in folder.rglob("*"):
        os.utime(path, (2**32, 2**32))  # in the year 2106
    run = run_job.resume(folder)
    assert run.metrics["seconds"] >= 0 and all(row["seconds"] >= 0 for row in run.history)
    assert run_folder.make_run_folder(None, overwrite=False, name=str(folder)[:-2]).name == f"{folder.name[:-2]}-2"


def test_an_invalid_year_is_refused_first(cli, pets, monkeypatch):
    """Keras writes ZIP files, and these know no date before 1980: training would be for nothing."""
    monkeypatch.setattr(run_folder.time, "localtime", lambda *_: time.gmtime(0))
    status, _, err = cli("finetune", "--base", "tiny", "--data", pets, "--weights", "none", "--size", "32")
    assert status == 1 and "The clock says 1970" in err and "set the clock" in err
