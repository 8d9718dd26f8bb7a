"""SavedModel folders are programs: they run only if the user names them with --trust."""

import json
import shutil

import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import transferkit as tk
from transferkit import recipe, recipe_files, trust
from transferkit.features.feature_spec import FeatureSpec
from transferkit.features.skops_file import save_pipeline
from transferkit.training.planning import planner


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A SavedModel that writes `ran` beside itself when it answers; it is not trusted."""
    monkeypatch.setattr(trust, "_allowed", set())
    ran = str(tmp_path / "ran")

    class Program(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
        def serve(self, pictures):
            with tf.control_dependencies([tf.io.write_file(ran, "it ran")]):
                return {"scores": tf.reduce_mean(pictures, (1, 2))[:, :2]}

    module = Program()
    tf.saved_model.save(module, str(tmp_path / "served"), signatures={"serving_default": module.serve})
    return tmp_path / "served"


def test_a_trusted_model_runs(program, cli, pets):
    picture = pets / "cat" / "000.jpg"
    status, _, error = cli("predict", program, picture, "--pixels", "raw", "--json")
    assert status == 2 and "is a SavedModel, which is a program" in error and not program.with_name("ran").exists()
    status, out, error = cli("predict", program, picture, "--pixels", "raw", "--json", "--trust")
    assert status == 0 and "its program runs, as --trust allows" in error and program.with_name("ran").exists()
    assert json.loads(out)[0]["label"] in ("output 0", "output 1")


def test_evaluate(program, cli, pets, tmp_path):
    (tmp_path / "names").write_text("cat\ndog\n")
    words = ("evaluate", program, "--data", pets, "--pixels", "raw", "--classes", tmp_path / "names", "--json")
    status, _, error = cli(*words)
    assert status == 2 and "is a SavedModel, which is a program" in error and not program.with_name("ran").exists()
    status, out, error = cli(*words, "--trust")
    assert status == 0 and json.loads(out)["n"] == 24, error


def test_extract(program, cli, pets):
    words = ("extract", "--base", program, "--data", pets, "--pixels", "raw", "--layer", "pixels", "--out", "f.npz")
    status, _, error = cli(*words)
    assert status == 2 and "--trust" in error and not program.with_name("ran").exists()
    status, _, error = cli(*words, "--trust")
    assert status == 0, error


@pytest.mark.parametrize("knob", ["base", "teacher"])
def test_no_recipe_runs_it(program, knob, pets):
    knobs = {"base": {"pixels": "raw"}, "teacher": {"base": "tiny", "weights": "none"}}[knob]
    changed = recipe.Recipe().override(**knobs | {"data": str(pets), knob: str(program)})
    with pytest.raises(ValueError, match="is a SavedModel, which is a program"):
        planner.make_plan(changed)
    assert not program.with_name("ran").exists()


def test_no_run_runs_it(program, finished, cli, tmp_path):
    """A folder that was handed over, to be gone on with."""
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run, ignore=shutil.ignore_patterns("model.keras", "metrics.json", "checkpoints"))
    changed = recipe_files.load(run / "recipe.toml").override(base=str(program), weights="imagenet", pixels="raw")
    (run / "recipe.toml").write_text(recipe_files.dumps(changed))
    status, _, error = cli("finetune", "--resume", run)
    assert status == 2 and "is a SavedModel, which is a program" in error and not program.with_name("ran").exists()


def test_no_classifier_runs_it(program, cli, pets, listing, monkeypatch):
    pipeline = make_pipeline(
        tk.FeatureExtractor("tiny", weights="none", pool="avg", cache=False), LogisticRegression()
    ).fit(listing.paths, listing.labels)
    own = FeatureSpec(str(program), layer=("pixels",), pixels="raw")
    for name, value in {"base": own.base, "weights": own.weights, "pixels": "raw", "layer": "pixels"}.items():
        setattr(pipeline[0], name, value)
    pipeline[0].identity_ = own.identity()  # what its author would write
    save_pipeline(pipeline, program.with_name("bad.skops"))
    status, _, error = cli("predict", program.with_name("bad.skops"), pets / "cat" / "000.jpg")
    assert status == 2 and "is a SavedModel, which is a program" in error and not program.with_name("ran").exists()
