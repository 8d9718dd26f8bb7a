"""Endless, very wide or deeply nested lists, recipes, notes and standard input: refused at once."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest

from transferkit import atomic, model_note, models, recipe_files, untrusted_files
from transferkit.data import class_names
from transferkit.data.augment import pca_axes
from transferkit.data.sources import csv_text

DEEP = 100_000  # brackets, which Python's readers of JSON and TOML go down one by one


@pytest.fixture
def terabyte(tmp_path):
    """Names of files of a terabyte, which are sparse."""

    def make(name):
        with open(tmp_path / name, "wb") as file:
            file.truncate(10**12)
        return tmp_path / name

    return make


READERS = {
    "list.csv": csv_text.read_table,
    "recipe.toml": recipe_files.load,
    "classes.txt": class_names.read_class_names,
    "axes.json": pca_axes.load_axes,
    "history.csv": atomic.read,
    "metrics.json": atomic.read,
}


@pytest.mark.parametrize("name", READERS)
def test_a_sparse_file(terabyte, name):
    path = terabyte(name)
    with pytest.raises(
        OSError, match=rf"{name} cannot be read: it has 1,000,000,000,000 bytes, and [\d,]+ are the most"
    ):
        READERS[name](path)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "folder"])
def test_paths_that_are_not_files(tmp_path, name, place):
    """Nobody writes to the pipe: it is empty, and nobody waits."""
    path = tmp_path / name
    if place == "pipe":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    else:
        path.symlink_to(place)
    if place == "pipe" and READERS[name] in (atomic.read, recipe_files.load) and name != "metrics.json":
        assert not atomic.read(path)
        return
    with pytest.raises((OSError, ValueError)) as error:
        READERS[name](path)
    assert str(path) in str(error.value) or name == "metrics.json"


def test_an_open_pipe(tmp_path):
    """As the shell's <(ls): read to its end, or to the bound."""
    words = [sys.executable, "-c", "import time; print('cat', flush=True); time.sleep(0.3); print('dog')"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        assert class_names.read_class_names(f"/dev/fd/{child.stdout.fileno()}") == ("cat", "dog")
    with subprocess.Popen([*words[:2], "print('x' * 10**6)"], stdout=subprocess.PIPE) as child:
        path = f"/dev/fd/{child.stdout.fileno()}"
        with pytest.raises(OSError, match=re.escape(f"{path} cannot be read: it has more than 999 bytes")):
            untrusted_files.read_bytes(path, 999)
        child.stdout.close()


def test_standard_input(cli, monkeypatch):
    monkeypatch.setattr(untrusted_files.read_stream, "__defaults__", (1000,))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(open("/dev/zero", "rb")))  # noqa: SIM115
    status, _, error = cli("predict", "lenet5", "-")
    sys.stdin.close()
    assert (status, error.count("\n")) == (1, 1) and "Standard input cannot be read: it has more than 1,000" in error


LISTS = {
    "line": ("path,label\n" + "a" * 2_000_000, "line 2 has 2,000,000 characters, and 1,000,000 are the most"),
    "quote": ('path,label\n"' + "a" * 2_000_000, "line 2 has 2,000,001 characters"),
    "quote of lines": ('path,label\n"' + "aaaaaaaaa\n" * 100_000, "line 2: a quote opens and is never closed"),
    "columns": (",".join(f"c{i}" for i in range(300_000)), "line 1 has 2,288,889 characters"),
    "cells": ("path,label\n" + ",,,,,,,,,\n" * 600, "list.csv has more than 5,000 cells, which are the most"),
    "lines": ("path,label\n" + "\n" * 6_000, "list.csv has more than 5,000 cells"),
    "one wide row": ("path,label\n" + "a,b\n" * 100 + "x," * 100, "list.csv has more than 5,000 cells"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(tmp_path, monkeypatch, name):
    text, said = LISTS[name]
    if "5,000" in said:
        monkeypatch.setattr(csv_text, "MAX_CELLS", 5_000)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        csv_text.read_table(tmp_path / "list.csv")
    assert "\n" not in str(error.value)


def test_rows_with_too_few_cells_are_refused(tmp_path):
    """A row of few cells below many names is no row of many cells."""
    (tmp_path / "split.csv").write_text(",".join(map(str, range(100_000))) + "\n" + "a\n" * 100_000)
    with pytest.raises(ValueError, match="line 2: expected 100,000 columns"):
        atomic.read(tmp_path / "split.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data]\nx=" + "[" * 90_000, "it has a line of 90,002 characters"),
        ("[data]\nx=" + "[\n" * 20_000, "it is nested too deeply"),
        (".".join("a" * 40_000) + "=1", "it has a line of 80,001 characters"),
    ],
)
def test_recipes(tmp_path, text, said):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ValueError, match=f"r.toml is not a recipe: {said}"):
        recipe_files.load(tmp_path / "r.toml")


def test_as_many_classes_as_a_list_may_have(tmp_path):
    """Within the time that the suite has: each name was once compared with all before it."""
    (tmp_path / "names").write_text("\n".join(f"class {i}" for i in range(300_000)))
    assert len(class_names.read_class_names(tmp_path / "names")) == 300_000


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP])
def test_deeply_nested_json(tmp_path, text, finished):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match="nested too deeply"):
        atomic.read(tmp_path / "metrics.json")
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(finished.folder / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            new.writestr(member, text if member == model_note.NOTE else old.read(member))
    with pytest.raises(ValueError, match=r"cannot be used: its transferkit.json"):
        models.load_file(path)


def test_a_compressed_note(tmp_path, finished):
    """Gigabytes of spaces in a member of kilobytes: nothing of it is unpacked."""
    path = tmp_path / "model.keras"
    note = json.dumps({"format": 1}) + " " * (model_note.MOST_BYTES + 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr(model_note.NOTE, note)
    with pytest.raises(ValueError, match="its transferkit.json has 10,000,0.. bytes, and 10,000,000 are the most"):
        models.load_file(path)
