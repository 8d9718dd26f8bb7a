"""Windows refuses to delete or replace open files: with a simulation of that, every job still succeeds."""

import os
import shutil
import sys

import pytest
from weight_site import BODY, public, serve, use_cache

import transferkit as tk
from transferkit.weights.fetch import fetch_weights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open files are listed in /proc")
KNOBS = {"weights": "none", "size": 32, "batch_size": 8, "epochs": 3, "head_epochs": 1, "seed": 3, "memory": 0}


def in_use() -> set[str]:
    """The files that this process has open or mapped."""
    paths = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            paths.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # that of the listing itself
            continue
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths |= {line.split(maxsplit=5)[-1].strip() for line in maps}
    return paths


@pytest.fixture
def refused(monkeypatch):
    """The paths that were to go while they were open; each of them was refused as Windows does."""
    paths = []

    def guarded(function, places):
        def call(*args, dir_fd=None, **words):
            root = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
            for path in args[:places]:
                path = os.path.join(os.path.realpath(root), os.fsdecode(path))
                if os.path.realpath(path) in in_use() and not os.path.isdir(path):
                    paths.append(path)
                    raise PermissionError(13, "The process cannot access the file because it is being used", path)
            return function(*args, **words if dir_fd is None else words | {"dir_fd": dir_fd})

        return call

    for name, places in {"unlink": 1, "remove": 1, "replace": 2, "rename": 2}.items():
        monkeypatch.setattr(os, name, guarded(getattr(os, name), places))
    return paths


def test_the_guard_refuses_what_is_open(refused, tmp_path):
    path = tmp_path / "file"
    with open(path, "w"), pytest.raises(PermissionError):
        path.unlink()
    assert refused == [str(path)]
    path.unlink()
    with open(tmp_path / "a", "w"), pytest.raises(PermissionError):
        shutil.rmtree(tmp_path)


@pytest.mark.parametrize("out", ["features", "features.npz"])
def test_extract(out, refused, cli, pets):
    for more in ((), ("--overwrite",)):
        status, _, error = cli("extract", "--base", "tiny", "--weights", "none", "--data", pets, "--out", out, *more)
        assert status == 0, error
    assert len(tk.load_features(out).paths) == 24


@pytest.mark.slow
def test_finetune(refused, cli, tiny, pets):
    """Views that do not fit in memory, an average of epochs, and a run in place of another."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in KNOBS.items()]
    for more in (("--soup", 2), ("--overwrite", "--unfreeze", "last-stage,all")):
        status, _, error = cli("finetune", "--base", tiny, "--data", pets, "--out", "run", *words, *more)
        assert status == 0, error
        assert not [path for path in os.listdir("run/checkpoints") if path.startswith("temporary-")]


def test_commands_on_a_run(refused, cli, finished, pets, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    for words in (
        ("predict", "run", pets, "--out", "predictions.csv"),
        *[("evaluate", "run", "--data", pets, "--out", "measured", "--overwrite")] * 2,
        ("report", "run"),
        ("verify", "run"),
        ("export", "run", "--to", "keras", "--out", "again.keras"),
    ):
        status, _, error = cli(*words)
        assert (status, refused) == (0, []), f"{words}: {error}"


def test_weights_are_fetched(refused, tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    with serve() as site:
        site.plan = ["cut"]  # and resumed
        assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert refused == []


def test_other_commands(refused, cli, data):
    root = data({"cat/broken.jpg": b"nothing", "dog/copy.png": b""})
    for words in (
        ("check", root, "--quarantine", "bad"),
        ("data", "pack", root, "--out", "packed"),
        ("data", "pca", root, "--out", "axes.json"),
        *[
            (
                "probe",
                "--base",
                "tiny",
                "--weights",
                "none",
                "--data",
                root,
                "--folds",
                3,
                "--out",
                "a.skops",
                "--overwrite",
            )
        ]
        * 2,
    ):
        status, _, error = cli(*words)
        assert (status, refused) == (0, []), error
    assert sorted(os.listdir("bad")) == ["cat", "dog", "moved.csv"]
