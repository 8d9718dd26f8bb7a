"""Weights averaged between start and end of training, and refitting on all pictures."""

import csv

import keras
import numpy as np
import pytest
from pictures import folder
from safetensors.numpy import load_file

import transferkit as tk
from transferkit import run_folder, zoo
from transferkit.data.listing import Listing, Splits
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.metrics import corrected_interval, describe_accuracy, wilson_interval
from transferkit.evaluation.predict import evaluate
from transferkit.network import find_output
from transferkit.recipe import Recipe
from transferkit.training import phase_loop, refit, run_job
from transferkit.training.fitting import checkpoints, fit_phase, weight_interpolation
from transferkit.training.fitting.freezing import unfreeze
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning import planner
from transferkit.training.planning.phases import make_phases

KNOBS = {"size": 32, "batch_size": 8, "epochs": 2, "lr": 0.01, "seed": 3, "augment": "none"}


@pytest.fixture(scope="module")
def insects(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("pictures") / "insects", {"ant": 10, "bee": 10, "fly": 10})


@pytest.fixture(scope="module")
def trained(finished, insects, tmp_path_factory):
    """A run from trained weights with a new head: mixed, and done again on all pictures."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return tk.finetune(finished.folder, tk.list_images(insects), out=out, **KNOBS)


def losses_of(means, count, noise=0.05):
    rng = np.random.default_rng(0)
    return np.array(means)[:, None] + rng.normal(0, noise, (len(means), count))


@pytest.mark.parametrize(
    ("means", "count", "share"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.0), 40, 0.5),
        ((1.0, 0.9, 0.8, 0.7, 0.6), 40, 1.0),
        ((0.6, 0.7, 0.8, 0.9, 1.0), 40, 0.0),
        ((0.99, 1.0, 1.0, 1.0, 1.0), 4, 0.5),  # too few pictures to tell
        ((0.99, 1.0, 1.0, 1.0, 1.0), 4000, 0.0),
        ((0.6, 0.7, 0.8, 0.9, 1.0), 1, 0.5),
    ],
)
def test_the_default_fraction_unless_another_is_significantly_better(means, count, share):
    assert weight_interpolation.FRACTIONS[weight_interpolation.choose_fraction(losses_of(means, count))] == share


def test_optimism_of_choosing_a_fraction():
    rng = np.random.default_rng(0)
    losses, same = rng.normal(size=(5, 60)), rng.random(60) > 0.5
    assert weight_interpolation.estimate_optimism(losses, np.tile(same, (5, 1)), 0) == 0
    hits = losses < 0  # what is right has a low loss, and every share is luck
    assert 0.01 < weight_interpolation.estimate_optimism(losses, hits, 0) < 0.3
    assert weight_interpolation.estimate_optimism(losses[:, :1], hits[:, :1], 0) == 0


def test_the_interval_is_corrected_for_the_choice():
    figures = {"accuracy": 0.9, "n": 50}
    assert corrected_interval(figures, 0.0) == wilson_interval(45, 50)
    assert corrected_interval(figures, 0.1) == pytest.approx(wilson_interval(40, 50))
    assert corrected_interval({"accuracy": 0.0, "n": 5}, 0.1) == wilson_interval(0, 5)


def test_a_temperature_makes_no_difference():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 50)
    logits = rng.normal(size=(50, 4)) + 2 * np.eye(4)[labels]
    one, other = (weight_interpolation._calibrated_losses(logits * scale, labels) for scale in (1, 3))
    assert one == pytest.approx(other, abs=1e-3)


def test_a_fraction_interpolates_the_weights(trained, insects, tmp_path):
    plan = planner.make_plan(trained.recipe.override(refit="off"), find_splits(insects))
    place = tmp_path / "run" / "checkpoints"
    place.mkdir(parents=True)
    checkpoints.save_weights(plan.network, place / weight_interpolation.START)
    start = [np.array(one) for one in plan.network.model.weights]
    for variable in plan.network.model.weights:
        variable.assign(np.asarray(variable) + 4)
    checkpoints.save_weights(plan.network, place / checkpoints.BEST)
    weight_interpolation.assign_interpolation(TrainingJob(plan, tmp_path / "run", {}), 0.25)
    for variable, value in zip(plan.network.model.weights, start, strict=True):
        np.testing.assert_allclose(variable, value + 1, rtol=1e-5, atol=1e-5)


def test_a_run_reports_which_weights_it_keeps(trained):
    found = trained.metrics
    assert found["mix"]["share"] in weight_interpolation.FRACTIONS and set(found["mix"]["losses"]) == {
        "0",
        "0.25",
        "0.5",
        "0.75",
        "1",
    }
    assert found["refit"] == 30 and found["split"] == "val" and found["n"] == 6
    assert trained.recipe.train.keep == "mix" and trained.recipe.train.refit == "on"
    assert not (trained.folder / refit.FOLDER).exists()
    with open(trained.folder / "predictions.csv", newline="") as file:
        judged = {row["path"] for row in csv.DictReader(file)}
    assert judged == set(trained.splits.val.paths) and not judged & set(trained.splits.train.paths)


@pytest.mark.slow
def test_the_saved_network_is_trained_on_all_pictures(trained, finished, insects, tmp_path):
    """It is what a training on all pictures gives, mixed by the same share."""
    splits, share = trained.splits, trained.metrics["mix"]["share"]
    whole = splits.train.paths + splits.val.paths, splits.train.labels + splits.val.labels
    plan = planner.make_plan(
        trained.recipe.override(refit="off"), Splits(Listing(*whole, splits.train.classes), splits.val)
    )
    run = run_job.train_plan(plan, run_folder.make_run_folder(tmp_path / "whole", overwrite=False, name=""))
    start, end = (
        load_file(run.folder / "checkpoints" / name) for name in (weight_interpolation.START, checkpoints.BEST)
    )
    for saved, name in zip(trained.network.model.weights, sorted(start), strict=True):
        np.testing.assert_allclose(saved, start[name] + share * (end[name] - start[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_an_interrupted_refit_saves_the_network_and_can_be_resumed(trained, finished, insects, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(refit, "refit_network", interrupted)
        cut = tk.finetune(finished.folder, tk.list_images(insects), out=tmp_path / "cut", **KNOBS)
    assert cut.metrics["interrupted"] and cut.metrics["refit"] is None
    assert evaluate(cut.network, cut.splits.val)[0]["accuracy"] == pytest.approx(cut.metrics["accuracy"])
    whole = run_job.resume(cut.folder)
    assert not whole.metrics["interrupted"] and whole.metrics["refit"] == 30
    assert whole.metrics["accuracy"] == trained.metrics["accuracy"]
    for one, other in zip(whole.network.model.weights, trained.network.model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_failing_refit_keeps_the_evaluated_network(finished, insects, tmp_path, monkeypatch, capsys):
    def failed(*_):
        raise fit_phase.TrainingDivergedError("The loss became NaN at step 3.")

    monkeypatch.setattr(refit, "refit_network", failed)
    run = tk.finetune(finished.folder, tk.list_images(insects), out=tmp_path / "run", **KNOBS)
    assert run.metrics["refit"] is None and not run.metrics["interrupted"]
    assert evaluate(run.network, run.splits.val)[0]["accuracy"] == pytest.approx(run.metrics["accuracy"])
    assert "The network that was evaluated is saved, without the training on all" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_refit_is_resumed(trained, finished, insects, tmp_path, monkeypatch):
    train_phases = phase_loop.train_phases

    def cut_in_the_refit(job):
        if job.folder.name == refit.FOLDER:
            phase_loop.initialise(job)
            raise MemoryError("cut here")
        return train_phases(job)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(phase_loop, "train_phases", cut_in_the_refit)
        tk.finetune(finished.folder, tk.list_images(insects), out=tmp_path / "cut", **KNOBS)
    assert (tmp_path / "cut" / refit.FOLDER / "checkpoints" / checkpoints.STATE).exists()
    whole = run_job.resume(tmp_path / "cut")
    assert whole.metrics["refit"] == 30 and not (whole.folder / refit.FOLDER).exists()
    for one, other in zip(whole.network.model.weights, trained.network.model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"epochs": 10, "head_epochs": 0}, (8, 0)),
        ({"epochs": 10, "head_epochs": 5}, (8, 4)),
        ({"epochs": 1, "head_epochs": 0}, (1, 0)),
        ({"epochs": 3, "head_epochs": 1, "unfreeze": "last-stage,all"}, (3, 1)),
        ({"epochs": 10, "head_epochs": 10, "unfreeze": "head"}, (8, 8)),
    ],
)
def test_a_refit_has_as_many_steps(knobs, expected):
    found = refit.scale_epochs(Recipe().override(**knobs).train, 0.8)
    assert (found["epochs"], found["head_epochs"]) == expected
    make_phases(Recipe().override(**knobs | found, lr=0.1, head_lr=0.1, views=0))


def test_evaluating_on_pictures_of_the_refit_warns(trained, insects, cli, tmp_path):
    """By `evaluate`, and by a run that goes on from it: validation pictures measure neither any more."""
    assert trained.learned == set(trained.splits.train.paths) | set(trained.splits.val.paths)
    status, out, err = cli("evaluate", trained.folder)
    own = describe_accuracy(trained.metrics, "validation pictures")
    assert (status, out) == (1, "") and f"of the network before that: {own}. Give other" in err
    status, _, err = cli("evaluate", trained.folder, "--data", insects)
    assert status == 0 and "The run was trained on 30 of the 30 pictures, so figures on all of them are too good" in err
    status, _, err = cli("finetune", "--base", trained.folder, "--data", insects, "--dry-run")
    assert (
        status == 0
        and "The base was trained on 6 of the 6 validation pictures, so figures on them will be too good" in err
    )


def test_a_run_without_refit_does_not_warn(finished, cli):
    assert finished.learned == set(finished.splits.train.paths)
    status, _, err = cli("evaluate", finished.folder)
    assert status == 0 and "trained on" not in err


@pytest.mark.slow
def test_test_pictures_evaluate_the_saved_network(finished, insects, tmp_path):
    pool = tk.list_images(insects)
    train, test = pool.split(0.3)
    run = tk.finetune(finished.folder, train, test=test, out=tmp_path / "run", **KNOBS)
    assert run.metrics["split"] == "test" and run.metrics["n"] == len(test) and run.metrics["refit"] == len(train)
    assert evaluate(run.network, test)[0]["accuracy"] == run.metrics["accuracy"]


@pytest.mark.slow
def test_fresh_weights_can_be_refitted_too(tiny, insects, tmp_path):
    knobs = KNOBS | {"weights": "none", "keep": "last", "refit": "on", "epochs": 1}
    run = tk.finetune(tiny, tk.list_images(insects), out=tmp_path / "run", **knobs)
    assert run.metrics["refit"] == 30 and run.metrics["mix"] is None and run.metrics["baseline"] is None


def test_a_class_of_one_picture_has_nothing_to_hold_out(finished, tmp_path):
    folder(tmp_path / "d", {"ant": 6, "bee": 1})
    with pytest.raises(ValueError, match="Class 'bee' has 1 picture; a split needs at least 2"):
        tk.finetune(finished.folder, tk.list_images(tmp_path / "d"), refit="on", out=tmp_path / "run", **KNOBS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("knobs", "keep", "again"),
    [
        ({}, "mix", "off"),
        ({"soup": 2}, "best", "off"),
        ({"start": "fresh"}, "best", "off"),
        ({"keep": "last"}, "last", "off"),
    ],
)
def test_given_validation_pictures_are_not_used_for_a_refit(finished, insects, knobs, keep, again):
    splits = find_splits(insects)
    plan = planner.make_plan(
        Recipe().override(base=str(finished.folder), **KNOBS | knobs), splits.__class__(splits.train, splits.val)
    )
    assert (plan.recipe.train.keep, plan.recipe.train.refit) == (keep, again)


@pytest.mark.slow
def test_a_head_on_several_depths(finished, insects, tmp_path, monkeypatch):
    """It decides as the regression does, is one plain Keras model, and goes on being so."""
    row = zoo.variants()["tiny"]
    monkeypatch.setitem(zoo.variants(), "tiny", row.__class__(**vars(row) | {"head_layers": ("stage1",)}))
    weights = str(finished.folder / "model.keras")
    run = tk.finetune(
        "tiny", tk.list_images(insects), weights=weights, out=tmp_path / "run", **KNOBS | {"refit": "off"}
    )
    assert run.recipe.train.head_layers == "stage1,pooled"
    model = keras.models.load_model(run.folder / "model.keras")
    assert model.get_layer("fc").kernel.shape == (8 + 16, 3)
    assert len(find_output(model, "stage1").shape) == 4  # the map, not what the head sees of it
    for word in ("last-stage", "stage2", "head"):
        assert unfreeze(run.network, word) == unfreeze(finished.network, word)
    checkpoints.load_weights(run.network, run.folder / "checkpoints" / weight_interpolation.START)
    assert evaluate(run.network, run.splits.val)[0]["loss"] == pytest.approx(run.history[0]["val_loss"], rel=1e-3)
    with pytest.raises(ValueError, match="The head of .* is kept, as it has these classes: omit head_layers."):
        tk.finetune(run.folder, run.splits.train, run.splits.val, head_layers="stage1", out=tmp_path / "no", **KNOBS)
    again = tk.finetune(run.folder, run.splits.train, run.splits.val, out=tmp_path / "again", **KNOBS)
    assert again.network.model.get_layer("fc").kernel.shape == (8 + 16, 3)


@pytest.mark.slow
def test_the_command_prints_the_kept_weights(cli, finished, insects):
    words = ("--size", 32, "--batch-size", 8, "--epochs", 1, "--lr", 0.01, "--out", "run")
    status, out, err = cli("finetune", "--base", finished.folder, "--data", insects, *words)
    assert status == 0 and "\nsaved: the network trained again on all 30 pictures\n" in out, err
    assert "\nkept: " in out and "weights between the start (0) and the end (1)" in err
