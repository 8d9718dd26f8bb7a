"""Whole models saved by Keras 2 (files of `keras2_files.py`): same predictions as in Keras 2."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras2_files import ONLY_H5, WHOLE, batch

from transferkit import adopt, models
from transferkit.network import with_head

ANSWERS = Path(__file__).parent / "data" / "keras2-answers.npz"
NAMES = [build.__name__ for build in WHOLE]
FILES = [f"{name}.{suffix}" for name in NAMES for suffix in (("h5",) if name in ONLY_H5 else ("h5", "keras"))]
PIXELS = {  # how their convention is known
    "sequential": "raw, by its own Rescaling",
    "functional": "raw, by its own Normalization",
    "depthwise": "raw, by its own Rescaling",
    "nested": "raw, by its own Rescaling",
    "caffe": "raw, by its own arithmetic and Rescaling",
    "mixed": "raw, by its own Rescaling",
    "hard": "raw, by its own Rescaling",
    "recurrent": "raw, by its own Rescaling",
    "attention": "raw, by its own Rescaling",
    "norms": "raw, by its own Rescaling and Normalization",
    "functions": "raw, by its own Rescaling",
}


def answers(name):
    with np.load(ANSWERS) as file:
        return file[name]


@pytest.fixture
def copy(keras2, tmp_path):
    """copy(name) is a stored file that may be changed."""
    return lambda name: Path(shutil.copy(keras2 / f"keras2-{name}", tmp_path / f"my{Path(name).suffix}"))


@pytest.mark.parametrize("file", FILES)
def test_predictions_equal_those_of_keras_2(keras2, file):
    name = file.partition(".")[0]
    model = adopt.load_keras_model(keras2 / f"keras2-{file}")
    tolerance = 1e-3 if name == "mixed" else 1e-6 * np.abs(answers(name)).max() + 1e-6
    np.testing.assert_allclose(model(batch(), training=False), answers(name), atol=tolerance)


@pytest.mark.parametrize("file", FILES)
def test_a_model_becomes_a_network(keras2, file):
    name = file.partition(".")[0]
    network, wanted = models.load(keras2 / f"keras2-{file}"), answers(name)
    assert network.loaded[1] == f"pixels: {PIXELS[name]}"
    assert not any("order" in line for line in network.loaded)
    logits = np.asarray(network.model(batch()))
    if name == "caffe":  # it gives logits
        np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-4)
    else:
        wanted = np.concatenate([1 - wanted, wanted], axis=1) if wanted.shape[1] == 1 else wanted
        np.testing.assert_allclose(keras.ops.softmax(logits), wanted, atol=1e-3 if name == "mixed" else 1e-6)
    assert {layer.compute_dtype for layer in network.model.layers} == {"float32"}
    assert with_head(network, ["a", "b", "c", "d"]).model.output_shape == (None, 4)


def test_regularisers_and_frozen_layers_are_kept(keras2):
    model = adopt.load_keras_model(keras2 / "keras2-sequential.h5")
    assert model.get_layer("conv2d").kernel_regularizer.l2 == pytest.approx(0.01)
    nested = adopt.load_keras_model(keras2 / "keras2-nested.keras")
    assert not nested.get_layer("backbone").trainable_weights
    assert nested.get_layer("neck").trainable_weights


def test_weights_of_other_names_are_matched_by_order_with_a_message(copy):
    path = copy("sequential.h5")
    with h5py.File(path, "a") as file:
        group = file["model_weights"]
        group.move("conv2d", "conv2d_7")
        names = [name if isinstance(name, str) else name.decode() for name in group.attrs["layer_names"]]
        group.attrs["layer_names"] = ["conv2d_7" if name == "conv2d" else name for name in names]
    network = models.load(path)
    assert network.loaded[-1] == "weights matched by order: conv2d from conv2d_7"
    np.testing.assert_allclose(keras.ops.softmax(network.model(batch())), answers("sequential"), atol=1e-6)


def edited(path, edit):
    """The file with its configuration changed by a function of the parsed JSON."""
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            edit(config)
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)
    return path


def layer(config, kind):
    return next(entry for entry in config["config"]["layers"] if entry["class_name"] == kind)


def older_gru(config):
    old = next(entry for entry in config["config"]["layers"] if entry["config"].get("reset_after") is False)
    del old["config"]["reset_after"]


def of_tensorflow_1(config):
    layer(config, "BatchNormalization")["class_name"] = "BatchNormalizationV1"


def random_size(config):
    layer(config, "RandomFlip").update(class_name="RandomWidth", config={"name": "width", "factor": 0.2})


@pytest.mark.parametrize(
    ("name", "edit"), [("recurrent", older_gru), ("sequential", of_tensorflow_1), ("sequential", random_size)]
)
def test_older_config_keys(copy, name, edit):
    model = adopt.load_keras_model(edited(copy(f"{name}.h5"), edit))
    np.testing.assert_allclose(model(batch(), training=False), answers(name), atol=2e-6)


def put(kind, **config):
    """An edit: another layer in place of the pooling."""
    return lambda c: layer(c, "MaxPooling2D").update(class_name=kind, config={"name": "it", "trainable": True} | config)


def inner(kind, **config):
    return {"class_name": kind, "config": {"name": "inner", "trainable": True} | config}


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            put("LSTM", activation="hard_sigmoid"),
            "'it' of class 'LSTM' with activation 'hard_sigmoid', which Keras 3 has",
        ),
        (put("GRU", time_major=True), "'it' of class 'GRU' with time_major=True, expected the batch before the time"),
        (
            put("UpSampling2D", interpolation="gaussian"),
            "interpolation 'gaussian', which Keras 3 does not have, expected",
        ),
        (put("LocallyConnected2D"), "'it' of class 'LocallyConnected2D', which Keras 3 does not have: save it from"),
        (put("TimeDistributed", layer=inner("Functional")), "a layer around a whole model 'inner', expected a layer"),
        (put("TimeDistributed", layer=inner("Fancy")), "a layer 'inner' of class 'Fancy', which Keras 3 does not have"),
        (
            put("TimeDistributed", layer=inner("Activation", activation="hard_sigmoid")),
            "around an Activation 'hard_sigmoid', expected that Activation without it",
        ),
        (lambda c: layer(c, "Conv2D").update(class_name="Fancy"), "of class 'Fancy', which Keras 3 does not have"),
        (lambda c: layer(c, "Dense").update(class_name="Layer"), "of class 'Layer' that Keras 3 does not accept"),
        (lambda c: layer(c, "Conv2D")["config"].update(fancy=1), "'conv2d' of class 'Conv2D' that Keras 3 does not"),
        (lambda c: layer(c, "Dense")["config"].update(units=4), r"of shape \(196, 3\), expected \(196, 4\) for dense/"),
        (lambda c: c["config"]["layers"].pop(4), "holds 8 tensors, expected 4"),
        (lambda c: c.update(class_name="Mine"), "is a model of class 'Mine', whose call no file holds"),
        (lambda c: c["config"]["layers"].clear(), "does not say the shape of its pictures"),
        (lambda c: c.pop("config"), "is damaged: KeyError"),
    ],
)
def test_unsupported_layers_are_named(copy, edit, sentence, suffix):
    path = edited(copy(f"sequential.{suffix}"), edit)
    with pytest.raises(ValueError, match=sentence) as error:
        models.load(path)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("lambda_layer.h5", "has a layer 'lambda' of class 'Lambda', which holds Python code: save it from Keras 2"),
        ("lambda_layer.keras", "has a layer 'lambda' of class 'Lambda', which holds Python code: save it from Keras 2"),
        ("function.h5", "calls tf.math.sin on its tensors, for which nothing of Keras 3 is known here: save it"),
        ("function.keras", "calls tf.math.sin on its tensors, for which nothing of Keras 3 is known here: save it"),
    ],
)
def test_python_code_and_unknown_functions(keras2, file, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.load(keras2 / f"keras2-{file}")


def test_an_unknown_keyword_is_not_ignored(copy):
    def edit(config):
        calls = (entry for entry in config["config"]["layers"] if entry["config"].get("function") == "nn.silu")
        next(calls)["inbound_nodes"][0][3]["gamma"] = 3

    path = edited(copy("functions.h5"), edit)
    with pytest.raises(
        ValueError, match=r"calls tf.nn.silu with beta=2.0, gamma=3, which nothing of Keras 3 does here"
    ):
        models.load(path)
