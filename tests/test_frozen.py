"""What is frozen is computed once, and the weights are those of the run that computes it in every epoch."""

import keras
import numpy as np
import pytest
from conftest import QUICK

import transferkit as tk
from transferkit import models
from transferkit.data import augment
from transferkit.data.sources import find_splits
from transferkit.evaluation import predict
from transferkit.pixels import Pixels
from transferkit.training import freezing, frozen


@pytest.fixture(scope="module")
def splits(pets):
    return find_splits(pets, seed=0)


def weights(run):
    return [np.asarray(variable) for variable in run.network.model.weights]


@pytest.mark.parametrize(
    ("unfreeze", "knobs"),
    [
        ("head", {"views": 1}),
        ("last-stage", {"views": 1, "bn": "train", "memory": 0.0}),
        ("last-stage", {"views": 3, "balance": "sampling", "ema": 0.9}),
        ("layer2.bn", {"views": 2, "bn": "train", "accumulate": 2}),
    ],
)
def test_stored_and_computed_anew_give_the_same_weights(tiny, splits, tmp_path, unfreeze, knobs, capsys):
    knobs = QUICK | {"head_epochs": 4 if unfreeze == "head" else 0, "augment": "light", "unfreeze": unfreeze} | knobs
    once, anew = (
        tk.finetune(tiny, splits.train, splits.val, out=tmp_path / word, frozen=word, **knobs)
        for word in ("once", "anew")
    )
    assert capsys.readouterr().err.count("train through the frozen part") == 1
    for one, other in zip(weights(once), weights(anew), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(once.history, anew.history, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("base", "unfreeze", "outputs"),
    [
        ("resnet18", "head", 1),
        ("resnet18", "last-stage", 1),  # not the map and its padded copy
        ("resnet20_cifar", "last-2", 2),  # shortcut A takes every other pixel
        ("alexnet", "head", 1),
        ("googlenet", "inception4b.branch2", 2),  # the other branches come before it
    ],
)
def test_cut_in_two_and_put_together(base, unfreeze, outputs):
    network = models.load(base, "none")
    freezing.release(network, unfreeze)
    before, after = freezing.divided(network.model)
    side = network.model.input_shape[1] or max(64, network.minimum)
    pictures = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype("float32")
    np.testing.assert_array_equal(after(before(pictures)), network.model(pictures))
    assert len(before.outputs) == outputs
    assert len(after.trainable_variables) == len(network.model.trainable_variables)


def test_nothing_is_frozen_before_all(tiny):
    network = models.load(tiny, "none")
    freezing.release(network, "all")
    assert freezing.divided(network.model) is None


def test_dropout_drops_only_where_it_is_released():
    network = models.load("alexnet", "none")
    rates = [layer.rate for layer in network.model.layers if isinstance(layer, keras.layers.Dropout)]
    freezing.release(network, "head")
    assert {layer.rate for layer in network.model.layers if isinstance(layer, keras.layers.Dropout)} == {0}
    freezing.release(network, "all")
    assert rates == [layer.rate for layer in network.model.layers if isinstance(layer, keras.layers.Dropout)]


def test_norms_can_be_fitted_without_their_scale(tiny):
    network = models.load(tiny, "none")
    assert freezing.release(network, "all", bn="stats") == ["layer1.conv", "layer2.conv", "fc"]
    norm = network.model.get_layer("layer1.bn")
    before = [np.array(value) for value in norm.get_weights()]
    network.model(np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)), training=True)
    moved = [not np.array_equal(one, other) for one, other in zip(before, norm.get_weights(), strict=True)]
    assert moved == [False, False, True, True]


@pytest.mark.parametrize(
    ("unfreeze", "knobs", "looks"),
    [
        ("head", {}, 0),
        ("all,last-stage", {}, 0),
        ("all,last-stage", {"soup": 4}, 1),  # the average moves the frozen part too
        ("last-stage,all", {}, 1),
        ("last-stage", {"memory": 0.0}, 1),
    ],
)
def test_the_figures_are_those_of_the_saved_model(tiny, splits, tmp_path, monkeypatch, unfreeze, knobs, looks):
    """Where what was stored still is the frozen part's, the validation pictures are not run through that again."""
    seen, whole = [], predict.outputs_of
    knobs = QUICK | {"head_epochs": 4 if unfreeze == "head" else 0, "unfreeze": unfreeze, "views": 1} | knobs
    with monkeypatch.context() as patch:
        patch.setattr(predict, "outputs_of", lambda *words: seen.append(words) or whole(*words))
        run = tk.finetune(tiny, splits.train, splits.val, out=tmp_path / "run", **knobs)
    figures, _ = predict.evaluate(run.network, run.splits.val)
    assert len(seen) == looks
    assert run.metrics["loss"] == pytest.approx(figures["loss"], rel=1e-4)
    assert run.metrics["confusion"] == figures["confusion"]


def test_too_large_for_memory_and_disk(tiny, splits, tmp_path, monkeypatch, capsys):
    network = models.load(tiny, "none")
    freezing.release(network, "last-stage")
    part, _ = freezing.divided(network.model)
    monkeypatch.setattr(frozen.shutil, "disk_usage", lambda folder: frozen.shutil._ntuple_diskusage(9, 0, 9))
    ways = {"what": "train", "lost": {}, "folder": tmp_path, "memory": 0.0}
    assert frozen.computed(part, splits.train, Pixels().at(32), **ways) is None
    assert "runs in every epoch" in capsys.readouterr().err


def test_views_that_cannot_be_read_are_left_out(tiny, tmp_path, pets, capsys):
    listing = tk.list_images(pets)
    network = models.load(tiny, "none")
    freezing.release(network, "head")
    part, _ = freezing.divided(network.model)
    gone = tk.Listing((*listing.paths, str(tmp_path / "gone.jpg")), (*listing.labels, 0), listing.classes)
    lost = {}
    maps = frozen.computed(
        part, gone, Pixels().at(32), what="train", lost=lost, folder=tmp_path, memory=1.0, views=2,
        augmentation=augment.parse("light"),
    )  # fmt: skip
    assert list(lost) == [str(tmp_path / "gone.jpg")] and "gone.jpg" in capsys.readouterr().err
    assert maps.rows.tolist() == list(range(len(listing))) and len(maps.values[0]) == 2 * len(gone)
