"""A small model file cannot request more memory than its weights need."""

import json
import zipfile

import keras
import pytest
from keras import layers

from transferkit import models
from transferkit.adopt import load_keras_model, weight_limit


def saved(path, change):
    """A small model's file, with another configuration."""
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    model.save(path.with_name("good.keras"))
    with zipfile.ZipFile(path.with_name("good.keras")) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"])
                content = json.dumps(config)
            new.writestr(member, content)
    return path


CHANGES = {
    "units": lambda parts: parts[3]["config"].update(units=10**9),
    "filters": lambda parts: parts[1]["config"].update(filters=10**7),
    "kernel": lambda parts: parts[1]["config"].update(kernel_size=[10**4, 10**4], padding="same"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_huge_layers(tmp_path, name):
    path = saved(tmp_path / "bad.keras", CHANGES[name])
    with pytest.raises(ValueError, match="bad.keras is damaged: its layers ask for more weights than a file of its"):
        load_keras_model(path)
    assert keras.layers.Layer.add_weight.__name__ == "add_weight" and load_keras_model(tmp_path / "good.keras")
    assert not hasattr(keras.layers.Layer.add_weight, "__wrapped__")


def test_the_limit_applies_to_all_layers_together():
    with pytest.raises(ValueError, match="ask for more weights"), weight_limit.limit_weights(0):
        for _ in range(20):
            layers.Dense(1000).build((None, 1000))
    with weight_limit.limit_weights(0):
        layers.Dense(1000).build((None, 1000))


def test_huge_input_sizes(tmp_path):
    model = keras.Sequential([keras.Input((100_000, 100_000, 3)), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    model.save(tmp_path / "wide.keras")
    with pytest.raises(ValueError, match="takes pictures of 100,000 pixels a side, and 4,096 are the most"):
        models.load(tmp_path / "wide.keras", pixels="raw")
