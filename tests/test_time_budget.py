"""`--time`: the number of epochs from a measured step. No test depends on the clock."""

import csv
import json

import pytest
import tensorflow as tf
from conftest import QUICK

import transferkit as tk
from transferkit.data.sources.resolve import find_splits
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.fitting import fit_phase
from transferkit.training.job_records import Plan
from transferkit.training.planning import phases, planner, time_budget

KNOBS = {name: value for name, value in QUICK.items() if name not in ("epochs", "head_epochs")} | {"head_epochs": 1}


@pytest.fixture
def splits(pets):
    return find_splits(pets)


def run(tiny, splits, out, **knobs):
    return tk.finetune(tiny, splits.train, splits.val, out=out, **(KNOBS | knobs))


def rows(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def measures(monkeypatch, *, first=1.0, step=0.5, epoch=2.0, check=0.0, spent=10.0):
    """The clock says so, in seconds, and the measuring is counted."""
    calls = []

    def measured(*_):
        calls.append(1)
        return time_budget.Speed(first, step, epoch, check)

    monkeypatch.setattr(time_budget, "_measure", measured)
    monkeypatch.setattr(Plan, "elapsed", lambda self: spent)
    return calls


@pytest.mark.slow
def test_the_time_left_is_shared_among_epochs(tiny, splits, tmp_path, monkeypatch, capsys):
    calls = measures(monkeypatch)
    done = run(tiny, splits, tmp_path / "run", time="20s")
    # 10 seconds spent and 2 for the end leave 8: four epochs of 2 seconds
    assert [row["phase"] for row in rows(done.folder)] == ["head"] + ["all"] * 4
    assert (done.recipe.train.epochs, done.recipe.train.head_epochs, done.recipe.train.time) == (5, 1, "")
    assert "--time 20s: 10 seconds are spent; a step takes 500 ms" in capsys.readouterr().err
    assert calls == [1]


@pytest.mark.slow
def test_a_refit_has_half_of_the_time(tiny, splits, tmp_path, monkeypatch):
    measures(monkeypatch)
    done = run(tiny, splits, tmp_path / "run", time="30s", keep="last", refit="on")
    # 10 seconds are spent; each training has 10, 2 of them for its end: four epochs of 2 seconds
    assert (done.recipe.train.epochs, done.recipe.train.time) == (5, "") and done.metrics["refit"] == 24


@pytest.mark.slow
def test_at_least_one_epoch(tiny, splits, tmp_path, monkeypatch, capsys):
    measures(monkeypatch, epoch=100.0)
    done = run(tiny, splits, tmp_path / "run", time="0.5m")
    assert done.recipe.train.epochs == 2
    assert "A single epoch takes longer than --time 0.5m: about 112 seconds" in capsys.readouterr().err


def test_the_head_alone_takes_all_epochs(tiny, splits, tmp_path, monkeypatch):
    measures(monkeypatch)
    done = run(tiny, splits, tmp_path / "run", time="20s", unfreeze="head", head_epochs=None)
    assert [row["phase"] for row in rows(done.folder)] == ["head"] * 4


@pytest.mark.slow
def test_a_resumed_run_does_not_measure_again(tiny, splits, tmp_path, monkeypatch):
    calls, fit = measures(monkeypatch), fit_phase.fit

    def cut(job, phase, data):
        if phase.name == "all":
            raise MemoryError("the machine went down")
        fit(job, phase, data)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(fit_phase, "fit", cut)
        run(tiny, splits, tmp_path / "run", time="20s")
    run_job.resume(tmp_path / "run")
    assert calls == [1] and len(rows(tmp_path / "run")) == 5


@pytest.mark.slow
def test_a_run_interrupted_before_measuring_keeps_its_budget(tiny, splits, tmp_path, monkeypatch):
    calls = measures(monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(fit_phase, "fit", lambda *_: (_ for _ in ()).throw(MemoryError("went down")))
        run(tiny, splits, tmp_path / "run", time="20s")
    assert tk.load_run(tmp_path / "run").recipe.train.time == "20s" and not calls
    assert run_job.resume(tmp_path / "run").recipe.train.epochs == 5 and calls == [1]


@pytest.mark.slow
def test_measuring_does_not_change_the_training(tiny, splits, tmp_path, monkeypatch):
    """Really measured: the run equals the one with as many epochs."""
    monkeypatch.setattr(time_budget, "ENOUGH", 0.0)
    timed = run(tiny, splits, tmp_path / "timed", time="1s", determinism="on")
    epochs = timed.recipe.train.epochs
    plain = run(tiny, splits, tmp_path / "plain", epochs=epochs, determinism="on")
    names = ("epoch", "loss", "accuracy", "val_loss", "lr")
    for found, expected in zip(rows(timed.folder), rows(plain.folder), strict=True):
        assert [float(found[name]) for name in names] == pytest.approx([float(expected[name]) for name in names], 1e-4)


@pytest.mark.slow
def test_out_of_memory_while_measuring(tiny, splits, tmp_path, monkeypatch, capsys):
    calls = measures(monkeypatch)
    measured, parts = time_budget._measure, []

    def exhausted(plan, state, *others):
        parts.append(state.parts)
        if state.parts == 1:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,32,32,3]")
        return measured(plan, state, *others)

    monkeypatch.setattr(time_budget, "_measure", exhausted)
    done = run(tiny, splits, tmp_path / "run", time="20s")
    assert (parts, calls, done.recipe.train.epochs) == ([1, 2], [1], 5)
    assert capsys.readouterr().err.count("Out of memory: from here on") == 1


def test_workers_have_no_common_clock():
    with pytest.raises(
        UnknownName, match="time 1m cannot be planned by several workers, each with its clock: give epochs"
    ):
        phases.check_time(Recipe().override(time="1m", workers="a:1,b:1").train)


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m", 120)])
def test_times(text, expected):
    assert phases.parse_seconds(text) == expected


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"time": "ten"}, "time must be a number of seconds, minutes or hours"),
        ({"time": "0s"}, "as 90s, 10m or 1.5h, not '0s'"),
        ({"time": "10m", "epochs": 3}, "time 10m plans the epochs: omit epochs 3, or time"),
        ({"time": "10m", "unfreeze": "head", "head_epochs": 3}, "omit head_epochs 3"),
        ({"time": "10m", "unfreeze": "last-stage,all"}, "time plans the epochs of a single phase"),
    ],
)
def test_contradictions(tiny, pets, knobs, sentence):
    with pytest.raises(UnknownName, match=sentence):
        planner.make_plan(Recipe().override(base=tiny, data=str(pets), weights="none", **knobs))


def test_the_command_ends_with_2(cli, pets):
    status, _, err = cli("finetune", "--base", "tiny", "--data", pets, "--time", "1m", "--epochs", 3)
    assert status == 2 and "omit epochs 3" in err
    status, out, _ = cli(
        "finetune", "--base", "tiny", "--weights", "none", "--data", pets, "--time", "1m", "--dry-run", "--json"
    )
    chosen = {choice["knob"]: choice["reason"] for choice in json.loads(out)["chosen"]}
    assert status == 0 and "as many as 1m allow" in chosen["epochs"]
