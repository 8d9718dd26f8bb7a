"""Build a model from the configuration that Keras 3 stores in an `.h5` file.

It names classes without their modules. Keras' own reader then looks all of them up among the layers: it takes the
operation `x + 1` for the layer `Add`, does not know `x / 2`, and forgets an axis that is a list. With the modules
added, it is the configuration of a `.keras` file.
"""

import copy
from typing import Any

import keras

from transferkit.keras_internals import application_layers, find_operation, model_classes

MODELS = model_classes()
APPLICATION_LAYERS = application_layers()


def build_model(entry: dict) -> keras.Model:
    """Build a model, with fresh weights, from a configuration with modules.

    Raises:
        Exception: of any type, where Keras cannot or may not.
    """
    model = keras.saving.deserialize_keras_object(copy.deepcopy(entry), safe_mode=True)  # which changes it
    _set_lora_alphas(model, entry["config"]["layers"])
    return model


def _set_lora_alphas(model: keras.Model, entries: list[dict]):
    """Set the LoRA factor of the layers, which `Dense` sets to 1 when it is built."""
    configs = {entry["config"]["name"]: entry["config"] for entry in entries}
    for layer in model.layers:
        config = configs[layer.name]
        if isinstance(layer, keras.Model):
            _set_lora_alphas(layer, config["layers"])
        elif config.get("lora_alpha"):
            layer.lora_alpha = config["lora_alpha"]


def with_modules(entry: dict) -> dict:
    """Add modules to the configuration of a layer or model, as a `.keras` file has them."""
    kind, config = entry["class_name"], entry["config"]
    if "layers" in config:
        config = config | {"layers": [with_modules(layer) for layer in config["layers"]]}
    # an operation and a layer may have the same name: the configuration of such a layer has `trainable`
    found = (None if "trainable" in config else find_operation(kind)) or layer_class(kind)
    where = {"module": found and found.__module__, "registered_name": None if found else kind}
    return entry | {"config": config, "class_name": found.__name__ if found else kind} | where


def layer_class(kind: str) -> Any:
    """The class of Keras 3 for the name of a layer or model in a file; None where Keras has none."""
    name = kind.removeprefix("Custom>")
    found = MODELS.get(kind) or APPLICATION_LAYERS.get(name) or getattr(keras.layers, kind, None)
    return found if isinstance(found, type) and issubclass(found, keras.Layer) else None
