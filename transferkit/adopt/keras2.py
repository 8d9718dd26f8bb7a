"""The configuration that Keras 2 stores of a model, read as Keras 3 layers.

Keras 3 itself refuses most of these files. What differs is in the tables here; the graph is followed by us, since the
two versions count the calls of a nested model differently.
"""

import keras
import numpy as np
from keras import layers, ops

from transferkit.adopt.graph import Unfit

MODELS = ("Functional", "Model", "Sequential")
# Keys of layers that Keras 3 does not know, with the values at which they say nothing; None is any value.
WITHOUT_MEANING = {
    "batch_input_shape": None,
    "experimental_full_shape_inference": None,
    "force_generator": None,
    "fused": None,
    "groups": (1,),
    "implementation": None,
    "ragged": (False, None),
    "renorm": (False,),
    "rng_type": None,
    "sparse": (False, None),
    "time_major": (False,),
    "virtual_batch_size": (None,),
}
RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}
# Functions of TensorFlow called on the tensors of a model: what does the same.
ARITHMETIC = {
    "__operators__.add": "add",
    "math.add": "add",
    "math.divide": "divide",
    "math.multiply": "multiply",
    "math.subtract": "subtract",
    "math.truediv": "divide",
    "nn.bias_add": "add",
}
ACTIVATIONS = {"math.sigmoid": "sigmoid", "nn.relu": "relu", "nn.relu6": "relu6", "nn.silu": "silu"}
ACTIVATIONS |= {"nn.softmax": "softmax", "cast": "linear", "identity": "linear", "stop_gradient": "linear"}
WAY_OUT = "save it from Keras 2 made of standard layers"


def model_of(entry: dict) -> keras.Model:
    """Build a model, with fresh weights, from the configuration that Keras 2 stored.

    Raises:
        Unfit: a layer is of a class that Keras 3 has not, or set to what it cannot do.
    """
    config = entry["config"]
    if isinstance(config, list):  # of a Sequential model in early versions
        config = {"name": "sequential", "layers": config}
    if entry["class_name"] == "Sequential":
        return _sequential(config)
    if entry["class_name"] in MODELS:
        return _functional(config)
    raise Unfit(
        f"is a model of class {entry['class_name']!r}, whose call no file holds: {WAY_OUT}, as a functional or "
        "Sequential model."
    )


def _sequential(config: dict) -> keras.Model:
    entries = config["layers"]
    shape = _shape(entries[0]["config"]) if entries else None
    made = [_layer(entry) for entry in entries if entry["class_name"] != "InputLayer"]
    if not shape and made and entries[0]["class_name"] in MODELS:
        shape = made[0].input_shape
    shape = shape or config.get("build_input_shape")
    if not shape:
        raise Unfit("does not say the shape of its pictures: its first layer has no input_shape.")
    given = x = keras.Input(batch_shape=shape)
    for layer in made:
        x = layer(x)
    return keras.Model(given, x, name=_plain(config["name"]))


def _functional(config: dict) -> keras.Model:
    """Every layer is called as soon as its inputs are there; one that is shared, several times."""
    made, results, waiting = {}, {}, []
    for entry in config["layers"]:
        name = entry.get("name") or entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            inside = entry["config"]
            dtype = inside.get("dtype") or "float32"
            results[name, 0] = keras.Input(batch_shape=_shape(inside), dtype=dtype, name=_plain(name))
        else:
            made[name] = _layer(entry)
            # the calls of a model are counted from 1 there: its own making was the first
            first = int(entry["class_name"] in MODELS and _is_built(entry))
            waiting += [(name, number, node) for number, node in enumerate(entry["inbound_nodes"], start=first)]
    while waiting:
        later = []
        for name, number, node in waiting:
            refs = _references(node)
            if all((ref[0], ref[1]) in results for ref in refs if ref[0] != "_CONSTANT_VALUE"):
                results[name, number] = _called(made[name], node, results)
            else:
                later.append((name, number, node))
        if len(later) == len(waiting):
            raise Unfit(f"is damaged: what its layer {later[0][0]!r} is called on is not in it.")
        waiting = later
    ends = [_result(ref, results) for ref in _list_of(config["output_layers"])]
    starts = [_result(ref, results) for ref in _list_of(config["input_layers"])]
    starts, ends = (tensors if len(tensors) > 1 else tensors[0] for tensors in (starts, ends))
    return keras.Model(starts, ends, name=_plain(config["name"]))


def _list_of(references: list) -> list:
    """References as a list, where a lone one may stand without."""
    return [references] if references and isinstance(references[0], str) else references


def _is_built(entry: dict) -> bool:
    inner = entry["config"]["layers"] if isinstance(entry["config"], dict) else entry["config"]
    return entry["class_name"] != "Sequential" or bool(inner and _shape(inner[0]["config"]))


def _references(node: list) -> list:
    """[name, call, output] of all that a call takes, in keywords too."""
    heads = _list_of(node)
    keywords = [value for head in heads for value in (head[3].values() if len(head) > 3 else ())]
    return [*heads, *(value for value in keywords if _is_reference(value))]


def _is_reference(value) -> bool:
    is_list = isinstance(value, list) and len(value) == 3
    return is_list and isinstance(value[0], str) and all(isinstance(number, int) for number in value[1:])


def _result(reference: list, results: dict):
    if reference[0] == "_CONSTANT_VALUE":
        return reference[2]
    found = results[reference[0], reference[1]]
    return found[reference[2]] if isinstance(found, list | tuple) else found


def _called(layer, node: list, results: dict):
    heads = _list_of(node)
    given = [_result(head, results) for head in heads]
    keywords = heads[0][3] if len(heads[0]) > 3 else {}
    keywords = {key: _result(value, results) if _is_reference(value) else value for key, value in keywords.items()}
    first = given[0] if len(given) == 1 else given
    if isinstance(layer, layers.Layer):
        kept = (
            {} if isinstance(layer, keras.Model) else {key: keywords[key] for key in ("training",) if key in keywords}
        )
        return layer(first, **kept)
    return layer(first, keywords)


def _layer(entry: dict):
    """A layer, a model, or a function of a tensor and keywords."""
    kind, config = entry["class_name"], entry["config"]
    if kind in MODELS:
        return model_of(entry)
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        return _function(config)
    known = getattr(layers, kind, None)
    if not isinstance(known, type) or not issubclass(known, layers.Layer) or kind == "Lambda":
        what = "holds Python code" if kind == "Lambda" else "Keras 3 does not have"
        raise Unfit(f"has a layer {config.get('name')!r} of class {kind!r}, which {what}: {WAY_OUT}.")
    try:
        return known.from_config(_translated(kind, config))
    except Exception as error:  # whatever the class finds wrong with its configuration
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise Unfit(
            f"has a layer {config.get('name')!r} of class {kind!r} that Keras 3 does not take ({first})."
        ) from error


def _translated(kind: str, config: dict) -> dict:
    """A layer's configuration in the words of Keras 3."""
    told = {}
    for key, value in config.items():
        if key in WITHOUT_MEANING and (WITHOUT_MEANING[key] is None or value in WITHOUT_MEANING[key]):
            continue
        if key.endswith("_initializer") or (value is None and key.endswith(("_regularizer", "_constraint"))):
            continue  # the weights come from the file
        if key == "axis" and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if key == "dtype" and isinstance(value, dict):
            value = value["config"]["name"]
        if key == "name":
            value = _plain(value)
        if isinstance(value, dict) and value.get("class_name") == "function":
            value = value["config"]
        told[RENAMED.get((kind, key), key)] = value
    return told


def _function(config: dict):
    """What does the same as a function of TensorFlow, on a tensor and the keywords of the call."""
    function, name = config.get("function"), _plain(config["name"])
    if function == "__operators__.getitem":
        return lambda x, given: x[tuple(map(_slice, _list_of_slices(given["slice_spec"])))]
    if function == "math.reduce_mean":
        return lambda x, given: ops.mean(x, axis=given.get("axis"), keepdims=bool(given.get("keepdims")))
    if function == "concat":
        return lambda x, given: layers.Concatenate(axis=given["axis"], name=name)(x)
    if function in ACTIVATIONS:
        return lambda x, given: layers.Activation(ACTIVATIONS[function], name=name)(x)
    if function in ARITHMETIC:
        return lambda x, given: _arithmetic(ARITHMETIC[function], x, given["bias" if "bias" in given else "y"], name)
    raise Unfit(f"calls tf.{function} on its tensors, for which nothing of Keras 3 is known here: {WAY_OUT}.")


def _arithmetic(kind: str, x, y, name: str):
    """Two tensors, or a tensor and a number or a number a channel, which is a Rescaling."""
    if all(isinstance(side, keras.KerasTensor) for side in (x, y)):
        if kind == "divide":
            return ops.divide(x, y)
        return {"add": layers.Add, "multiply": layers.Multiply, "subtract": layers.Subtract}[kind](name=name)([x, y])
    tensor, number = (x, y) if isinstance(x, keras.KerasTensor) else (y, x)
    number, turned = np.array(number, "float64"), tensor is y
    if kind == "divide" and turned:
        return ops.divide(number.astype("float32"), tensor)
    scale, offset = {
        "add": (1.0, number),
        "subtract": (-1.0, number) if turned else (1.0, -number),
        "multiply": (number, 0.0),
        "divide": (1 / np.where(number == 0, np.nan, number), 0.0),
    }[kind]
    return layers.Rescaling(np.asarray(scale).tolist(), np.asarray(offset).tolist(), name=name)(tensor)


def _list_of_slices(spec) -> list:
    return spec if isinstance(spec, list) else [spec]


def _slice(part):
    if not isinstance(part, dict):
        return part
    return ... if part.get("class_name") == "__ellipsis__" else slice(part["start"], part["stop"], part["step"])


def _shape(config: dict | list):
    """The shape of a batch that a layer's configuration states, or None."""
    return (config.get("batch_input_shape") or config.get("batch_shape")) if isinstance(config, dict) else None


def _plain(name: str) -> str:
    """A name that Keras 3 allows."""
    return name.replace("/", ".")
