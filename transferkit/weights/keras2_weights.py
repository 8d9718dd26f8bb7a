"""Read weight files of Keras 2, and `.h5` files of Keras 3: a group for each layer, with lists of names."""

import re

import h5py
import numpy as np

from transferkit.weights.errors import UnusableFileError
from transferkit.weights.keras3_weights import read_array

# {end of a variable's name in Keras 2: its name in torch}, for `kernel:0`, `block1_conv1_W_1:0`, `bn_gamma`.
VARIABLES = {
    "pointwise_kernel": "pointwise",  # second kernel of a separable convolution
    "kernel": "weight",
    "W": "weight",
    "bias": "bias",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "running_mean": "running_mean",
    "moving_variance": "running_var",
    "running_std": "running_var",  # the variance in Keras 1
}
ENDS = re.compile(rf"(?:^|_)({'|'.join(VARIABLES)})(?:_\d+)?$")


def is_keras2(file: h5py.File) -> bool:
    """Whether a checked file was written by Keras 2, with the weights or with the whole model."""
    root = file.get("model_weights", file)
    return isinstance(root, h5py.Group) and bool(read_names(root, "layer_names"))


def read_keras2(file: h5py.File) -> dict[str, np.ndarray]:
    """Read the variables of a checked file, by their names in torch, in the order of the layers.

    Layers of nested models are read by their own names.

    Raises:
        UnusableFileError: a layer or an array that the file lists is not in it, or two layers have the same name.
    """
    root, tensors = file.get("model_weights", file), {}
    for name in read_names(root, "layer_names"):
        group = root.get(name)
        if not isinstance(group, h5py.Group):
            raise UnusableFileError(f"is damaged: it lists a layer {name!r} that it does not hold.")
        for weight in read_names(group, "weight_names"):
            if "seed_generator" in weight:
                continue
            layer, variable = _torch_name(name, weight)
            if f"{layer}.{variable}" in tensors:
                raise UnusableFileError(f"has two layers called {layer!r}.")
            tensors[f"{layer}.{variable}"] = read_array(group, weight)
    return tensors


def _torch_name(group: str, weight: str) -> tuple[str, str]:
    """The layer and the torch name of a variable: `conv1/kernel:0`, `conv1_W_1:0` or, nested, `net/conv1/kernel`."""
    inside, _, last = weight.partition(":")[0].rpartition("/")
    inner = inside.rpartition("/")[2]
    # If a layer is made twice in a graph, its scope ends in a number, but its name does not.
    layer = group if inside in ("", group) or re.sub(r"_\d+$", "", inner) == re.sub(r"_\d+$", "", group) else inner
    match = ENDS.search(last)
    return layer, VARIABLES[match[1]] if match else last


def read_names(group: h5py.Group, key: str) -> list[str]:
    """Read a list of names from an attribute; a long list is stored in pieces, `key0`, `key1` and so on."""
    pieces = [key] if key in group.attrs else []
    while key not in group.attrs and f"{key}{len(pieces)}" in group.attrs:
        pieces.append(f"{key}{len(pieces)}")
    names = [name for piece in pieces for name in np.ravel(group.attrs[piece]).tolist()]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
