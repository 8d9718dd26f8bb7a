"""Saved models contain no arguments that older versions of Keras do not know."""

import json
import zipfile

import keras
import numpy as np
import pytest

from transferkit import model_note, models
from transferkit.network import Network
from transferkit.pixels import Pixels
from transferkit.weights.portable_keras import ADDED, portable_config


def of_keras(node):
    """All classes of Keras' own in a config: their names and arguments."""
    if isinstance(node, dict):
        if str(node.get("module")).startswith("keras") and isinstance(node.get("config"), dict):
            yield node["class_name"], node["config"]
        node = list(node.values())
    for item in node if isinstance(node, list) else ():
        yield from of_keras(item)


def network_of(layer) -> Network:
    pictures = keras.Input((8, 8, 3))
    pixels = keras.layers.Reshape((64, 3))(keras.layers.BatchNormalization()(pictures))
    x = keras.layers.GlobalAveragePooling1D()(layer(pixels, pixels))
    return Network(keras.Model(pictures, keras.layers.Dense(2, name="fc")(x)), Pixels(crop=8), ("a", "b"), "fc", "own")


@pytest.mark.parametrize("window", [None, 4])
def test_later_arguments_are_omitted_at_their_defaults(tmp_path, window):
    network = network_of(keras.layers.MultiHeadAttention(2, 2, sliding_window=window))
    models.save(network, path := tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        classes = list(of_keras(json.loads(archive.read("config.json"))))
        assert archive.testzip() is None
        assert archive.namelist() == ["metadata.json", "model.weights.h5", "config.json", model_note.NOTE]
    late = {(name, key) for name, config in classes for key in config if key in ADDED}
    assert late == (set() if window is None else {("MultiHeadAttention", "sliding_window")})
    assert {"Dense", "GlorotUniform", "BatchNormalization"} <= {name for name, _ in classes}
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(x), network.model(x))
    assert [one.get_config() for one in loaded.layers] == [one.get_config() for one in network.model.layers]
    assert list(tmp_path.iterdir()) == [path]


def test_arguments_of_other_classes_are_kept():
    config = {"module": "theirs", "class_name": "Norm", "config": {"renorm": False}}
    assert portable_config({"layers": [config]}) == {"layers": [config]}
