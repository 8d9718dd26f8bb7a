"""Files of an attacker: each is given to a command in a child process with limits of memory and time."""

import json
import os
import re
import shutil
import sqlite3
import zipfile
from contextlib import closing

import h5py
import numpy as np
import pytest
from forked import ABOVE, attempted
from pictures import folder
from test_large_pictures import BOMBS
from weight_site import serve

from transferkit import model_note, recipe_files

SECONDS = 60  # an honest command of these takes one to six on two quiet cores
EXTRACT = ("extract", "--base", "tiny", "--weights", "none", "--size", "32")


@pytest.fixture(scope="module")
def honest(zygote, pets, finished, tmp_path_factory):
    """A folder with a run, pictures, features and caches, and the addresses that an honest command takes, in bytes."""
    place = tmp_path_factory.mktemp("attempts")
    shutil.copytree(pets, place / "pets")
    shutil.copytree(finished.folder, place / "run")
    for words in (("check", "pets"), (*EXTRACT, "--data", "pets", "--out", "good.npz")):
        ended = attempted(zygote, place, *words, seconds=SECONDS, env={"TRANSFERKIT_HOME": str(place / "home")})
        assert ended.status == 0, ended.err
    return place, int((place / "peak.txt").read_text()) * 1024


@pytest.fixture
def attempt(zygote, honest, tmp_path):
    """attempt(*words) gives how the command ended; in a copy of the honest folder, which is `tmp_path / "it"`."""
    place, peak = honest
    shutil.copytree(place, tmp_path / "it", copy_function=shutil.copy)

    def run(*words, env=()):
        home = {"TRANSFERKIT_HOME": str(tmp_path / "it" / "home")}
        bounds = {"seconds": SECONDS, "memory": peak + ABOVE, "env": home | dict(env)}
        ended = attempted(zygote, tmp_path / "it", *words, **bounds)
        assert "Traceback" not in ended.err and "\x1b" not in ended.out + ended.err, ended
        return ended

    run.folder = tmp_path / "it"
    return run


@pytest.mark.slow
def test_the_limits_are_enforced(zygote, honest):
    place, peak = honest
    words = (*EXTRACT, "--data", "pets", "--out", "never.npz", "--no-cache")
    with pytest.raises(AssertionError, match="ran for more than 0.1 seconds"):
        attempted(zygote, place, *words, seconds=0.1)
    ended = attempted(zygote, place, *words, seconds=SECONDS, memory=peak // 2)
    assert ended.status and not (place / "never.npz").exists()


NO_FILES = {"pipe.jpg": "it is no file", "/dev/zero": "it is no file", "sparse.jpg": "200,000,000 are the most"}


@pytest.mark.parametrize("words", [("predict", "run", "list.csv", "--json"), (*EXTRACT, "--data", "list.csv")])
def test_devices_in_a_list(attempt, words):
    place = attempt.folder
    os.mkfifo(place / "pipe.jpg")
    with open(place / "sparse.jpg", "wb") as file:
        file.truncate(10**12)
    (place / "list.csv").write_text("\n".join(["path", *NO_FILES, *["pets/cat/000.jpg"] * 20]))
    ended = attempt(*words, *(("--out", "f.npz") if words[0] == "extract" else ()))
    assert ended.status == 0, ended.err
    said = (place / "f.npz.errors.csv").read_text() if (place / "f.npz.errors.csv").exists() else ended.out
    assert all(re.search(why, said) for why in NO_FILES.values()), said


def test_devices_in_saved_files(attempt):
    """A run to be resumed, whose split names a device."""
    place = attempt.folder
    for name in ("model.keras", "metrics.json"):
        (place / "run" / name).unlink()
    split = place / "run" / "split.csv"
    rows = split.read_text().splitlines()
    rows[1:3] = [re.sub(r"^[^,]*", "/dev/zero", row) for row in rows[1:3]]
    split.write_text("\n".join(rows) + "\n")
    ended = attempt("finetune", "--resume", "run")
    assert ended.status in (0, 1) and "/dev/zero" in ended.err and "it is no file" in ended.err, ended


def test_programs_in_a_recipe(attempt):
    place = attempt.folder
    (place / "served" / "variables").mkdir(parents=True)
    (place / "served" / "saved_model.pb").write_bytes(b"\x08\x01")
    for name in ("model.keras", "metrics.json"):
        (place / "run" / name).unlink()
    changed = recipe_files.load(place / "run" / "recipe.toml")
    changed = changed.override(base=str(place / "served"), weights="imagenet", pixels="raw")
    (place / "run" / "recipe.toml").write_text(recipe_files.dumps(changed))
    ended = attempt("finetune", "--resume", "run")
    assert ended.status == 2 and "is a SavedModel, which is a program" in ended.err, ended


def test_pictures_that_start_programs(attempt):
    place = attempt.folder
    (place / "bin").mkdir()
    for name in ("gs", "rsvg-convert", "inkscape", "convert"):
        (place / "bin" / name).write_text(f"#!/bin/sh\ntouch {place}/ran\n")
        (place / "bin" / name).chmod(0o755)
    (place / "pets" / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    (place / "pets" / "b.jpg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    path = {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    ended = attempt("predict", "run", "pets/a.png", "pets/b.jpg", "--json", env=path)
    assert [row["label"] for row in json.loads(ended.out)] == [None, None]
    assert attempt("check", "pets", env=path).status in (0, 1)
    assert not (place / "ran").exists()


def test_small_files_of_large_pictures(attempt):
    place = attempt.folder
    for number, content in enumerate(BOMBS.values()):
        for copy in range(3):
            (place / "pets" / "cat" / f"{number}-{copy}.jpg").write_bytes(content)
    ended = attempt("check", "pets", "--json")
    assert ended.status in (0, 1) and ended.out.count("decompression bomb") >= len(BOMBS), ended
    ended = attempt("predict", "run", "pets", "--json")
    errors = [row["error"] for row in json.loads(ended.out) if row["error"]]
    assert len(errors) == 3 * len(BOMBS) and all("decompression bomb" in error for error in errors)


@pytest.mark.slow
def test_names_that_write_to_the_terminal(attempt):
    folder(attempt.folder / "evil", {"cat\x1b]0;owned\x07\x1b[31m": 3, "dog\x1b[2J": 3})
    for words in (("check", "evil"), ("predict", "run", "evil"), ("evaluate", "run", "--data", "evil")):
        ended = attempt(*words)
        assert "\\x1b" in ended.out + ended.err and "\x07" not in ended.out + ended.err, ended


def test_manipulated_caches(attempt):
    place = attempt.folder
    (looks,) = (place / "home").rglob("looks-*.sqlite")
    (vectors,) = (place / "home" / "features").glob("*.sqlite")
    with closing(sqlite3.connect(looks)) as store, store:
        columns = [row[1] for row in store.execute("PRAGMA table_info(looks)")]
        assert store.execute("SELECT count(*) FROM looks").fetchone()[0] == 24
        for number, column in enumerate(columns[2:]):
            store.execute(f"UPDATE looks SET {column} = ? WHERE rowid % 5 = ?", (b"\xff\xfe", number % 5))
    with closing(sqlite3.connect(vectors)) as store, store:
        store.execute("UPDATE vectors SET vector = x'00'")
    ended = attempt(*EXTRACT, "--data", "pets", "--out", "again.npz")
    assert ended.status == 0, ended.err
    with np.load(place / "good.npz") as good, np.load(place / "again.npz") as again:
        assert np.array_equal(good["features"], again["features"])


def test_a_download_without_end(attempt):
    with serve() as site:
        site.body, site.length, site.etag = bytes(400_000_000), None, ""
        local = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        ended = attempt(env=local | {"URL": site.url})
    assert ended.status == 1 and "which is not the file of the catalogue" in ended.err, ended
    assert sum(path.stat().st_size for path in (attempt.folder / "home" / "weights").rglob("*") if path.is_file()) < 1e6


def test_feature_files_without_bound(attempt):
    place = attempt.folder
    with zipfile.ZipFile(place / "good.npz") as good, zipfile.ZipFile(place / "bad.npz", "w") as bad:
        for member in good.namelist():
            if member != "features.npy":
                bad.writestr(member, good.read(member))
        with bad.open(zipfile.ZipInfo("features.npy"), "w") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (40_000_000, 1000)}
            np.lib.format.write_array_header_2_0(file, header)
            file.write(bytes(10_000_000))
    ended = attempt("similar", "bad.npz", "pets/cat/000.jpg")
    assert ended.status == 1 and "bad.npz holds no features that can be read" in ended.err, ended


def test_models_that_request_much_memory(attempt):
    place = attempt.folder
    with zipfile.ZipFile(place / "run" / "model.keras") as good, zipfile.ZipFile(place / "bad.keras", "w") as bad:
        for member in good.namelist():
            content = good.read(member)
            if member == model_note.NOTE:
                note = json.loads(content)
                note["pixels"]["crop"] = 10**9
                content = json.dumps(note)
            bad.writestr(member, content)
    ended = attempt("predict", "bad.keras", "pets/cat/000.jpg")
    assert ended.status == 1 and "bad.keras cannot be used: its" in ended.err, ended


@pytest.mark.slow
def test_hdf5_of_many_groups(attempt):
    with h5py.File(attempt.folder / "many.h5", "w", libver="latest") as file:
        for number in range(30_000):
            file.create_group(str(number))
    ended = attempt("inspect", "many.h5")
    assert ended.status == 1 and "more than 20,000 groups and arrays" in ended.err, ended
