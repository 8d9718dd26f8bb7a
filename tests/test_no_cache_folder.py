"""Without a cache folder, or without permissions for it: commands work without it, or are refused."""

import json
import os

import numpy as np
import pytest

import transferkit as tk
from transferkit.cache_folder import cache_folder
from transferkit.data.sources import arrays
from transferkit.training import doctor

EXTRACT = ("extract", "--base", "tiny", "--weights", "none", "--size", "32", "--json")


@pytest.fixture(params=["below a file", "too long", "no such user", "read-only", "not readable"])
def nowhere(request, tmp_path, monkeypatch):
    """A cache folder in which nothing can be kept."""
    (tmp_path / "file").write_text("")
    locked = tmp_path / "locked"
    places = {"below a file": tmp_path / "file" / "home", "too long": tmp_path / ("x" * 300)}
    places |= {"no such user": "~nobody-is-called-so/home", "read-only": locked, "not readable": locked}
    monkeypatch.setenv("TRANSFERKIT_HOME", str(places[request.param]))
    if places[request.param] is locked:
        locked.mkdir(mode=0o500 if request.param == "read-only" else 0)
        if os.access(locked, os.W_OK):
            pytest.skip("who runs this may write anywhere")
    yield
    if locked.exists():
        locked.chmod(0o700)


def test_the_commands_work_without_a_cache_folder(nowhere, cli, pets, finished, expected):
    status, out, err = cli("check", pets, "--json")
    assert status == 0 and json.loads(out)["images"] == 24 and err == ""
    status, out, err = cli(*EXTRACT, "--data", pets, "--out", "f.npz")
    assert status == 0 and json.loads(out)["computed"] == 24 and err == f"Looking at 24 pictures in {pets} ...\n"
    features = tk.load_features("f.npz").features
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    status, out, err = cli("models", "--json")
    assert status == 0 and json.loads(out) and err == ""
    status, out, err = cli("predict", finished.folder, pets / "cat" / "000.jpg", "--json")
    assert status == 0 and json.loads(out)[0]["label"] and err.startswith("Looking at 1 picture in ")
    status, out, err = cli("evaluate", finished.folder, "--data", pets, "--json")
    assert status == 0 and json.loads(out)["n"] == 24
    assert "cannot be written" in doctor.examine_cache_folder().problem


def test_commands_that_must_store_are_refused(nowhere, cli, pets):
    status, _, err = cli("finetune", "--base", "resnet18", "--data", pets)
    assert status == 1 and err.count("\n") == 2 and "TRANSFERKIT_HOME" in err and str(cache_folder()) in err
    with pytest.raises(OSError, match="could not be written: .*; give another path"):
        arrays.list_arrays(np.zeros((1, 8, 8), "uint8"), ["a"])


def test_nothing_is_written_without_a_home_folder(tmp_path, monkeypatch):
    """A container may run as a user who is a number alone: `~` is no folder of that name then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRANSFERKIT_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache_folder().parts[-3:] == ("~", ".cache", "transferkit")
    with pytest.raises(OSError):
        cache_folder().mkdir(parents=True)
    assert not list(tmp_path.iterdir())


def test_free_space_of_the_cache_folder():
    assert "GB free" in doctor.examine_cache_folder().value


def test_two_processes_write_the_same_arrays(monkeypatch):
    """The second finds the folder full that it has just filled under another name."""
    fill, again = arrays._write_pngs, []

    def slowly(folder, pictures):
        paths = fill(folder, pictures)
        if not again:
            again.append(True)
            os_pid = os.getpid()
            with monkeypatch.context() as patch:
                patch.setattr(os, "getpid", lambda: os_pid + 1)
                arrays.list_arrays(np.zeros((2, 8, 8), "uint8"), ["a", "b"])
        return paths

    monkeypatch.setattr(arrays, "_write_pngs", slowly)
    listing = arrays.list_arrays(np.zeros((2, 8, 8), "uint8"), ["a", "b"])
    assert again and all(map(os.path.isfile, listing.paths))
    (folder,) = (cache_folder() / "data" / "arrays").iterdir()
    assert len(list(folder.iterdir())) == 2
