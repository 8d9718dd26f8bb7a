"""`--folds`: each picture is held out once, by a complete run."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from conftest import QUICK
from pictures import folder, photo

import transferkit as tk
from transferkit import models
from transferkit.data import folds as shares
from transferkit.data.listing import Listing
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.metrics import wilson_interval
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.planning import planner

KNOBS = QUICK | {"epochs": 1, "head_epochs": 0, "folds": 3}
WORDS = ("--weights", "none", "--size", 32, "--batch-size", 8, "--epochs", 1, "--head-epochs", 0)


def listing(counts, groups=()):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return Listing(tuple(f"{i}.png" for i in range(len(labels))), tuple(labels), ("a", "b"), groups=tuple(groups))


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_once_and_classes_in_proportion():
    pool = listing((12, 6))
    held = shares.hold_out_folds(pool, 3, 0)
    assert sorted(np.concatenate(held)) == list(range(18))
    for rows in held:
        assert Counter(pool.labels[row] for row in rows) == {0: 4, 1: 2}
        parts = shares.fold_splits(pool, rows, 0.25, 0)
        assert len({*parts.train.paths, *parts.val.paths, *parts.test.paths}) == 18
        assert set(parts.test.paths) == {pool.paths[row] for row in rows}


def test_groups_stay_together():
    pool = listing((12, 12), [str(i // 2) for i in range(24)])
    for rows in shares.hold_out_folds(pool, 3, 0):
        parts = shares.fold_splits(pool, rows, 0.25, 0)
        sides = [set(part.groups) for _, part in parts.items()]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


@pytest.mark.parametrize(
    ("pool", "count", "sentence"),
    [
        (listing((12, 3)), 4, "Class 'b' has 3 pictures, too few for 4 folds"),
        (listing((12, 2)), 2, "Class 'b' has 2 pictures, too few for 2 folds"),
        (listing((12, 1)), 2, "Class 'b' has 1 picture, too few for 2 folds"),
        (listing((4, 4), "aaaabbcd"), 2, "Class 'a' has 1 group, too few for 2 folds"),
        (listing((6, 6), "bedabecaddea"), 2, "The 5 groups do not go into 2 folds that each leave 2 or more of every"),
        (listing((4, 4), "aabbccdd"), 3, "Class 'a' has 2 groups, too few for 3 folds"),
    ],
)
def test_classes_too_small(pool, count, sentence):
    with pytest.raises(ValueError, match=sentence):
        shares.hold_out_folds(pool, count, 0)


def test_a_fold_that_could_not_be_split_ends_the_job_before_it_begins(tiny, tmp_path):
    """Of what one of the folds leaves, the groups cannot be shared out: that was found when its turn came."""
    labels, groups = "0000111111111122222", "1250423222036246506"
    paths = []
    for row in range(len(labels)):
        paths.append(str(tmp_path / f"{row}.png"))
        photo(40, 40, seed=row).save(paths[-1])
    pool = Listing(tuple(paths), tuple(map(int, labels)), ("a", "b", "c"), groups=tuple(groups))
    assert shares.hold_out_folds(pool, 2, 0)
    train, val = pool.take(range(1, 19)), pool.take([0])
    with pytest.raises(ValueError, match="groups cannot be divided so that each of the 3 classes is on both sides"):
        tk.finetune(tiny, train, val, out=tmp_path / "run", **KNOBS | {"folds": 2, "seed": 0})
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_interrupted_fold_is_resumed_and_finished_ones_are_kept(tiny, pets, tmp_path, monkeypatch):
    given, fit, met = find_splits(pets, seed=3), run_job._train_and_evaluate, []

    def cut(job):
        met.append(job.folder.name)
        if len(met) == 2:
            raise MemoryError("the machine went down")
        return fit(job)

    monkeypatch.setattr(run_job, "_train_and_evaluate", cut)
    with pytest.raises(MemoryError):
        tk.finetune(tiny, given.train, given.val, out=tmp_path / "run", **KNOBS)
    run = run_job.resume(tmp_path / "run")
    assert met == ["fold-1", "fold-2", "fold-2", "fold-3"]
    rows, figures = read(run.folder / "predictions.csv"), run.metrics
    assert {row["path"] for row in rows} == {*given.train.paths, *given.val.paths} and len(rows) == 24
    assert Counter(row["fold"] for row in rows) == {"1": 8, "2": 8, "3": 8}
    hits = sum(row["label"] == row["predicted"] for row in rows)
    assert (figures["accuracy"], figures["ci95"], figures["n"]) == (hits / 24, list(wilson_interval(hits, 24)), 24)
    each = [one["accuracy"] for one in figures["folds"]]
    assert figures["mean"] == pytest.approx(np.mean(each))
    assert figures["deviation"] == pytest.approx(np.std(each, ddof=1))
    for number in (1, 2, 3):
        one = tk.load_run(run.folder / f"fold-{number}")
        assert one.metrics["split"] == "test" and one.metrics["n"] == 8 and one.network.classes == ("cat", "dog")
    with pytest.raises(ValueError, match="is complete"):
        run_job.resume(run.folder)
    with pytest.raises(ValueError, match="holds a run for each fold: take one of them"):
        models.load(run.folder)


def test_the_command_does_not_use_the_test_split(cli, tiny, tmp_path):
    root = tmp_path / "data"
    for name, count in (("train", 4), ("val", 2), ("test", 3)):
        folder(root / name, {"cat": count, "dog": count})
    words = ("finetune", "--base", tiny, "--data", root, *WORDS, "--folds", 2)
    status, out, err = cli(*words, "--dry-run")
    assert (
        status == 0 and "2 folds: the 12 pictures of train and val are divided among them; test is not touched" in err
    )
    status, out, err = cli(*words, "--out", "run", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["run"], answer["split"], answer["n"], len(answer["folds"])) == ("run", "folds", 12, 2)
    assert set(answer) == {"run", "accuracy", "ci95", "n", "split", "seconds", "folds"}
    paths = {row["path"] for row in read(tmp_path / "run" / "predictions.csv")}
    assert len(paths) == 12 and not any("/test/" in path for path in paths)


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"folds": 1}, "folds must be 2 or more, or 0 for a single run, not 1"),
        ({"folds": 20}, "Class 'cat' has 12 pictures, too few for 20 folds"),
        ({"folds": 3, "fraction": 0.5}, "omit --fraction and --per-class"),
    ],
)
def test_invalid_folds(tiny, pets, knobs, sentence):
    with pytest.raises(ValueError, match=sentence):
        planner.make_plan(Recipe().override(base=tiny, data=str(pets), weights="none", **knobs))


def test_a_fine_tuner_refuses_folds(tiny, pets):
    listing = tk.list_images(pets)
    with pytest.raises(ValueError, match="remove folds from knobs"):
        tk.FineTuner(tiny, weights="none", knobs={"folds": 3}).fit(listing)
