"""`--soup`: the average of the best epochs, if it is not worse."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK
from safetensors.numpy import load_file

import transferkit as tk
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.predict import evaluate
from transferkit.training import run_job
from transferkit.training.fitting import callbacks, checkpoints, history, weight_averaging

KNOBS = QUICK | {"epochs": 6, "head_epochs": 1, "soup": 3, "bn": "train", "augment": "none"}


@pytest.fixture
def splits(pets):
    return find_splits(pets)


def rows(accuracies):
    return [
        {"epoch": i, "phase": "all", "val_accuracy": a, "val_loss": 1.0 - i / 100} for i, a in enumerate(accuracies)
    ]


def test_candidates_are_the_best_epochs_without_the_initial_head():
    assert history.rank_epochs(rows([1.0, 0.5, 0.9, 0.7, 0.9]), 3) == [4, 2, 3]
    assert history.rank_epochs(rows([1.0, 0.5]), 0) == []


@pytest.mark.slow
def test_only_files_of_the_best_epochs_are_kept(tiny, splits, tmp_path, monkeypatch):
    """In a training that saves each epoch."""
    seen = []
    monkeypatch.setattr(callbacks, "CHECKPOINT_TIME", 1e9)
    monkeypatch.setattr(weight_averaging, "average_epochs", lambda job, history: seen.append(files(job.folder)))
    done = tk.finetune(tiny, splits.train, splits.val, out=tmp_path / "run", **KNOBS)
    with open(done.folder / "history.csv", newline="") as file:
        found = [
            {name: float(row[name]) for name in ("epoch", "val_accuracy", "val_loss")} for row in csv.DictReader(file)
        ]
    assert seen == [sorted(f"soup-{place:05d}.safetensors" for place in history.rank_epochs(found, 3))]
    assert not files(done.folder)


def files(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("soup-*"))


@pytest.fixture
def job(tiny, splits, tmp_path, monkeypatch):
    """A training before its epochs were averaged, and its history."""
    met = []

    def stop(job, history):
        met.append((job, history))
        raise MemoryError("cut here")

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(weight_averaging, "average_epochs", stop)
        tk.finetune(tiny, splits.train, splits.val, out=tmp_path / "cut", **KNOBS)
    return met[0]


@pytest.mark.slow
def test_epochs_that_do_no_harm_are_averaged(job, monkeypatch):
    job, found_history = job
    folder = job.folder
    given = iter([(0.8, 1.0), (0.8, 0.9), (0.8, 0.95)])

    def figures(*_):
        return lambda: dict(zip(("val_accuracy", "val_loss"), next(given), strict=True))

    monkeypatch.setattr(weight_averaging, "_make_evaluation", figures)
    found = weight_averaging.average_epochs(job, found_history)
    first, second, _ = history.rank_epochs(found_history, 3)
    names = ("phase", "epoch")
    assert found["epochs"] == [{name: found_history[place][name] for name in names} for place in (first, second)]
    assert (found["val_accuracy"], found["val_loss"]) == (0.8, 0.9)
    halves = [
        load_file(folder / "checkpoints" / checkpoints.BEST),
        load_file(weight_averaging.weights_path(folder, second)),
    ]
    layer = job.network.model.get_layer("layer1.bn")
    name = next(name for name in halves[0] if name.endswith("/moving_mean"))
    expected = (halves[0][name] + halves[1][name]) / 2
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-5)
    assert not np.array_equal(*(half[name] for half in halves))


def test_averaged_weights_are_not_worse_and_are_reported(job):
    job, found_history = job
    done = run_job.resume(job.folder)
    found = done.metrics["soup"]
    best = max(found_history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert (found["val_accuracy"], -found["val_loss"]) >= (best["val_accuracy"], -best["val_loss"] - 1e-4)
    assert done.metrics["accuracy"] == pytest.approx(found["val_accuracy"])
    plain = evaluate(dataclasses.replace(done.network, temperature=1.0), done.splits.val)[0]
    assert plain["loss"] == pytest.approx(found["val_loss"], rel=1e-3)


@pytest.mark.slow
def test_the_command_prints_averaged_epochs(cli, pets):
    words = ("--weights", "none", "--size", 32, "--batch-size", 8, "--epochs", 2, "--head-epochs", 1)
    status, out, err = cli("finetune", "--base", "tiny", "--data", pets, *words, "--soup", 2, "--out", "run")
    assert status == 0 and "\nsoup: " in out, err
    assert json.loads((Path("run", "metrics.json")).read_text())["soup"]["epochs"]
