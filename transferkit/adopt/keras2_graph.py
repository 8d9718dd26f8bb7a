"""Build a model of Keras 3 layers from the graph that Keras 2 stores.

Keras 3 refuses most of these files. The graph is traversed here because the two versions count the calls of a nested
model differently; `keras2_layers` and `keras2_functions` translate its nodes.
"""

import keras
from keras import layers

from transferkit.adopt import array_assignment, keras2_layers
from transferkit.adopt.graph import UnsuitableModelError
from transferkit.adopt.keras2_functions import translate_function
from transferkit.adopt.keras2_layers import WAY_OUT
from transferkit.adopt.keras3_h5 import MODELS


def build_model(entry: dict) -> keras.Model:
    """Build a model, with fresh weights, from the configuration that Keras 2 stored.

    Raises:
        UnsuitableModelError: Keras 3 does not have a layer's class, or an option that it uses.
    """
    config = entry["config"]
    if isinstance(config, list):  # of a Sequential model in early versions
        config = {"name": "sequential", "layers": config}
    if entry["class_name"] == "Sequential":
        return _build_sequential(config)
    if entry["class_name"] in MODELS:
        return _build_functional(config)
    raise UnsuitableModelError(
        f"is a model of class {entry['class_name']!r}, whose call no file holds: {WAY_OUT}, as a functional or "
        "Sequential model."
    )


def assign_keras2_weights(model: keras.Model, arrays: list[array_assignment.StoredArray]) -> list[str]:
    """Assign weights to a model that was built here; see `array_assignment.assign_arrays`."""
    changes = array_assignment.assign_arrays(model, arrays)
    keras2_layers.scale_hard_sigmoids(model)
    return changes


def _build_sequential(config: dict) -> keras.Model:
    entries = config["layers"]
    shape = _input_shape(entries[0]["config"]) if entries else None
    made = [_translate_entry(entry) for entry in entries if entry["class_name"] != "InputLayer"]
    if not shape and made and entries[0]["class_name"] in MODELS:
        shape = made[0].input_shape
    shape = shape or config.get("build_input_shape")
    if not shape:
        raise UnsuitableModelError("does not say the shape of its pictures: its first layer has no input_shape.")
    given = x = keras.Input(batch_shape=shape)
    for layer in made:
        x = _call_layer(layer, x, {})
    return keras.Model(given, x, name=_valid_name(config["name"]))


def _build_functional(config: dict) -> keras.Model:
    """Call every layer as soon as its inputs are computed; a shared layer is called several times."""
    made, results, waiting = {}, {}, []
    for entry in config["layers"]:
        name = entry.get("name") or entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            inside = entry["config"]
            dtype = inside.get("dtype") or "float32"
            results[name, 0] = keras.Input(batch_shape=_input_shape(inside), dtype=dtype, name=_valid_name(name))
        else:
            made[name] = _translate_entry(entry)
            # the calls of a model are counted from 1 there: its own making was the first
            first = int(entry["class_name"] in MODELS and _is_built(entry))
            waiting += [(name, number, node) for number, node in enumerate(entry["inbound_nodes"], start=first)]
    while waiting:
        later = []
        for name, number, node in waiting:
            refs = _references(node)
            if all((ref[0], ref[1]) in results for ref in refs if ref[0] != "_CONSTANT_VALUE"):
                results[name, number] = _call_node(made[name], node, results)
            else:
                later.append((name, number, node))
        if len(later) == len(waiting):
            raise UnsuitableModelError(f"is damaged: what its layer {later[0][0]!r} is called on is not in it.")
        waiting = later
    ends = [_find_result(ref, results) for ref in _as_list(config["output_layers"])]
    starts = [_find_result(ref, results) for ref in _as_list(config["input_layers"])]
    starts, ends = (tensors if len(tensors) > 1 else tensors[0] for tensors in (starts, ends))
    return keras.Model(starts, ends, name=_valid_name(config["name"]))


def _as_list(references: list) -> list:
    """A list of references; a single one may be stored without the list."""
    return [references] if references and isinstance(references[0], str) else references


def _is_built(entry: dict) -> bool:
    inner = entry["config"]["layers"] if isinstance(entry["config"], dict) else entry["config"]
    return entry["class_name"] != "Sequential" or bool(inner and _input_shape(inner[0]["config"]))


def _references(node: list) -> list:
    """[name, call, output] of all inputs of a call, those in keywords too."""
    heads = _as_list(node)
    keywords = [value for head in heads for value in (head[3].values() if len(head) > 3 else ())]
    return [*heads, *(value for value in keywords if _is_reference(value))]


def _is_reference(value) -> bool:
    is_list = isinstance(value, list) and len(value) == 3
    return is_list and isinstance(value[0], str) and all(isinstance(number, int) for number in value[1:])


def _find_result(reference: list, results: dict):
    if reference[0] == "_CONSTANT_VALUE":
        return reference[2]
    found = results[reference[0], reference[1]]
    return found[reference[2]] if isinstance(found, list | tuple) else found


def _call_node(layer, node: list, results: dict):
    heads = _as_list(node)
    given = [_find_result(head, results) for head in heads]
    keywords = heads[0][3] if len(heads[0]) > 3 else {}
    keywords = {key: _find_result(value, results) if _is_reference(value) else value for key, value in keywords.items()}
    if isinstance(layer, keras.Model):
        keywords = {}
    elif isinstance(layer, layers.RNN | layers.Bidirectional) and len(given) > 1:
        keywords["initial_state"] = given[1:]
        given = given[:1]
    return _call_layer(layer, given[0] if len(given) == 1 else given, keywords)


def _call_layer(layer, given, keywords: dict):
    """Call a layer or a function; keywords that are None are not passed on."""
    if not isinstance(layer, layers.Layer):
        return layer(given, keywords)
    return layer(given, **{key: value for key, value in keywords.items() if value is not None})


def _translate_entry(entry: dict):
    """Translate an entry to a layer, a model, or a function of a tensor and keywords."""
    kind, config = entry["class_name"], entry["config"]
    if kind in MODELS:
        return build_model(entry)
    name = _valid_name(config["name"])
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        return translate_function(config, name, WAY_OUT)
    return keras2_layers.translate_layer(entry, name)


def _input_shape(config: dict | list):
    """The shape of a batch that a layer's configuration states, or None."""
    return (config.get("batch_input_shape") or config.get("batch_shape")) if isinstance(config, dict) else None


def _valid_name(name: str) -> str:
    """A name that Keras 3 allows."""
    return name.replace("/", ".")
