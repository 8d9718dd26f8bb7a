"""Reported metrics are those of the saved network."""

import dataclasses

import numpy as np
import pytest
from conftest import QUICK

import transferkit as tk
from transferkit import models, runs
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.predict import evaluate
from transferkit.evaluation.verification import check_measured, check_saved
from transferkit.explain.explanations import find_surest
from transferkit.training import run_job
from transferkit.training.fitting import checkpoints


@pytest.fixture
def measured(finished):
    return evaluate(finished.network, finished.splits.val)[1]


def test_a_run_with_another_network_in_its_file_is_refused(tiny, pets, tmp_path, monkeypatch):
    def save(network, path, whole=models.save):
        kernel = network.model.weights[0]
        kernel.assign(np.asarray(kernel) + 0.1)
        whole(network, path)
        kernel.assign(np.asarray(kernel) - 0.1)

    parts = find_splits(pets)
    with monkeypatch.context() as patch:
        patch.setattr(models, "save", save)
        with pytest.raises(
            ValueError, match=r"model.keras holds other values of \d+ weights, .*not the network that was"
        ):
            tk.finetune(tiny, parts.train, parts.val, out=tmp_path / "run", **QUICK)
    assert not list(tmp_path.glob("run/*.keras")) and not (tmp_path / "run" / "metrics.json").exists()
    assert (tmp_path / "run" / "checkpoints" / checkpoints.BEST).exists()
    run = run_job.resume(tmp_path / "run")
    assert evaluate(run.network, run.splits.val)[0]["accuracy"] == run.metrics["accuracy"]


def test_a_file_with_other_predictions_is_another_network(finished, measured):
    path = finished.folder / "model.keras"
    check_saved(path, finished.network, measured)
    check_saved(path, finished.network, [])
    other = [answer | {"probability": answer["probability"] - 0.05} for answer in measured]
    with pytest.raises(ValueError, match="gives cat a probability of .*, where it was"):
        check_saved(path, finished.network, other)


def test_missing_pictures_are_not_an_error(finished, measured):
    gone = [answer | {"path": f"{answer['path']}.gone", "probability": 2.0} for answer in measured]
    check_saved(finished.folder / "model.keras", finished.network, gone)


def test_a_file_with_fewer_weights_is_another_network(finished):
    other = dataclasses.replace(finished.network, model=tk.create("resnet20_cifar", weights="none", num_classes=2))
    with pytest.raises(ValueError, match=r"holds \d+ weights of \d+, so it is not the network that was evaluated."):
        check_saved(finished.folder / "model.keras", other, [])


@pytest.mark.parametrize(("found", "good"), [(0.75, True), (0.70, True), (0.675, False), (0.417, False), (0.85, False)])
def test_the_measured_accuracy_must_match_the_training(found, good):
    words = {"accuracy": found, "n": 40}, 0.75
    if good:
        return check_measured(*words)
    with pytest.raises(ValueError, match="but had 0.750 in training: no figures are reported"):
        check_measured(*words)


def test_a_training_draws_the_gradcam_of_its_mistakes(tiny, pets, tmp_path):
    parts = find_splits(pets)
    swapped = dataclasses.replace(parts.val, labels=tuple(1 - label for label in parts.val.labels))
    trained = tk.finetune(tiny, parts.train, swapped, out=tmp_path / "run", **QUICK)
    assert find_surest(trained, misses=1) and (trained.folder / runs.GRADCAM).exists()
