"""`--teacher`: the loss on the teacher's logits, and only the student is saved."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import QUICK
from pictures import folder
from safetensors.numpy import load_file

import transferkit as tk
from transferkit import models
from transferkit.data.sources.resolve import find_splits
from transferkit.recipe import Recipe
from transferkit.training.fitting import callbacks, distillation
from transferkit.training.planning import advice, planner

SHORT = QUICK | {"epochs": 2, "head_epochs": 0}


@pytest.fixture
def splits(pets):
    return find_splits(pets, seed=3)


def pictures(side=32):
    return np.random.default_rng(0).integers(0, 256, (4, side, side, 3)).astype("float32")


def test_the_students_classes_in_the_students_order(finished):
    student = models.load(finished.folder)
    turned = student.__class__(student.model, student.pixels, student.classes[::-1], student.head, student.base)
    same = distillation.load_teacher(str(finished.folder), student, "float32")
    other = distillation.load_teacher(str(finished.folder), turned, "float32")
    assert same.shape is None
    np.testing.assert_allclose(other.model(pictures())[:, ::-1], same.model(pictures()), rtol=1e-5)


def test_a_student_with_other_size_and_channels(finished, pets, splits):
    plan = planner.make_plan(
        Recipe().override(base="tiny", weights="none", size=24, channels=1, teacher=str(finished.folder)), splits
    )
    assert plan.teacher.shape == (32, 32) and plan.teacher.model.input_shape[-1] == 1


@pytest.mark.slow
def test_only_the_student_is_saved(finished, tiny, splits, tmp_path, monkeypatch):
    seen, save = [], callbacks.SaveCheckpoints.save

    def watched(self):
        save(self)
        seen.append(load_file(self.folder / "checkpoints" / self.state.tensors))

    monkeypatch.setattr(callbacks.SaveCheckpoints, "save", watched)
    run = tk.finetune(
        tiny, splits.train, splits.val, out=tmp_path / "run", teacher=str(finished.folder), teacher_share=1.0, **SHORT
    )
    alone = models.load(tiny, "none").model
    assert keras.models.load_model(run.folder / "model.keras").count_params() == run.network.model.count_params()
    assert len(run.network.model.weights) == len(alone.weights)
    assert sum(name.startswith("model/") for name in seen[-1]) == len(alone.variables)
    assert run.recipe.train.teacher == str(finished.folder)


def test_the_student_learns_the_teachers_predictions(finished, tiny, splits, tmp_path):
    """Without the labels in the loss, which are wrong, the student becomes its teacher."""
    wrong = splits.train.__class__(
        splits.train.paths, tuple(1 - label for label in splits.train.labels), splits.train.classes
    )
    knobs = QUICK | {"epochs": 12, "head_epochs": 0, "lr": 0.02, "augment": "none", "bn": "train"}
    run = tk.finetune(
        tiny, wrong, splits.val, out=tmp_path / "run", teacher=str(finished.folder), teacher_share=1.0, **knobs
    )
    assert run.metrics["accuracy"] == 1.0


def test_other_classes_are_refused(finished, tiny, cli, tmp_path):
    birds = folder(tmp_path / "birds", {"owl": 4, "wren": 4})
    words = ("--base", tiny, "--weights", "none", "--data", birds, "--teacher", finished.folder)
    status, out, err = cli("finetune", *words, "--dry-run")
    assert (status, out) == (1, "") and "knows the classes cat, dog: expected those of the pictures, owl, wren." in err
    status, _, err = cli("finetune", *words[:-1], "tinyy", "--dry-run")
    assert status == 2 and "Did you mean 'tiny'?" in err


@pytest.mark.parametrize("linked", [False, True])
def test_validation_pictures_seen_by_the_teacher_are_reported(finished, tiny, pets, tmp_path, linked):
    """The same pictures under another path are the same."""
    other = find_splits(pets, seed=8)
    count = len(set(finished.splits.train.paths) & set(other.val.paths))
    if linked:
        (tmp_path / "link").symlink_to(pets)
        paths = tuple(path.replace(str(pets), str(tmp_path / "link")) for path in other.val.paths)
        other = replace(other, val=replace(other.val, paths=paths))
    told = list(advice.find_leaks(str(finished.folder), other, "teacher"))
    assert count and told[0].startswith(
        f"The teacher was trained on {count} of the {len(other.val)} validation pictures,"
    )
    assert not list(advice.find_leaks(str(finished.folder), finished.splits, "teacher"))
    assert not list(advice.find_leaks(tiny, other, "teacher"))


def test_the_teachers_path_is_stored_absolute(finished, tiny, pets, cli, monkeypatch):
    monkeypatch.chdir(finished.folder.parent)
    words = ("--base", tiny, "--weights", "none", "--data", pets, "--size", 32, "--teacher", finished.folder.name)
    status, out, err = cli("finetune", *words, "--dry-run", "--json")
    assert status == 0, err
    assert json.loads(out)["recipe"]["train"]["teacher"] == str(finished.folder)
