"""Stored features of the frozen part: same weights as when they are computed in every epoch."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import QUICK

import transferkit as tk
from transferkit import models
from transferkit.data import view_cache
from transferkit.data.augment import augmentation
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation import predict
from transferkit.network import Network
from transferkit.pixels import Pixels
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.clock import Clock
from transferkit.training.fitting import freezing, frozen_features
from transferkit.training.job_records import TrainingJob


@pytest.fixture(scope="module")
def splits(pets):
    return find_splits(pets, seed=0)


def job_of(train, **knobs):
    """A job with training pictures, without a run folder."""
    network = SimpleNamespace(pixels=Pixels().with_size(32))
    plan = SimpleNamespace(
        recipe=Recipe().override(**knobs), network=network, splits=SimpleNamespace(train=train), clock=Clock()
    )
    return TrainingJob(plan, Path(), {})


def weights(run):
    return [np.asarray(variable) for variable in run.network.model.weights]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unfreeze", "knobs"),
    [
        ("head", {"views": 1}),
        pytest.param("last-stage", {"views": 1, "bn": "train", "memory": 0.0}, marks=pytest.mark.slow),
        pytest.param("last-stage", {"views": 3, "balance": "sampling", "ema": 0.9}, marks=pytest.mark.slow),
        pytest.param("layer2.bn", {"views": 2, "bn": "train", "accumulate": 2}, marks=pytest.mark.slow),
    ],
)
def test_stored_and_recomputed_features_give_the_same_weights(tiny, splits, tmp_path, unfreeze, knobs, capsys):
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
def test_a_split_network_equals_the_whole(base, unfreeze, outputs):
    network = models.load(base, "none")
    freezing.unfreeze(network, unfreeze)
    before, after = freezing.split_frozen(network.model)
    side = network.model.input_shape[1] or max(64, network.minimum)
    pictures = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype("float32")
    np.testing.assert_array_equal(after(before(pictures)), network.model(pictures))
    assert len(before.outputs) == outputs
    assert len(after.trainable_variables) == len(network.model.trainable_variables)


def test_all_layers_trainable_has_no_frozen_part(tiny):
    network = models.load(tiny, "none")
    freezing.unfreeze(network, "all")
    assert freezing.split_frozen(network.model) is None


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """Of a user: a branch of random weight, with norm and dropout inside, which get no `training` of it."""

    def __init__(self, **words):
        super().__init__(**words)
        self.norm, self.drop = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=None):
        branch = self.drop(self.norm(x))
        return x + branch * keras.random.uniform((1, 1, 1, 1)) if training else x + branch


L = keras.layers
RANDOM = {
    "noise": lambda: L.GaussianNoise(1.0),
    "gaussian dropout": lambda: L.GaussianDropout(0.5),
    "alpha dropout": lambda: L.AlphaDropout(0.5),
    "spatial dropout": lambda: L.SpatialDropout2D(0.5),
    "spectral normalization": lambda: L.SpectralNormalization(L.Conv2D(4, 3, padding="same")),
    "a wrapped norm": lambda: L.TimeDistributed(L.BatchNormalization()),
    "a wrapped dropout": lambda: L.TimeDistributed(L.Dropout(0.5)),
    "recurrent dropout": lambda: L.ConvLSTM1D(4, 3, padding="same", return_sequences=True, recurrent_dropout=0.5),
    "a layer of the user's": Block,
}


def network_of(*layers) -> Network:
    """Pictures of 8 x 8 through a norm, some layers and a head."""
    pictures = keras.Input((8, 8, 4))
    x = L.BatchNormalization(name="norm")(pictures)
    for layer in layers:
        x = layer(x)
    model = keras.Model(pictures, L.Dense(2, name="fc")(L.GlobalAveragePooling2D(name="pooled")(x)))
    return Network(model, Pixels(crop=8), ("cat", "dog"), "fc", "theirs")


def attention(x):
    pixels = L.Reshape((64, 4))(x)
    return L.Reshape((8, 8, 4))(L.MultiHeadAttention(2, 2, dropout=0.5)(pixels, pixels))


@pytest.mark.parametrize("kind", [*RANDOM, "attention"])
def test_frozen_layers_run_in_inference_mode(kind):
    network = network_of(RANDOM[kind]() if kind in RANDOM else attention)
    model = network.model
    x = np.random.default_rng(0).normal(3, 2, (4, 8, 8, 4)).astype("float32")
    expected, before = np.array(model(x, training=False)), model.get_weights()
    freezing.unfreeze(network, "head")
    np.testing.assert_array_equal(model(x, training=True), expected)
    assert all(map(np.array_equal, before, model.get_weights()))
    parts = freezing.split_frozen(model)
    assert len(parts[1].layers) == 2  # the head alone, and what goes into it
    freezing.unfreeze(network, "all", bn="train")
    assert freezing.split_frozen(model) is None
    assert not np.array_equal(model(x, training=True), expected)


def test_norms_inside_layers_are_frozen_in_the_trainable_part():
    network = network_of(Block(), L.TimeDistributed(L.BatchNormalization()))
    freezing.unfreeze(network, "all")
    before = network.model.non_trainable_variables[:]
    values = [np.array(one) for one in before]
    network.model(np.ones((4, 8, 8, 4), "float32"), training=True)
    moved = [one.path for one, value in zip(before, values, strict=True) if not np.array_equal(one, value)]
    assert all("seed" in path for path in moved) and len(network.model.trainable_weights) == 2


def test_norms_can_be_fitted_without_their_scale(tiny):
    network = models.load(tiny, "none")
    assert freezing.unfreeze(network, "all", bn="stats") == ["layer1.conv", "layer2.conv", "fc"]
    norm = network.model.get_layer("layer1.bn")
    before = [np.array(value) for value in norm.get_weights()]
    network.model(np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)), training=True)
    moved = [not np.array_equal(one, other) for one, other in zip(before, norm.get_weights(), strict=True)]
    assert moved == [False, False, True, True]


@pytest.mark.parametrize(
    ("unfreeze", "knobs", "looks"),
    [
        ("head", {}, 0),
        pytest.param("all,last-stage", {}, 0, marks=pytest.mark.slow),
        # the average moves the frozen part too
        pytest.param("all,last-stage", {"soup": 4}, 1, marks=pytest.mark.slow),
        pytest.param("last-stage,all", {}, 1, marks=pytest.mark.slow),
        pytest.param("last-stage", {"memory": 0.0}, 1, marks=pytest.mark.slow),
    ],
)
def test_the_metrics_are_those_of_the_saved_model(tiny, splits, tmp_path, monkeypatch, unfreeze, knobs, looks):
    """Where what was stored still is the frozen part's, the validation pictures are not run through that again."""
    seen, whole = [], run_job.predict_outputs
    knobs = QUICK | {"head_epochs": 4 if unfreeze == "head" else 0, "unfreeze": unfreeze, "views": 1} | knobs
    with monkeypatch.context() as patch:
        patch.setattr(run_job, "predict_outputs", lambda *words, **what: seen.append(words) or whole(*words, **what))
        run = tk.finetune(tiny, splits.train, splits.val, out=tmp_path / "run", **knobs)
    figures, _ = predict.evaluate(run.network, run.splits.val)
    assert len(seen) == looks
    # the loss has other temperatures: those of the other half of the pictures
    assert run.metrics["ece_uncalibrated"] == pytest.approx(figures["ece_uncalibrated"], rel=1e-4)
    assert run.metrics["confusion"] == figures["confusion"]


def test_too_large_for_memory_and_disk(tiny, splits, tmp_path, monkeypatch, capsys):
    network = models.load(tiny, "none")
    freezing.unfreeze(network, "last-stage")
    part, _ = freezing.split_frozen(network.model)
    monkeypatch.setattr(view_cache.shutil, "disk_usage", lambda folder: view_cache.shutil._ntuple_diskusage(9, 0, 9))
    job = job_of(splits.train, memory=0.0)
    assert frozen_features.compute_frozen_features(job, part, "train", tmp_path) is None
    assert "runs in every epoch" in capsys.readouterr().err


def test_unreadable_views_are_skipped(tiny, tmp_path, pets, capsys):
    listing = tk.list_images(pets)
    network = models.load(tiny, "none")
    freezing.unfreeze(network, "head")
    part, _ = freezing.split_frozen(network.model)
    gone = tk.Listing((*listing.paths, str(tmp_path / "gone.jpg")), (*listing.labels, 0), listing.classes)
    job = job_of(gone)
    maps = frozen_features.compute_frozen_features(
        job, part, "train", tmp_path, views=2, augmentation=augmentation.parse_augmentation("light")
    )
    assert list(job.unreadable) == [str(tmp_path / "gone.jpg")] and "gone.jpg" in capsys.readouterr().err
    assert maps.rows.tolist() == list(range(len(listing))) and len(maps.values[0]) == 2 * len(gone)
