"""Weights as Keras 2 saves them, and Keras 3 where a file is called `.h5`: a group a layer, lists of names beside."""

import re

import h5py
import numpy as np

from transferkit.weights.errors import Unusable
from transferkit.weights.keras3_weights import numbers

# What torch calls a variable, by the end of its name here: `kernel:0`, `block1_conv1_W_1:0`, `bn_gamma`.
VARIABLES = {
    "pointwise_kernel": "pointwise",  # the second one of a separable convolution
    "kernel": "weight",
    "W": "weight",
    "bias": "bias",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "running_mean": "running_mean",
    "moving_variance": "running_var",
    "running_std": "running_var",  # Keras 1 called the variance so
}
ENDS = re.compile(rf"(?:^|_)({'|'.join(VARIABLES)})(?:_\d+)?$")


def is_keras2(file: h5py.File) -> bool:
    """Whether a checked file is of Keras 2, with the weights alone or with the whole model."""
    root = file.get("model_weights", file)
    return isinstance(root, h5py.Group) and bool(_listed(root, "layer_names"))


def read_keras2(file: h5py.File) -> dict[str, np.ndarray]:
    """Return the variables of a checked file by torch's kind of name, in the order of the layers.

    Layers of nested models count by their own names.

    Raises:
        Unusable: a layer or an array that the file lists is not in it, or two layers have the same name.
    """
    root, tensors = file.get("model_weights", file), {}
    for name in _listed(root, "layer_names"):
        group = root.get(name)
        if not isinstance(group, h5py.Group):
            raise Unusable(f"is damaged: it lists a layer {name!r} that it does not hold.")
        for weight in _listed(group, "weight_names"):
            if "seed_generator" in weight:
                continue
            layer, variable = _names(name, weight)
            if f"{layer}.{variable}" in tensors:
                raise Unusable(f"has two layers called {layer!r}.")
            tensors[f"{layer}.{variable}"] = numbers(group, weight)
    return tensors


def _names(group: str, weight: str) -> tuple[str, str]:
    """The layer and torch's name of a variable, from `conv1/kernel:0`, `conv1_W_1:0` or, nested, `net/conv1/kernel`."""
    inside, _, last = weight.partition(":")[0].rpartition("/")
    inner = inside.rpartition("/")[2]
    # The scope of a layer made twice in one graph ends in a number that its name has not.
    layer = group if inside in ("", group) or re.sub(r"_\d+$", "", inner) == re.sub(r"_\d+$", "", group) else inner
    match = ENDS.search(last)
    return layer, VARIABLES[match[1]] if match else last


def _listed(group: h5py.Group, key: str) -> list[str]:
    """A list of names in an attribute; a long one is cut in pieces, `key0`, `key1` and so on."""
    attributes, pieces = group.attrs, [key]
    if key not in attributes:
        pieces = [piece for piece in (f"{key}{number}" for number in range(len(attributes))) if piece in attributes]
    names = [name for piece in pieces for name in np.ravel(attributes[piece]).tolist()]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
