"""Keras models of many architectures as a base: fine-tuned, interrupted, resumed, saved, loaded by plain Keras."""

import importlib
import sys
import zipfile

import keras
import numpy as np
import pytest
from conftest import cut_short
from keras import layers as L

import transferkit as tk
from transferkit import models
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.metrics import compute_metrics
from transferkit.evaluation.predict import predict_outputs
from transferkit.keras_internals import flatten_layers
from transferkit.network import with_head
from transferkit.training import run_job
from transferkit.training.fitting import checkpoints

KNOBS = {"batch_size": 8, "epochs": 3, "head_epochs": 1, "lr": 0.01, "seed": 3, "start": "fresh", "keep": "best"}
KNOBS |= {"refit": "off", "devices": "cpu"}


@keras.saving.register_keras_serializable("tests")
class Gate(L.Layer):
    """A layer of a user's, with a weight of an own name, one without a name, and a norm inside."""

    def __init__(self, **words):
        super().__init__(**words)
        self.norm = L.BatchNormalization()

    def build(self, shape):
        self.norm.build(shape)
        self.strength = self.add_weight(name="strength", shape=(shape[-1],), initializer="ones")
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x, training=None):
        return self.scale * x * keras.ops.sigmoid(self.strength * self.norm(x, training=training))


def patches(x):
    return L.Reshape((64, 8))(L.Conv2D(8, 4, 4)(x))


def attention(x):
    x = patches(x)
    x = L.Add()([x, L.MultiHeadAttention(2, 4, dropout=0.1)(L.LayerNormalization()(x), x)])
    return L.GlobalAveragePooling1D()(L.Dense(8, "gelu")(L.RMSNormalization()(x)))


def recurrent(x):
    return L.Bidirectional(L.GRU(6))(L.LSTM(8, return_sequences=True)(patches(x)))


def convolutional(x):
    x = L.PReLU(shared_axes=(1, 2))(L.SeparableConv2D(8, 3, strides=2)(x))
    x = L.GroupNormalization(2)(L.DepthwiseConv2D(3)(x))
    return L.GlobalAveragePooling2D()(L.SpectralNormalization(L.Conv2D(8, 3, 2))(x))


def own(x):
    x = L.BatchNormalization(renorm=True)(L.Conv2D(8, 3, 2)(x))
    return L.GlobalMaxPooling2D()(Gate()(x))


def shared(x):
    twice = L.Conv2D(3, 3, padding="same", activation="relu")
    return L.GlobalAveragePooling2D()(L.Conv2D(8, 3, 2)(twice(twice(x))))


def nested(x):
    inner = keras.Sequential([L.Conv2D(4, 3, 2), L.BatchNormalization(), L.ReLU()])
    middle = keras.Sequential([inner, L.Conv2D(8, 3)])
    outer = keras.Input((32, 32, 3))
    return L.GlobalAveragePooling2D()(keras.Model(outer, middle(outer))(x))


def augmenting(x):
    return L.GlobalAveragePooling2D()(L.Conv2D(8, 3, 2, activation="relu")(L.RandomRotation(0.1)(L.RandomFlip()(x))))


MAKES = {one.__name__: one for one in (attention, recurrent, convolutional, own, shared, nested, augmenting)}
QUICKEST = ("attention",)


def file_of(make, folder, last=None):
    """The file of a model of two classes, in one of the ways to tell two."""
    keras.utils.set_random_seed(0)
    pictures = keras.Input((32, 32, 3))
    x = make(L.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, (last or L.Dense(2, "softmax"))(x))
    model.save(path := folder / f"{make.__name__}.keras")
    return path


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_a_checkpoint_restores_all_weights(make, tmp_path):
    network = with_head(models.load(file_of(make, tmp_path)), ("cat", "dog"))
    checkpoints.save_weights(network, tmp_path / "some.safetensors")
    before = network.model.get_weights()
    for weight in network.model.weights:
        weight.assign(np.asarray(weight) + 1)
    checkpoints.load_weights(network, tmp_path / "some.safetensors")
    assert all(map(np.array_equal, before, network.model.get_weights()))
    # of another process: Keras has counted variables that have no name of their own
    another = with_head(models.load(tmp_path / f"{make.__name__}.keras"), ("cat", "dog"))
    checkpoints.load_weights(another, tmp_path / "some.safetensors")
    assert all(map(np.array_equal, before, another.model.get_weights()))
    tensors = checkpoints.read_weights(tmp_path / "some.safetensors")
    assert len(tensors) == len(before)
    with pytest.raises(ValueError, match=r"is of another training: its \d{4}/\w+ is missing, expected of shape"):
        checkpoints.restore_weights(network, dict(list(tensors.items())[:-1]), source="some.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=() if name in QUICKEST else pytest.mark.slow, id=name) for name, make in MAKES.items()],
)
def test_a_model_is_fine_tuned_resumed_and_saved(make, pets, tmp_path, monkeypatch):
    path, splits = file_of(make, tmp_path), find_splits(pets)
    whole = tk.finetune(path, splits.train, splits.val, out=tmp_path / "whole", **KNOBS)
    with cut_short(monkeypatch):
        tk.finetune(path, splits.train, splits.val, out=tmp_path / "run", **KNOBS)
    resumed = run_job.resume(tmp_path / "run")
    for one, other in zip(whole.network.model.weights, resumed.network.model.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, err_msg=one.path)
    logits, rows = predict_outputs(
        keras.models.load_model(whole.folder / "model.keras"), splits.val.paths, whole.network.pixels
    )
    chances = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    figures = compute_metrics(chances, np.array(splits.val.labels)[rows], splits.val.classes)
    assert figures["accuracy"] == whole.metrics["accuracy"]
    assert figures["loss"] == pytest.approx(whole.metrics["loss"], rel=1e-3)


LAYERS = """
import keras

@keras.saving.register_keras_serializable("theirs")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def test_a_user_module_is_imported_if_it_is_named(cli, tmp_path, monkeypatch):
    (tmp_path / "doubled_layers.py").write_text(LAYERS)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        layer = importlib.import_module("doubled_layers").Doubled
        path = file_of(lambda x: L.GlobalAveragePooling2D()(layer()(x)), tmp_path)
    forget = keras.saving.get_custom_objects()
    monkeypatch.setattr("keras.src.saving.object_registration.GLOBAL_CUSTOM_OBJECTS", {})
    monkeypatch.delitem(sys.modules, "doubled_layers")
    assert forget and "'Doubled', which Keras does not have: --import MODULE" in cli("inspect", path)[2]
    status, out, err = cli("inspect", path, "--import", "doubled_layers")
    assert status == 0 and "Doubled" in out, err
    status, _, err = cli("--import=doubled_layer", "inspect", path)
    assert status == 2 and "--import doubled_layer failed (No module named 'doubled_layer'): expected a Python" in err


@pytest.mark.slow
def test_a_user_module_in_folds_and_in_other_processes(cli, pets, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr("transferkit.features.feature_folder.PART_BYTES", 1)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token-of-this-test-alone-0123456789")  # none is written to the home folder
    (tmp_path / "their_layers.py").write_text(LAYERS)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        layer = importlib.import_module("their_layers").Doubled
        path = file_of(lambda x: L.GlobalAveragePooling2D()(layer()(x)), tmp_path)
    monkeypatch.setattr("keras.src.saving.object_registration.GLOBAL_CUSTOM_OBJECTS", {})
    monkeypatch.delitem(sys.modules, "their_layers")
    words = ("--import", "their_layers", "--base", path, "--data", pets)
    status, _, err = cli("extract", *words, "--out", "parts", "--workers", 2)
    assert status == 0 and len(tk.load_features("parts").paths) == 24, err
    status, _, err = cli("finetune", *words, "--folds", 2, "--epochs", 2, "--head-epochs", 1, "--out", "run")
    assert status == 0, err


def test_wrapped_layers_of_mixed_precision_are_float32_in_the_network(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        path = file_of(lambda x: convolutional(L.TimeDistributed(L.Conv1D(4, 3))(x)), tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    network = models.load(path)
    models.save(network, tmp_path / "saved.keras")
    with zipfile.ZipFile(tmp_path / "saved.keras") as archive:
        assert b"float16" not in archive.read("config.json")
    inside = [inner for layer in network.model.layers for inner in flatten_layers(layer)]
    assert {layer.compute_dtype for layer in inside} == {"float32"} and len(inside) > len(network.model.layers)
