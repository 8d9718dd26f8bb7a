"""The weights of a file put into a model that was built from its configuration: each once, or none."""

import re

import h5py
import keras
import ml_dtypes
import numpy as np

from transferkit.adopt.graph import Unfit
from transferkit.keras_internals import INNER_LAYERS, flatten_layers, inner_layers, own_weights, snake_case

# What Keras 2 calls a variable of Keras 3.
OTHER_NAMES = {(f"DepthwiseConv{rank}D", "kernel"): "depthwise_kernel" for rank in (1, 2)}
OTHER_NAMES[("LayerScale", "variable")] = "gamma"
ROOTS = "layers", "_layer_checkpoint_dependencies"  # of archives; the latter in those of TensorFlow 2.13
# Layer, below a nested model as "net/conv1"; name or number of the variable; values.
Found = list[tuple[str, str, np.ndarray]]


def fill(model: keras.Model, found: Found) -> list[str]:
    """Give a model its weights, by the names of the layers, else by order and shape.

    Returns:
        What was matched by order, for a person; nothing where all names were right.

    Raises:
        Unfit: the tensors do not fit; the model's weights are then as they were.
    """
    found = [(layer, name, value) for layer, name, value in found if value.dtype.kind == "f"]  # others count, or draw
    numbered = all(name.rpartition("/")[2].isdigit() for _, name, _ in found)
    wanted = [row for row in _variables(model) if row[3].dtype.startswith(("float", "bfloat"))]
    by_name = {(layer, name): value for layer, name, value in found}
    for others in ({}, OTHER_NAMES):
        names = [
            (label, key if numbered else _name(layer, key, variable, others)) for label, layer, key, variable in wanted
        ]
        if set(names) == set(by_name):
            break
    shapes, changes = [tuple(variable.shape) for *_, variable in wanted], []
    if len(by_name) == len(found) and len(set(names)) == len(names) and set(names) == set(by_name):
        found = [(*name, by_name[name]) for name in names]
    else:
        pairs = {ours[0]: theirs[0] for ours, theirs in zip(names, found, strict=False)}
        told = ", ".join(f"{ours} from {theirs}" for ours, theirs in pairs.items() if ours != theirs)
        changes = [f"weights matched by order: {told or 'all names agree'}"]
    if len(names) != len(found):
        raise Unfit(f"holds {len(found)} tensors, expected {len(names)}.")
    for ours, shape, (*theirs, value) in zip(names, shapes, found, strict=True):
        if value.shape != shape:
            theirs = "/".join(theirs)
            raise Unfit(f"holds {theirs} of shape {value.shape}, expected {shape} for {'/'.join(ours)}.")
    for (*_, variable), (*_, value) in zip(wanted, found, strict=True):
        variable.assign(value)
    for layer in flatten_layers(model):  # Keras itself does it for the outermost layers of an `.h5` file alone
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return changes


def _variables(model: keras.Model, top: str = ""):
    """(label, layer, key in it, variable) of all layers, nested ones too, in the order of an `.h5` file.

    The label is the layer's name, after that of the outermost nested model it stands in.
    """
    for layer in model.layers:
        if not isinstance(layer, keras.Model):
            label, keys = f"{top}{layer.name}", _keys(layer)
            ordered = (*layer.trainable_weights, *layer.non_trainable_weights)
            yield from ((label, layer, keys.get(id(variable), ""), variable) for variable in ordered)
            continue
        inner = list(_variables(layer, top or f"{layer.name}/"))
        learns = {id(variable) for variable in layer.trainable_weights}
        yield from (row for row in inner if id(row[3]) in learns)
        yield from (row for row in inner if id(row[3]) not in learns)


def _keys(layer, top: str = "") -> dict[int, str]:
    """What a `.keras` file calls the variables of a layer, by their ids: `0`, or `cell/0` where they are further in."""
    keys = {id(variable): f"{top}{number}" for number, variable in enumerate(own_weights(layer))}
    for key, part in inner_layers(layer).items():
        keys |= _keys(part, f"{top}{key}/")
    return keys


def _name(layer, key: str, variable, others: dict) -> str:
    """The name by which a variable is matched with an `.h5` file: `kernel`, or `forward/kernel` in a wrapper."""
    name = re.sub(r"^variable_\d+$", "variable", variable.name)  # of one that was given no name
    scopes = (INNER_LAYERS.get(part, "") for part in key.split("/")[:-1])
    return "/".join((*filter(None, scopes), others.get((type(layer).__name__, name), name)))


def _name_in_file(path: list[str]) -> str:
    """The same name, from the part of a path in the file that comes after the layer, such as `forward_gru/kernel`."""
    *scopes, name = path
    roles = [
        next((role for role in filter(None, INNER_LAYERS.values()) if _is_role(scope, role)), "") for scope in scopes
    ]
    return "/".join((*filter(None, roles), re.sub(r"^variable_\d+$", "variable", name)))


def _is_role(scope: str, role: str) -> bool:
    return scope == role or (role in ("forward", "backward") and scope.startswith(f"{role}_"))


def of_group(root: h5py.Group, model: keras.Model) -> Found:
    """The arrays of a checked `.h5` file, in its order: groups by layer, and names as `net/conv1/kernel:0`."""
    leaves, found = {layer.name for _, layer, *_ in _variables(model)}, []
    nested = {layer.name for layer in model.layers if isinstance(layer, keras.Model)}
    for group in _listed(root, "layer_names"):
        for weight in _listed(root[group], "weight_names"):
            path = weight.partition(":")[0].split("/")
            label = group.replace("/", ".")
            layer, rest = _layer_in(path, leaves if group in nested else {label})
            if group in nested:
                label, rest = f"{group}/{layer or path[-2]}", rest if layer else path[-1:]
            value = np.asarray(root[group][weight])
            if value.dtype.kind == "V" and value.itemsize == 2:  # HDF5 has no bfloat16
                value = value.view(ml_dtypes.bfloat16).astype("float32")
            found.append((label, _name_in_file(rest), value))
    return found


def _layer_in(path: list[str], names: set[str]) -> tuple[str, list[str]]:
    """The last of some layers that the path of a variable names, in one part or more, and what comes after it."""
    for end in range(len(path) - 1, 0, -1):
        for start in range(end):
            if (name := ".".join(path[start:end])) in names:
                return name, path[end:]
    return "", path


def _listed(group: h5py.Group, key: str) -> list[str]:
    """A list of names in an attribute; a long one is cut in pieces, `key0`, `key1` and so on."""
    pieces = [key] if key in group.attrs else []
    while key not in group.attrs and f"{key}{len(pieces)}" in group.attrs:
        pieces.append(f"{key}{len(pieces)}")
    names = [name for piece in pieces for name in np.ravel(group.attrs[piece]).tolist()]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def of_archive(group: h5py.Group, entries: list[dict], top: str = "") -> Found:
    """The arrays of the HDF5 member of a checked `.keras` file.

    It calls layers by their class and number, `conv2d_1`, in the order of the configuration's `entries`, so that the
    names come from there.
    """
    root = next((group[name] for name in ROOTS if name in group), {})
    found, seen = [], {}
    for entry in entries:
        kind = snake_case(entry["class_name"])
        number = seen[kind] = seen.get(kind, -1) + 1
        inner = root.get(f"{kind}_{number}" if number else kind)
        config = entry["config"]
        if inner is None:
            continue
        if isinstance(config, dict) and "layers" in config:
            found += of_archive(inner, config["layers"], top or f"{config['name']}/")
            continue
        name = f"{top}{config['name'].replace('/', '.')}"
        found += [(name, key, value) for key, value in _arrays(inner)]
    return found


def _arrays(group: h5py.Group, top: str = ""):
    """(key, array) of a layer in an archive, with those of the layers in it, as `_keys` calls them."""
    for key in sorted(group.get("vars", {}), key=int):
        yield f"{top}{key}", np.asarray(group["vars"][key])
    for key, inner in group.items():
        if key != "vars" and isinstance(inner, h5py.Group):
            yield from _arrays(inner, f"{top}{key}/")


def check_all(group: h5py.Group, found: Found):
    """Raise `Unfit` if an archive has more arrays than `of_archive` found for the layers of a configuration."""
    held = []
    for root in filter(None, map(group.get, ROOTS)):
        root.visititems(lambda _, thing: held.append(isinstance(thing, h5py.Dataset) and thing.dtype.kind == "f"))
    told = sum(value.dtype.kind == "f" for *_, value in found)
    if sum(held) > told:
        raise Unfit(f"holds {sum(held)} tensors, expected {told}.")
