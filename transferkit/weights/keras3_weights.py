"""Read weight files of Keras 3: `.weights.h5`, and `model.weights.h5` in a `.keras` file."""

import h5py
import ml_dtypes
import numpy as np

from transferkit.weights.errors import UnusableFileError

ROOTS = "layers", "_layer_checkpoint_dependencies"  # the latter in files of TensorFlow 2.13
# {number of variables of a layer: their names in torch}
VARIABLES = {
    1: ("weight",),
    2: ("weight", "bias"),
    4: ("weight", "bias", "running_mean", "running_var"),
}


def read_keras3(file: h5py.File) -> dict[str, np.ndarray]:
    """Read the variables of a checked file, by their names in torch.

    Keras names groups after classes, `layers/batch_normalization_3`; the layer's name is an attribute.

    Raises:
        UnusableFileError: the file was not written by Keras 3, or has two layers with the same name.
    """
    roots = [root for root in ROOTS if root in file]
    if not roots:
        raise UnusableFileError(f"is not a weight file of Keras: expected an HDF5 group {ROOTS[0]!r}.")
    tensors = {}
    for key, variables in _iterate_layers(file[roots[0]]):
        layer = str(variables.attrs.get("name", key))
        if layer.startswith("seed_generator"):
            continue
        names = VARIABLES.get(len(variables), map(str, range(len(variables))))
        if key.startswith("batch_normalization") and len(variables) != 4:
            names = map(str, range(len(variables)))  # gamma or beta is missing, and the file does not say which
        for index, name in enumerate(names):
            if f"{layer}.{name}" in tensors:
                raise UnusableFileError(f"has two layers called {layer!r}.")
            tensors[f"{layer}.{name}"] = read_array(variables, str(index))
    return tensors


def _iterate_layers(root):
    """Iterate over the key and the group of variables of every layer, also in nested models."""
    waiting = [("", root)]
    while waiting:
        key, group = waiting.pop()
        for inner, child in group.items():
            if inner == "vars" and isinstance(child, h5py.Group):
                yield key, child
            elif isinstance(child, h5py.Group):
                waiting.append((inner, child))


def read_array(group: h5py.Group, key: str) -> np.ndarray:
    """Read an array from a file of Keras 2 or 3."""
    dataset = group.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise UnusableFileError(f"is damaged: it has no array {key!r} in {group.name!r}.")
    if dataset.attrs.get("dtype") == "bfloat16":  # HDF5 does not have this type: Keras stores two opaque bytes
        return dataset[()].view(ml_dtypes.bfloat16)
    if dataset.dtype.kind not in "fiub":
        raise UnusableFileError(f"holds {dataset.dtype} at {dataset.name!r}, where numbers were expected.")
    return dataset[()]
