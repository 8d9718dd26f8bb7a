"""File names with arbitrary bytes, as from old zip files, through every command."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
from pictures import folder
from pyarrow import parquet

import transferkit as tk
from transferkit import atomic, recipe, recipe_files, run_folder
from transferkit.data.sources.resolve import find_splits
from transferkit.training import run_job
from transferkit.training.planning import planner

NAMES = (
    b"caf\xe9.jpg",
    b"del\x7f.jpg",
    b"new\nline.jpg",
    b'%s {0} [b]\t"x",;\'.jpg',
    b"-\xff\xfe.jpg",
    "ü😀.jpg".encode(),
)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there, file names are any bytes")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder of such a name with such pictures, split into train and val."""
    root = os.path.join(tmp_path_factory.mktemp("odd"), os.fsdecode(b"d\xe9l\x7f [x]"))
    for part in ("train", "val"):
        made = folder(os.path.join(root, part), {"cat": len(NAMES), "dog": len(NAMES)})
        for place in made.iterdir():
            for picture, name in zip(sorted(place.iterdir()), NAMES, strict=True):
                picture.rename(place / os.fsdecode(name))
    return root


@pytest.fixture(scope="module")
def run(odd, tiny, tmp_path_factory):
    """Trained, and finished again by a resume: what was judged is read from the disk."""
    out = tmp_path_factory.mktemp("runs") / "run"
    knobs = {"weights": "none", "size": 32, "batch_size": 4, "epochs": 2, "head_epochs": 1, "seed": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(out.parent / "home"))
        plan = planner.make_plan(recipe.Recipe().override(base=tiny, data=odd, **knobs))
        run_job.train_plan(plan, run_folder.make_run_folder(out, overwrite=False, name=""))
        for name in ("model.keras", "metrics.json"):
            (out / name).unlink()
        return run_job.resume(out)


@pytest.mark.slow
def test_a_run_stores_the_names(run, odd):
    names = {os.path.basename(path) for path in run.splits.train.paths}
    assert names == set(map(os.fsdecode, NAMES)) and run.recipe.data.data == odd
    assert len(atomic.read(run.folder / "predictions.csv")) == 12


@pytest.mark.slow
def test_predict_in_every_output_format(cli, run, odd, monkeypatch):
    place = os.path.join(odd, "val", "cat")
    _, table, _ = cli("predict", run.folder, place)
    assert "caf\\udce9.jpg" in table and "new\\nline.jpg" in table and len(table.splitlines()) == 1 + len(NAMES)
    _, document, _ = cli("predict", run.folder, place, "--json")
    wanted = {os.path.join(place, os.fsdecode(name)) for name in NAMES}
    assert {row["path"] for row in json.loads(document)} == wanted
    _, lines, _ = cli("predict", run.folder, place, "--format", "jsonl")
    assert {json.loads(line)["path"] for line in lines.splitlines()} == wanted
    assert cli("predict", run.folder, place, "--out", "a.csv", "--top", 2)[0] == 0
    rows = atomic.read("a.csv")
    assert {row["path"] for row in rows} == wanted
    assert {row["label"] for row in rows} | {row["label_2"] for row in rows} == {"cat", "dog"}
    cli("predict", run.folder, place, "--out", "a.parquet")
    stored = parquet.read_table("a.parquet").to_pylist()
    assert sorted(row["path"] for row in stored) == sorted(map(atomic.utf8_text, wanted))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\0".join(map(os.fsencode, sorted(wanted))))))
    _, document, error = cli("predict", run.folder, "-", "--json")
    assert error.count("\n") == 1 and [row["path"] for row in json.loads(document)] == sorted(wanted)


def test_the_other_commands(cli, run, odd):
    status, out, err = cli("evaluate", run.folder, "--data", odd, "--json")
    assert status == 0 and json.loads(out)["n"] == 12
    status, out, err = cli("check", odd, "--html", "page.html")
    assert status == 0 and "all can be read" in out + err
    assert "train/cat/new" in Path("page.html").read_text("utf-8")
    for out in ("features", "features.npz"):
        assert cli("extract", "--base", run.folder, "--data", odd, "--out", out)[0] == 0
        features = tk.load_features(out)
        assert len(features.paths) == 24 and len(set(features.paths)) == 24
    assert cli("data", "pack", odd, "--out", "packed")[0] == 0
    status, out, err = cli("evaluate", run.folder, "--data", "packed", "--json")
    assert status == 0 and json.loads(out)["n"] == 12


@pytest.mark.slow
def test_folds(odd, tiny, tmp_path):
    parts = find_splits(odd)
    knobs = {"weights": "none", "size": 32, "batch_size": 4, "epochs": 2, "head_epochs": 1, "seed": 1}
    whole = tk.finetune(tiny, parts.train, parts.val, out=tmp_path / "run", folds=2, **knobs)
    assert len(atomic.read(whole.folder / "predictions.csv")) == 24


@pytest.mark.parametrize("path", ["a\x7fb", "caf\udce9", '"q" \\ \n\t\r', "\u2028 \x85 \ufeff", "#no 'comment'"])
def test_a_recipe_with_any_path(path, tmp_path):
    job = recipe.Recipe().override(data=path)
    atomic.write(tmp_path / "recipe.toml", recipe_files.dumps(job))
    assert recipe_files.load(tmp_path / "recipe.toml") == job
