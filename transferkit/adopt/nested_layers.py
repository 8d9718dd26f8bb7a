"""The layers that stand inside other layers."""

import re
from collections import Counter

import keras

# Attributes of wrappers, recurrent layers and attention that hold a layer, also keys in `.keras` files; and the words
# for it in `.h5` files where a layer holds several.
HOLDERS = {"layer": "", "cell": "", "forward_layer": "forward", "backward_layer": "backward"}
HOLDERS |= {f"_{role}_dense": role for role in ("query", "key", "value")} | {"_output_dense": "attention_output"}


def parts(layer: keras.Layer) -> dict[str, keras.Layer]:
    """The layers right inside one that is not a model, by their keys in a `.keras` file: `{"forward_layer": ...}`."""
    held = {key: getattr(layer, key, None) for key in HOLDERS}
    counts = Counter()
    for cell in getattr(layer, "cells", ()):
        kind = snake(type(cell).__name__)
        held[f"cells/{kind}_{counts[kind]}" if counts[kind] else f"cells/{kind}"] = cell
        counts[kind] += 1
    return {key: part for key, part in held.items() if isinstance(part, keras.Layer)}


def own_weights(layer: keras.Layer) -> list:
    """The variables of a layer that are not of a layer inside it."""
    of_parts = {id(variable) for part in parts(layer).values() for variable in part.weights}
    return [variable for variable in layer.weights if id(variable) not in of_parts]


def snake(name: str) -> str:
    """The name of a class as Keras makes keys of it: `DepthwiseConv2D` is `depthwise_conv2d`."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
