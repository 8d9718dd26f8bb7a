"""Assign the weights of a file to a model that was built from its configuration: all of them, or none."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np

from transferkit.adopt.graph import UnsuitableModelError
from transferkit.keras_internals import INNER_LAYERS, flatten_layers, inner_layers, own_weights, snake_case
from transferkit.lookup import count_noun
from transferkit.weights.keras2_weights import read_names
from transferkit.weights.keras3_weights import ROOTS

# The names in Keras 2 of variables of Keras 3.
OTHER_NAMES = {(f"DepthwiseConv{rank}D", "kernel"): "depthwise_kernel" for rank in (1, 2)}
OTHER_NAMES[("LayerScale", "variable")] = "gamma"


@dataclass(frozen=True)
class StoredArray:
    """An array of a file.

    Attributes:
        layer: name of the layer; below a nested model, "net/conv1".
        name: name or number of the variable in the layer.
        value: its values.
    """

    layer: str
    name: str
    value: np.ndarray


@dataclass(frozen=True)
class ModelVariable:
    """A variable of a model.

    Attributes:
        label: name of the layer, after the name of the outermost nested model that it is in.
        layer: the layer.
        key: what a `.keras` file calls the variable within the layer.
        variable: the Keras variable.
    """

    label: str
    layer: keras.Layer
    key: str
    variable: keras.Variable


def assign_arrays(model: keras.Model, arrays: list[StoredArray]) -> list[str]:
    """Assign the arrays of a file to a model, by the names of the layers, else by order and shape.

    Returns:
        What was matched by order, for a message; [] where all names matched.

    Raises:
        UnsuitableModelError: the arrays do not fit; the weights of the model are then unchanged.
    """
    arrays = [array for array in arrays if array.value.dtype.kind == "f"]  # others are counters and seeds
    variables = [row for row in _iterate_variables(model) if row.variable.dtype.startswith(("float", "bfloat"))]
    by_name = {(array.layer, array.name): array.value for array in arrays}
    numbered = all(array.name.rpartition("/")[2].isdigit() for array in arrays)
    for renamed in ({}, OTHER_NAMES):
        names = [(row.label, row.key if numbered else _h5_name(row, renamed)) for row in variables]
        if set(names) == set(by_name):
            break
    changes = []
    if len(by_name) == len(arrays) and len(set(names)) == len(names) and set(names) == set(by_name):
        arrays = [StoredArray(*name, by_name[name]) for name in names]
    else:
        pairs = {ours[0]: theirs.layer for ours, theirs in zip(names, arrays, strict=False)}
        matches = ", ".join(f"{ours} from {theirs}" for ours, theirs in pairs.items() if ours != theirs)
        changes = [f"weights matched by order: {matches or 'all names agree'}"]
    if len(names) != len(arrays):
        raise UnsuitableModelError(f"holds {count_noun(len(arrays), 'tensor')}, expected {len(names)}.")
    for name, row, array in zip(names, variables, arrays, strict=True):
        found, expected = array.value.shape, tuple(row.variable.shape)
        if found != expected:
            theirs = f"{array.layer}/{array.name}"
            raise UnsuitableModelError(f"holds {theirs} of shape {found}, expected {expected} for {'/'.join(name)}.")
    for row, array in zip(variables, arrays, strict=True):
        row.variable.assign(array.value)
    for layer in flatten_layers(model):  # Keras does it only for the outermost layers of an `.h5` file
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return changes


def _iterate_variables(model: keras.Model, top: str = "") -> Iterator[ModelVariable]:
    """The variables of all layers, nested ones too, in the order of an `.h5` file."""
    for layer in model.layers:
        if not isinstance(layer, keras.Model):
            label, keys = f"{top}{layer.name}", _variable_keys(layer)
            for variable in (*layer.trainable_weights, *layer.non_trainable_weights):
                yield ModelVariable(label, layer, keys.get(id(variable), ""), variable)
            continue
        inner = list(_iterate_variables(layer, top or f"{layer.name}/"))
        trainable = {id(variable) for variable in layer.trainable_weights}
        yield from (row for row in inner if id(row.variable) in trainable)
        yield from (row for row in inner if id(row.variable) not in trainable)


def _variable_keys(layer, top: str = "") -> dict[int, str]:
    """The keys of a layer's variables in a `.keras` file, by their ids: `0`, or `cell/0` in a layer inside it."""
    keys = {id(variable): f"{top}{number}" for number, variable in enumerate(own_weights(layer))}
    for key, part in inner_layers(layer).items():
        keys |= _variable_keys(part, f"{top}{key}/")
    return keys


def _h5_name(row: ModelVariable, renamed: dict) -> str:
    """The name of a variable in an `.h5` file: `kernel`, or `forward/kernel` in a wrapper."""
    name = re.sub(r"^variable_\d+$", "variable", row.variable.name)  # of one without a name
    scopes = (INNER_LAYERS.get(part, "") for part in row.key.split("/")[:-1])
    return "/".join((*filter(None, scopes), renamed.get((type(row.layer).__name__, name), name)))


def _h5_name_from_path(path: list[str]) -> str:
    """The same name, from the part of a path in the file after the layer, such as `forward_gru/kernel`."""
    *scopes, name = path
    roles = [
        next((role for role in filter(None, INNER_LAYERS.values()) if _is_role(scope, role)), "") for scope in scopes
    ]
    return "/".join((*filter(None, roles), re.sub(r"^variable_\d+$", "variable", name)))


def _is_role(scope: str, role: str) -> bool:
    return scope == role or (role in ("forward", "backward") and scope.startswith(f"{role}_"))


def read_h5_group(root: h5py.Group, model: keras.Model) -> list[StoredArray]:
    """Read the arrays of a checked `.h5` file, in its order: a group a layer, names such as `net/conv1/kernel:0`."""
    leaves, found = {row.layer.name for row in _iterate_variables(model)}, []
    nested = {layer.name for layer in model.layers if isinstance(layer, keras.Model)}
    for group in read_names(root, "layer_names"):
        for weight in read_names(root[group], "weight_names"):
            path = weight.partition(":")[0].split("/")
            label = group.replace("/", ".")
            layer, rest = _split_path(path, leaves if group in nested else {label})
            if group in nested:
                label, rest = f"{group}/{layer or path[-2]}", rest if layer else path[-1:]
            value = np.asarray(root[group][weight])
            if value.dtype.kind == "V" and value.itemsize == 2:  # HDF5 has no bfloat16
                value = value.view(ml_dtypes.bfloat16).astype("float32")
            found.append(StoredArray(label, _h5_name_from_path(rest), value))
    return found


def _split_path(path: list[str], names: set[str]) -> tuple[str, list[str]]:
    """The last of some layer names in the path of a variable, in one part or more, and the rest of the path."""
    for end in range(len(path) - 1, 0, -1):
        for start in range(end):
            if (name := ".".join(path[start:end])) in names:
                return name, path[end:]
    return "", path


def read_archive(group: h5py.Group, entries: list[dict], top: str = "") -> list[StoredArray]:
    """Read the arrays of the HDF5 member of a checked `.keras` file.

    It calls layers by class and number, `conv2d_1`; their names are found by the order of the `entries` of the
    configuration.
    """
    root: Any = next((group[name] for name in ROOTS if name in group), {})
    found: list[StoredArray] = []
    seen: dict[str, int] = {}
    for entry in entries:
        kind = snake_case(entry["class_name"])
        number = seen[kind] = seen.get(kind, -1) + 1
        inner = root.get(f"{kind}_{number}" if number else kind)
        config = entry["config"]
        if inner is None:
            continue
        if isinstance(config, dict) and "layers" in config:
            found += read_archive(inner, config["layers"], top or f"{config['name']}/")
            continue
        name = f"{top}{config['name'].replace('/', '.')}"
        found += [StoredArray(name, key, value) for key, value in _iterate_arrays(inner)]
    return found


def _iterate_arrays(group: h5py.Group, top: str = ""):
    """(key, array) of a layer in an archive and of the layers inside it, with the keys of `_variable_keys`."""
    for key in sorted(group.get("vars", {}), key=int):
        yield f"{top}{key}", np.asarray(group["vars"][key])
    for key, inner in group.items():
        if key != "vars" and isinstance(inner, h5py.Group):
            yield from _iterate_arrays(inner, f"{top}{key}/")


def check_complete(group: h5py.Group, arrays: list[StoredArray]):
    """Raise `UnsuitableModelError` if an archive has more arrays than `read_archive` found."""
    held = []
    for root in filter(None, map(group.get, ROOTS)):
        root.visititems(lambda _, thing: held.append(isinstance(thing, h5py.Dataset) and thing.dtype.kind == "f"))
    found = sum(array.value.dtype.kind == "f" for array in arrays)
    if sum(held) > found:
        raise UnsuitableModelError(f"holds {sum(held)} tensors, expected {found}.")
