"""Fine-tuning from pictures to a run folder, with a network of two convolutions."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import QUICK, cut_short
from pictures import folder

import transferkit as tk
from transferkit import models, run_folder
from transferkit.data.sources.resolve import find_splits
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.fitting import fit_phase, freezing
from transferkit.training.fitting.history import find_best_epoch
from transferkit.training.planning import planner


@pytest.fixture
def splits(pets):
    return find_splits(pets, seed=0)


def finetune(base, splits, out, **knobs):
    """`tk.finetune` with quick knobs, some of them changed."""
    return tk.finetune(base, splits.train, splits.val, out=out, **(QUICK | knobs))


def test_a_run_folder_is_complete_and_consistent(finished, splits, pets):
    run = finished
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "model.keras", "recipe.toml", "classes.txt", "split.csv", "history.csv", "metrics.json", "predictions.csv",
        "curves.png", "confusion.png", "environment.json", "checkpoints", "choices.json",
        "report.html", "MODEL_CARD.md", "calibration.json", "shift.npz",
    }  # fmt: skip
    assert run.classes == ("cat", "dog")
    assert run.metrics["accuracy"] == 1.0
    assert run.metrics["split"] == "val"
    assert run.splits.train.paths == splits.train.paths
    with open(run.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["head"] * 2 + ["all"] * 2
    with open(run.folder / "predictions.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == list(splits.val.paths)
    assert run.evaluate(pets)["n"] == 24
    assert [answer["label"] for answer in run.predict(splits.val.paths)] == [
        splits.val.classes[label] for label in splits.val.labels
    ]


def test_the_saved_model_needs_keras_alone(finished, tmp_path):
    run = finished
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    np.save(tmp_path / "pictures.npy", pictures)
    code = (
        "import sys; sys.modules['transferkit'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(run.folder / 'model.keras')!r})\n"
        f"np.save({str(tmp_path / 'logits.npy')!r}, model(np.load({str(tmp_path / 'pictures.npy')!r})))\n"
        "assert not any(name.startswith('transferkit.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), run.network.model(pictures), rtol=1e-4, atol=1e-4)
    assert not keras.models.load_model(run.folder / "model.keras").compiled


@pytest.mark.slow
def test_frozen_batch_norm_does_not_move(tiny, splits, tmp_path):
    before = models.load(tiny, "none").model
    for unfreeze, bn, moves in (("all", "frozen", False), ("all", "train", True)):
        keras.utils.set_random_seed(0)
        run = finetune(tiny, splits, tmp_path / bn, epochs=1, head_epochs=0, unfreeze=unfreeze, bn=bn, augment="none")
        for name in ("layer1.bn", "layer2.bn"):
            fresh = before.get_layer(name).get_weights()
            found = run.network.model.get_layer(name).get_weights()
            same = all(np.array_equal(a, b) for a, b in zip(fresh, found, strict=True))
            assert same is not moves


def test_trainable_layers(tiny):
    network = models.load(tiny, "none")
    assert freezing.unfreeze(network, "head") == ["fc"]
    assert freezing.unfreeze(network, "last-stage") == ["layer2.conv", "fc"]
    assert freezing.unfreeze(network, "last-stage", bn="train") == ["layer2.conv", "layer2.bn", "fc"]
    assert freezing.unfreeze(network, "layer2") == ["layer2.conv", "fc"]
    assert freezing.unfreeze(network, "all") == ["layer1.conv", "layer2.conv", "fc"]
    with pytest.raises(ValueError, match="No layer of tiny is called 'layer9'"):
        freezing.unfreeze(network, "layer9")
    with pytest.raises(ValueError, match="has 2 stages"):
        freezing.unfreeze(network, "last-2")


def test_training_the_head_changes_no_other_layer(tiny, splits, tmp_path):
    run = finetune(tiny, splits, tmp_path / "run", epochs=3, head_epochs=3, unfreeze="head")
    keras.utils.set_random_seed(3)
    fresh = models.load(tiny, "none").model
    np.testing.assert_array_equal(
        run.network.model.get_layer("layer1.conv").get_weights()[0], fresh.get_layer("layer1.conv").get_weights()[0]
    )
    assert np.abs(run.network.model.get_layer("fc").get_weights()[0]).max() > 0


@pytest.mark.slow
def test_a_worse_fine_tuning_returns_the_initial_head(tiny, splits, tmp_path):
    run = finetune(tiny, splits, tmp_path / "run", epochs=6, head_epochs=4, head_lr=0.05, lr=1e3)
    assert run.metrics["accuracy"] == 1.0 and run.metrics["kept"]["phase"] == "head"


@pytest.mark.slow
def test_one_seed_gives_one_run(finished, tiny, splits, tmp_path):
    again = finetune(tiny, splits, tmp_path / "run")
    assert logits(again, splits) == pytest.approx(logits(finished, splits), abs=1e-4)


def logits(run, splits):
    from transferkit.evaluation.predict import predict_outputs

    return predict_outputs(run.network.model, splits.val.paths, run.network.pixels)[0]


def test_a_resumed_run_equals_an_uninterrupted_one(finished, tiny, splits, tmp_path, monkeypatch):
    with cut_short(monkeypatch):
        finetune(tiny, splits, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()
    with pytest.raises(ValueError, match="is not finished: transferkit finetune --resume"):
        models.load(tmp_path / "run")
    resumed = run_job.resume(tmp_path / "run")
    assert logits(resumed, splits) == pytest.approx(logits(finished, splits), abs=1e-3)
    with pytest.raises(ValueError, match="is complete"):
        run_job.resume(tmp_path / "run")


@pytest.mark.slow
def test_ctrl_c_saves_and_can_be_resumed(pets, tmp_path):
    """A real signal to a real process, in the middle of the released phase."""
    words = ["finetune", "--base", "tiny", "--data", str(pets), "--out", "run", "--json", "--weights", "none"]
    words += ["--size", "32", "--batch-size", "4", "--epochs", "4000", "--head-epochs", "1"]
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import conftest, transferkit.commands\n"
        "from transferkit.zoo.variant import Variant\n"
        "conftest.zoo.variants()['tiny'] = Variant(conftest._tiny, 'fc', 0, 0, 16, conftest.PIXELS)\n"
        "transferkit.commands.main(sys.argv[1:])"
    )
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", code, here, *words], cwd=tmp_path, stdout=-1, stderr=-1) as process:
        state = tmp_path / "run" / "checkpoints" / "state.json"
        wait_for(lambda: state.exists() and len(json.loads(state.read_text())["history"]) >= 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["run"] == "run"
    assert b"--resume run continues" in err
    run = tk.load_run(tmp_path / "run")
    assert run.metrics["interrupted"]
    assert len(run.predict([str(next(pets.rglob("*.jpg")))])) == 1
    epochs = len(json.loads(state.read_text())["history"])
    recipe = run.folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 4000", f"epochs = {epochs + 1}"))
    resumed = run_job.resume(run.folder)
    assert not resumed.metrics["interrupted"]
    assert len(json.loads(state.read_text())["history"]) == epochs + 1


def wait_for(condition, seconds=90):
    for _ in range(seconds * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that in time")


def test_ctrl_c_before_the_first_step(tiny, splits, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_phase, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny, splits, tmp_path / "run")
    assert "No epoch is complete yet" in capsys.readouterr().err


@pytest.mark.slow
def test_a_nan_loss_keeps_the_initial_head(tiny, splits, tmp_path, capsys):
    run = finetune(tiny, splits, tmp_path / "run", lr=1e30, optimizer="sgd")
    assert run.metrics["kept"]["phase"] == "head"
    assert "lower --lr" in capsys.readouterr().err


def test_equal_accuracies_are_decided_by_the_loss():
    rows = [{"val_accuracy": a, "val_loss": b} for a, b in ((0.9, 0.3), (1.0, 0.7), (1.0, 0.6), (1.0, 0.6))]
    assert find_best_epoch(rows) is rows[2]


@pytest.mark.slow
def test_other_class_orders_are_matched(tiny, pets, splits, tmp_path):
    turned = splits.val.relabel(splits.val.classes[::-1], "val")
    run = tk.finetune(tiny, splits.train, turned, out=tmp_path / "run", **QUICK)
    assert run.splits.val == splits.val


@pytest.mark.slow
def test_a_run_is_a_base(finished, splits, tmp_path):
    run = tk.finetune(
        str(finished.folder), splits.train, splits.val, out=tmp_path / "run", epochs=1, head_epochs=0, lr=0.0, size=32
    )
    assert logits(run, splits) == pytest.approx(logits(finished, splits), abs=1e-4)


@pytest.mark.slow
def test_the_headline_is_the_test_accuracy(tiny, tmp_path):
    root = tmp_path / "data"
    for name, count in (("train", 8), ("val", 2), ("test", 3)):
        folder(root / name, {"cat": count, "dog": count})
    parts = find_splits(root)
    run = tk.finetune(tiny, parts.train, parts.val, test=parts.test, out=tmp_path / "run", **QUICK)
    assert (run.metrics["split"], run.metrics["n"]) == ("test", 6)


@pytest.mark.slow
def test_unreadable_pictures_are_named_and_counted(tiny, tmp_path, capsys):
    root = folder(tmp_path / "data", {"cat": 8, "dog": 8})
    (root / "cat" / "broken.jpg").write_bytes(b"no picture")
    parts = find_splits(root)
    run = tk.finetune(tiny, parts.train, parts.val, out=tmp_path / "run", **QUICK)
    assert run.metrics["unreadable"] == 1
    assert capsys.readouterr().err.count("broken.jpg") == 1


@pytest.mark.slow
def test_mixed_precision_saves_float32(tiny, splits, tmp_path):
    run = finetune(tiny, splits, tmp_path / "run", epochs=2, head_epochs=1, precision="mixed_bfloat16")
    model = keras.models.load_model(run.folder / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert run.metrics["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"base": "tinny"}, "Did you mean 'tiny'?"),
        ({"unfreeze": "layer7"}, "No layer of tiny"),
        ({"augment": "crop | flop"}, "Did you mean 'flip'?"),
        ({"devices": "7"}, "No device is called '7'"),
        ({"weights": "imagenet"}, "No public weights are known for tiny"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_invalid_knobs_are_refused_before_anything_is_written(tiny, splits, tmp_path, knobs, sentence):
    given = QUICK | {"base": tiny} | knobs
    with pytest.raises(ValueError) as error:
        tk.finetune(given.pop("base"), splits.train, splits.val, out=tmp_path / "run", **given)
    assert sentence in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_leaves_no_half_file(tiny, splits, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transferkit.atomic.os.fsync", full)
    with pytest.raises(OSError, match="recipe.toml could not be written: No space left on device."):
        finetune(tiny, splits, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [".lock"]


def test_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(run_folder.make_run_folder(None, overwrite=False, name="runs/a")) for _ in range(2)] == [
        "runs/a-1",
        "runs/a-2",
    ]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="mine"):
            run_folder.make_run_folder("mine", overwrite=overwrite, name="")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    (tmp_path / "mine" / "recipe.toml").write_text("")
    made = run_folder.make_run_folder("mine", overwrite=True, name="")
    assert {path.name for path in made.rglob("*")} <= {"checkpoints", ".lock"}


def test_a_run_that_another_process_starts_meanwhile_is_kept(tmp_path, monkeypatch):
    check, calls, out = run_folder.check_output, [], tmp_path / "run"

    def slower(*args, **words):
        check(*args, **words)
        if not calls:
            calls.append(out.mkdir())
            (out / "recipe.toml").write_text("theirs")

    monkeypatch.setattr(run_folder, "check_output", slower)
    with pytest.raises(ValueError, match="run exists: give another --out"):
        run_folder.make_run_folder(out, overwrite=False, name="")
    assert (out / "recipe.toml").read_text() == "theirs"


def test_load_run_refuses_other_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no run or file"):
        tk.load_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no recipe.toml"):
        tk.load_run(tmp_path)


def test_plan_writes_nothing(tiny, pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = planner.make_plan(Recipe().override(base=tiny, data=str(pets), weights="none"))
    assert (len(plan.splits.train), len(plan.splits.val)) == (20, 4)
    assert not any(path.name != "home" for path in tmp_path.iterdir())
