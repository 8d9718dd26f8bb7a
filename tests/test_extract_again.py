"""`transferkit extract` interrupted, resumed, distributed, and in conflict with another process."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from pictures import folder

import transferkit as tk
from transferkit.features import feature_folder
from transferkit.features.feature_files import load_features
from transferkit.features.feature_spec import FeatureSpec

SPEC = FeatureSpec("tiny", "none")
WORDS = ("extract", "--base", "tiny", "--weights", "none")


def test_an_interrupted_job_is_resumed(listing, expected, small_parts, tmp_path, monkeypatch):
    write, calls = feature_folder.write_part, []

    def at_most_two(todo, number, **words):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(number)
        return write(todo, number, **words)

    for out in (tmp_path / "f", tmp_path / "f.npz"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(feature_folder, "write_part", at_most_two)
            tk.extract_to(out, SPEC, listing, cache=False)
        told = tk.extract_to(out, SPEC, listing, cache=False)
        assert told["computed"] == 14 and told["pictures"] == 24, "ten were there"
        np.testing.assert_allclose(load_features(out).features, expected, rtol=1e-4, atol=1e-5)
        calls.clear()


def test_shares_of_many_machines_make_one_folder(listing, expected, small_parts, tmp_path):
    for i, pictures in ((2, 10), (1, 14)):
        told = tk.extract_to(tmp_path / "f", SPEC, listing, share=(i, 2))
        assert told["computed"] == pictures or told["pictures"] == 24
        if i == 2:
            assert told["parts"] == 3
            with pytest.raises(ValueError, match="has 2 of 5 parts: the same `transferkit extract` writes the others"):
                load_features(tmp_path / "f")
    np.testing.assert_allclose(load_features(tmp_path / "f").features, expected, rtol=1e-4, atol=1e-5)


def test_a_full_disk_loses_no_finished_part(listing, small_parts, tmp_path, monkeypatch):
    from pyarrow import parquet

    write, calls = parquet.write_table, []

    def full_after_two(*args, **words):
        calls.append(args)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        return write(*args, **words)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", full_after_two)
        with pytest.raises(OSError, match="could not be written: No space left on device"):
            tk.extract_to(tmp_path / "f.npz", SPEC, listing)
    assert len(list((tmp_path / ".f.npz.parts" / "parts").iterdir())) == 2
    assert tk.extract_to(tmp_path / "f.npz", SPEC, listing)["pictures"] == 24


KILLED = """
import sys, time, pathlib
sys.path.insert(0, {tests!r})
import transferkit as tk
from transferkit.features import feature_folder as job
from transferkit.features.feature_spec import FeatureSpec
write = job.write_part
def slowly(todo, number, **words):
    result = write(todo, number, **words)
    pathlib.Path({mark!r}).write_text(str(number))
    time.sleep(0.5)
    return result
job.write_part, job.PART_BYTES = slowly, 1
tk.extract_to({out!r}, FeatureSpec("resnet18", "none", size=32), tk.list_images({data!r}), cache=False)
"""


@pytest.mark.slow
def test_killed_and_started_again(tmp_path, monkeypatch):
    data, out, mark = folder(tmp_path / "d", {"a": 60, "b": 60}), tmp_path / "f", tmp_path / "mark"
    code = KILLED.format(tests=os.path.dirname(__file__), out=str(out), data=str(data), mark=str(mark))
    child = subprocess.Popen([sys.executable, "-c", code])
    while not (mark.exists() and mark.read_text() == "1") and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    monkeypatch.setattr(feature_folder, "PART_BYTES", 1)
    there = {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert len(there) == 2
    spec, listing = FeatureSpec("resnet18", "none", size=32), tk.list_images(data)
    assert tk.extract_to(out, spec, listing, cache=False)["computed"] == 120 - 64
    assert there.items() <= {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}.items()
    whole = tmp_path / "whole"
    tk.extract_to(whole, spec, listing, cache=False)
    np.testing.assert_allclose(load_features(out).features, load_features(whole).features, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_workers_write_what_one_writes(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(feature_folder, "PART_BYTES", 1)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token-of-this-test-alone-0123456789")  # none is written to the home folder
    spec = FeatureSpec("resnet18", "none", size=32)
    listing = tk.list_images(folder(tmp_path / "d", {"a": 40, "b": 40}))
    tk.extract_to(tmp_path / "one", spec, listing, cache=False)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for part in list((tmp_path / "two" / "parts").iterdir())[1:]:
        part.unlink()
    told = tk.extract_to(tmp_path / "two", spec, listing, cache=False, workers=2)
    assert told["computed"] in (80 - 32, 80 - 16) and told["parts"] == 0
    one, two = (load_features(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(two.features, one.features, rtol=1e-4, atol=1e-5)
    assert two.paths.tolist() == one.paths.tolist()


def test_a_started_folder_is_continued(cli, pets, tmp_path):
    """Killed before the note was written, or with a damaged or missing file of the job."""
    (tmp_path / ".k.npz.parts").mkdir()
    (tmp_path / ".k.npz.parts" / ".123.features.json").write_text('{"form')
    assert cli(*WORDS, "--data", pets, "--out", "k.npz")[0] == 0
    assert cli(*WORDS, "--data", pets, "--out", "k")[0] == 0
    (tmp_path / "k" / "pictures.csv").unlink()
    assert cli(*WORDS, "--data", pets, "--out", "k")[0] == 0
    assert len(load_features(tmp_path / "k")) == 24
    (part,) = (tmp_path / "k" / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:100])
    status, _, err = cli(*WORDS, "--data", pets, "--out", "k")
    assert status == 1 and f"{part.name} is damaged: delete it, and the same command writes it again." in err
    (tmp_path / "k" / "features.json").write_text('{"cut": ')
    status, _, err = cli(*WORDS, "--data", pets, "--out", "k")
    assert status == 1 and "features.json cannot be read" in err and "--overwrite replaces the folder" in err
    assert cli(*WORDS, "--data", pets, "--out", "k", "--overwrite")[0] == 0


@pytest.mark.parametrize("name", [".git/config", "parts/mine.txt", "notes.txt"])
def test_other_files_are_never_deleted(cli, pets, tmp_path, name):
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("dear")
    for words in ((), ("--overwrite",)):
        status, _, err = cli(*WORDS, "--data", pets, "--out", "mine", *words)
        assert status == 1 and "mine" in err and path.read_text() == "dear"


def test_a_changed_picture_makes_another_job(cli, data, tmp_path):
    root = data({})
    assert cli(*WORDS, "--data", root, "--out", "f")[0] == 0
    shutil.copyfile(root / "dog" / "000.jpg", root / "cat" / "000.jpg")
    status, _, err = cli(*WORDS, "--data", root, "--out", "f")
    assert status == 1 and "f holds features that differ in its pictures" in err


def test_errors_of_an_earlier_job_are_removed(cli, data, tmp_path):
    root = data({"cat/bad.png": b"none"})
    for out in ("f.npz", "f"):
        assert cli(*WORDS, "--data", root, "--out", out)[0] == 0
    (root / "cat" / "bad.png").unlink()
    for out, errors in (("f.npz", "f.npz.errors.csv"), ("f", "f/errors.csv")):
        assert (tmp_path / errors).exists()
        assert cli(*WORDS, "--data", root, "--out", out, "--overwrite")[0] == 0 and not (tmp_path / errors).exists()


def test_unreadable_pictures_are_cached(cli, data, monkeypatch):
    root = data({"cat/bad.png": b"none"})
    assert cli(*WORDS, "--data", root, "--out", "a.npz")[0] == 0
    monkeypatch.setattr(
        "transferkit.features.extraction._import_feature_model", lambda: pytest.fail("the network is not needed")
    )
    status, out, _ = cli(*WORDS, "--data", root, "--out", "b.npz")
    assert status == 0 and "1 cannot be read" in out


def test_one_process_writes_a_file(cli, pets, tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / ".f.npz.lock"):
        status, _, err = cli(*WORDS, "--data", pets, "--out", "f.npz")
    assert status == 1 and "Another process is writing f.npz: wait for it" in err
    assert cli(*WORDS, "--data", pets, "--out", "f.npz")[0] == 0 and not (tmp_path / ".f.npz.lock").exists()
