"""Killed runs resume with the same result, damaged checkpoints are refused, and processes do not disturb each other."""

import csv
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from forked import called, ended, refused, running, start, start_all
from pictures import folder
from safetensors.numpy import load_file

from transferkit import run_folder
from transferkit.features.feature_files import load_features
from transferkit.training.fitting import checkpoints

KILLED = (
    "finetune --base shaky --data pets --weights none --size 32 --batch-size 4 --epochs 6 --head-epochs 2 --views 2 "
    "--unfreeze last-stage,all --bn train --ema 0.9 --schedule plateau --patience 1 --lr 0.01 --seed 3 "
    "--checkpoint-minutes 0 --determinism on --devices cpu --augment"
)
EXTRACT = ("extract", "--base", "shaky", "--weights", "none", "--size", "32", "--data", "pets", "--out")


def history(run: Path) -> list[dict]:
    with open(run / "history.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "checkpoints" / checkpoints.BEST)


@pytest.fixture(scope="module")
def whole(zygote, tmp_path_factory):
    """A folder with pictures and the run `whole`, which nothing came into the way of."""
    place = tmp_path_factory.mktemp("killed")
    folder(place / "pets", {"cat": 12, "dog": 12})
    status, err = called(zygote, place, *KILLED.split(), "crop(0.5) | flip", "--out", "whole")
    assert status == 0, err
    return place


def check_kills(zygote, place: Path, kills: int, seed: int):
    """Kill a run so many times, wherever it is, and compare it with the whole one."""
    chance, run, told = random.Random(seed), place / f"killed-{seed}", []
    words = [*KILLED.split(), "crop(0.5) | flip", "--out", run.name]
    state = run / "checkpoints" / checkpoints.STATE
    for _ in range(kills):
        before, pid = moment(state), start(zygote, place, *words)
        while running(zygote) and moment(state) == before:
            time.sleep(0.01)
        time.sleep(chance.choice((chance.uniform(0, 0.5), chance.uniform(0, 5))))
        if running(zygote):
            os.kill(pid, signal.SIGKILL)
            told.append({**json.loads(state.read_text()), "history": None})
        if ended(zygote) != -signal.SIGKILL:
            break
        if (run / "metrics.json").exists():  # all was done but for the tidying
            for path in (run / "checkpoints").glob("last-*"):
                path.unlink()
            break
        words = ["finetune", "--resume", run.name]
    else:
        status, err = called(zygote, place, *words)
        assert status == 0, err
    assert history(run) == history(place / "whole"), (seed, told)
    expected, found = weights(place / "whole"), weights(run)
    assert all(np.array_equal(found[name], expected[name]) for name in expected), (seed, told)
    assert (run / "predictions.csv").read_text() == (place / "whole" / "predictions.csv").read_text()
    assert {path.name for path in (run / "checkpoints").iterdir()} <= {checkpoints.BEST, checkpoints.STATE, ".lock"}


def moment(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_result(zygote, whole):
    check_kills(zygote, whole, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_killed_many_times_has_the_same_result(zygote, whole, seed):
    check_kills(zygote, whole, kills=8, seed=seed)


@pytest.fixture(scope="module")
def cut(zygote, whole, tmp_path_factory):
    """A folder with a run that was killed in the midst of an epoch: each test leaves it as it was."""
    place = tmp_path_factory.mktemp("cut")
    shutil.copytree(whole / "pets", place / "pets")
    state = place / "run" / "checkpoints" / checkpoints.STATE
    pid = start(zygote, place, *KILLED.split(), "crop(0.5) | flip", "--out", "run")
    while running(zygote) and not (state.exists() and json.loads(state.read_text())["history"]):
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert ended(zygote) == -signal.SIGKILL
    return place


@pytest.mark.slow
def test_damaged_checkpoints_are_named(zygote, cut):
    place = cut / "run" / "checkpoints"
    tensors = place / json.loads((place / checkpoints.STATE).read_text())["tensors"]
    for path in (tensors, place / checkpoints.STATE, place / checkpoints.BEST):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert f"{path.name} cannot be used" in refused(zygote, cut, "finetune", "--resume", "run")
        path.write_bytes(content)
    tensors.rename(cut / "away")
    assert f"{tensors.name} cannot be used" in refused(zygote, cut, "finetune", "--resume", "run")
    (cut / "away").rename(tensors)


@pytest.mark.slow
def test_a_run_of_other_classes_is_refused(zygote, cut):
    folder(cut / "pets", {"cat": 12, "dog": 12, "eel": 12})
    rows = (cut / "run" / "split.csv").read_text()
    eels = rows.replace("cat", "eel").split("\n", 1)[1]
    (cut / "run" / "split.csv").write_text(rows + eels)
    (cut / "run" / "classes.txt").write_text("cat\ndog\neel\n")
    said = refused(zygote, cut, "finetune", "--resume", "run")
    assert "has 2 classes, but the run's classes.txt has 3: restore classes.txt" in said
    (cut / "run" / "split.csv").write_text(rows)
    (cut / "run" / "classes.txt").write_text("cat\ndog\n")
    shutil.rmtree(cut / "pets" / "eel")


def test_missing_pictures_are_reported(zygote, cut):
    (cut / "pets").rename(cut / "away")
    assert "cannot be read" in refused(zygote, cut, "finetune", "--resume", "run")
    (cut / "away").rename(cut / "pets")


def test_a_full_disk_loses_nothing(zygote, cut):
    place = cut / "run" / "checkpoints"
    before = {path.name: path.read_bytes() for path in place.glob("*.safetensors")}
    sentence = refused(zygote, cut, "finetune", "--resume", "run", room=min(map(len, before.values())) - 1)
    assert "could not be written" in sentence
    assert before == {path.name: path.read_bytes() for path in place.glob("*.safetensors")}


def test_two_processes_do_not_share_a_run(zygote, cut):
    with run_folder.lock_run(cut / "run"):
        for words in (["--resume", "run"], [*KILLED.split()[1:], "none", "--out", "run", "--overwrite"]):
            assert "Another process trains in run" in refused(zygote, cut, "finetune", *words)


def test_leftovers_of_a_killed_process_are_deleted(tmp_path):
    for name in ("checkpoints/temporary-abc", "checkpoints"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    left = ["checkpoints/temporary-abc/maps.npy", "checkpoints/.12.last-0-0-0-0-1-1.safetensors", ".12.model.keras"]
    for name in (*left, "checkpoints/best.safetensors"):
        (tmp_path / name).write_bytes(b"half")
    with run_folder.lock_run(tmp_path):
        there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert there == {"checkpoints", "checkpoints/.lock", "checkpoints/best.safetensors"}


@pytest.fixture(scope="module")
def place(zygote, tmp_path_factory):
    """A folder with 96 pictures and the features of them that nothing came into the way of."""
    place = tmp_path_factory.mktemp("twice")
    folder(place / "pets", {"cat": 48, "dog": 48})
    assert called(zygote, place, *EXTRACT, "alone.npz", "--no-cache")[0] == 0
    return place


@pytest.fixture
def cache(place, tmp_path):
    """A cache folder for both, empty at first; at the end its databases are whole, and hold each picture once."""
    yield tmp_path
    for path in (*tmp_path.glob("*.sqlite"), *tmp_path.glob("features/*.sqlite")):
        with closing(sqlite3.connect(path)) as store:
            assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            table = "vectors" if path.parent.name == "features" else "looks"
            assert store.execute(f"SELECT count(*) FROM {table}").fetchall() == [(96,)]


def told_of_both(place: Path) -> str:
    """What both wrote to standard error, but for their first line."""
    lines = [line for name in ("err.txt", "err1.txt") for line in (place / name).read_text().splitlines(keepends=True)]
    return "".join(line for line in lines if not line.startswith("Looking at "))


def check_features(place: Path, out: str):
    """What was extracted is what is extracted alone, and nothing else is left of it."""
    alone, found = load_features(place / "alone.npz"), load_features(place / out)
    assert found.paths.tolist() == alone.paths.tolist() and found.labels.tolist() == alone.labels.tolist()
    np.testing.assert_allclose(found.features, alone.features, rtol=1e-4, atol=1e-5)
    assert not [path.name for path in place.rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("outs", [("a.npz", "b.npz"), ("a", "a")])
def test_two_extractions_at_once_write_the_same_as_one(zygote, place, cache, outs):
    start_all(zygote, place, [(*EXTRACT, out) for out in outs], env={"TRANSFERKIT_HOME": str(cache)})
    assert [ended(zygote), ended(zygote)] == [0, 0] and told_of_both(place) == ""
    for out in outs:
        check_features(place, out)


@pytest.mark.slow
def test_an_extraction_continues_if_another_is_killed(zygote, place, cache):
    commands = [(*EXTRACT, "killed.npz"), (*EXTRACT, "other.npz")]
    pid, _ = start_all(zygote, place, commands, env={"TRANSFERKIT_HOME": str(cache)})
    while not list(cache.glob("features/*")) and not (place / "other.npz").exists():
        time.sleep(0.001)
    time.sleep(random.Random(0).uniform(0, 0.2))
    os.kill(pid, signal.SIGKILL)
    assert [ended(zygote), ended(zygote)][1] == 0
    start_all(zygote, place, [(*commands[0], "--overwrite")], env={"TRANSFERKIT_HOME": str(cache)})
    assert ended(zygote) == 0 and told_of_both(place) == ""
    for out in ("killed.npz", "other.npz"):
        check_features(place, out)


@pytest.mark.slow
def test_a_second_writer_of_a_file_is_refused(zygote, place, cache):
    start_all(zygote, place, [(*EXTRACT, "one.npz")] * 2, env={"TRANSFERKIT_HOME": str(cache)})
    assert sorted([ended(zygote), ended(zygote)]) == [0, 1]
    said = r"Error: (Another process is writing one.npz: |one.npz exists: ).*\n"
    assert re.fullmatch(said, told_of_both(place))
    check_features(place, "one.npz")


@pytest.mark.slow
def test_two_checks_at_once(zygote, place, cache):
    commands = [("check", "pets", "--html", f"{name}.html") for name in "ab"]
    start_all(zygote, place, commands, env={"TRANSFERKIT_HOME": str(cache)})
    assert [ended(zygote), ended(zygote)] == [0, 0] and told_of_both(place) == ""
    assert (place / "a.html").read_text() == (place / "b.html").read_text()


@pytest.mark.slow
def test_two_trainings_at_once(zygote, whole):
    """With one cache folder, and names of runs that both choose by themselves."""
    words = [*KILLED.split(), "crop(0.5) | flip"]
    start_all(zygote, whole, [words, words], env={"TRANSFERKIT_HOME": str(whole / "home")})
    assert [ended(zygote), ended(zygote)] == [0, 0]
    first, second = sorted((whole / "runs").iterdir())
    assert [first.name[-2:], second.name[-2:]] == ["-1", "-2"]
    for run in (first, second):
        assert (run / "predictions.csv").read_text() == (whole / "whole" / "predictions.csv").read_text()
