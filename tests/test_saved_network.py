"""Saved networks have the configuration of a fresh one: training changes to dropout or dtype are not saved."""

import json
import re
import zipfile

import keras
import pytest

from transferkit import models, zoo
from transferkit.keras_internals import is_inference_only
from transferkit.network import with_head, with_policy
from transferkit.training.fitting.freezing import unfreeze

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
RANDOM = ("allcnn_c",)  # the quick one; it has dropout
PARTS = ("head", "last-stage", "all")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(zoo.variants()) if name not in RANDOM]


def configuration(network, path) -> list[dict]:
    """Every layer's, as saved, without what fresh weights come from."""
    models.save(network, path)
    with zipfile.ZipFile(path) as file:
        text = re.sub(r', "shared_object_id": \d+', "", file.read("config.json").decode())
    layers = json.loads(text)["config"]["layers"]
    return [
        {key: value for key, value in layer["config"].items() if "initializer" not in key} | {"of": layer["class_name"]}
        for layer in layers
    ]


def make_network(name):
    keras.utils.clear_session()  # Keras numbers the names of operations, such as `cast`, through all networks
    return with_head(models.load(name, "none"), ("a", "b"))


@pytest.mark.parametrize("name", [*RANDOM, *SLOW])
def test_the_saved_network_is_configured_as_a_fresh_one(name, tmp_path):
    expected = configuration(make_network(name), tmp_path / "fresh.keras")
    for policy in POLICIES:
        network = make_network(name)
        unfreeze(network, "head")  # as a plan does, to find what is frozen
        network = network if policy == "float32" else with_policy(network, policy)
        for part in PARTS:
            names = {layer.name for layer in network.model.layers if isinstance(layer, keras.layers.Dropout)}
            learns = set(unfreeze(network, part if part != "last-stage" or _has_stages(network) else "all"))
            for layer in network.model.layers:
                if layer.name in names:
                    assert is_inference_only(layer) == (not layer.trainable), layer.name
            assert learns
        found = configuration(network, tmp_path / "trained.keras")
        for layer, its in zip(found, expected, strict=True):
            assert layer == its, policy


def _has_stages(network) -> bool:
    return sum(layer.name.startswith("stage") for layer in network.model.layers) >= 2
