"""Functions of TensorFlow that a Keras 2 model calls on its tensors, translated to Keras 3."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from transferkit.adopt.graph import UnsuitableModelError

# By the name in a file, two tensors, or a tensor and a number or a number a channel.
ARITHMETIC = {
    "__operators__.add": "add",
    "math.add": "add",
    "math.divide": "divide",
    "math.multiply": "multiply",
    "math.subtract": "subtract",
    "math.truediv": "divide",
    "nn.bias_add": "add",
}
LAYERS = {"math.sigmoid": "sigmoid", "nn.relu": "relu", "nn.relu6": "relu6", "identity": "linear"}
LAYERS |= {"stop_gradient": "linear"}
# The keywords are those of TensorFlow: a keyword that is not here is refused, not ignored.
FUNCTIONS = {
    "cast": lambda x, dtype: x if "float" in dtype else ops.cast(x, dtype),
    "clip_by_value": lambda x, clip_value_min, clip_value_max: ops.clip(x, clip_value_min, clip_value_max),
    "math.abs": ops.abs,
    "math.exp": ops.exp,
    "math.negative": ops.negative,
    "math.reduce_mean": lambda x, axis=None, keepdims=False: ops.mean(x, axis=axis, keepdims=keepdims),
    "math.sqrt": ops.sqrt,
    "math.square": ops.square,
    "math.tanh": ops.tanh,
    "nn.elu": ops.elu,
    "nn.gelu": lambda x, approximate=False: ops.gelu(x, approximate),
    "nn.leaky_relu": lambda x, alpha=0.2: ops.leaky_relu(x, alpha),
    "nn.selu": ops.selu,
    "nn.silu": lambda x, beta=1.0: ops.silu(x) if beta == 1 else x * ops.sigmoid(beta * x),
    "nn.softmax": lambda x, axis=-1: layers.Softmax()(x) if axis in (-1, len(x.shape) - 1) else ops.softmax(x, axis),
    "math.softplus": ops.softplus,
    "reshape": lambda x, shape: ops.reshape(x, shape),
}


def translate_function(config: dict, name: str, way_out: str) -> Callable:
    """Translate a function of TensorFlow to a function of a tensor and the keywords of the call.

    Raises:
        UnsuitableModelError: the function is not known here; for an unknown keyword the call raises it.
    """
    called = config.get("function")
    if called == "__operators__.getitem":
        return lambda x, given: x[tuple(map(_parse_slice, _as_list(given["slice_spec"])))]
    if called == "concat":
        return lambda x, given: layers.Concatenate(axis=given["axis"], name=name)(x)
    if called in LAYERS:
        return lambda x, given: layers.Activation(LAYERS[called], name=name)(x)
    if called in ARITHMETIC:
        return lambda x, given: _translate_arithmetic(
            ARITHMETIC[called], x, given["bias" if "bias" in given else "y"], name
        )
    if called not in FUNCTIONS:
        raise UnsuitableModelError(
            f"calls tf.{called} on its tensors, for which nothing of Keras 3 is known here: {way_out}."
        )

    def call(x, given):
        keywords = {key: value for key, value in given.items() if key != "name" and value is not None}
        try:
            return FUNCTIONS[called](x, **keywords)
        except TypeError as error:
            told = ", ".join(f"{key}={value}" for key, value in keywords.items())
            raise UnsuitableModelError(
                f"calls tf.{called} with {told}, which nothing of Keras 3 does here: {way_out}."
            ) from error

    return call


def _translate_arithmetic(kind: str, x, y, name: str):
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


def _as_list(spec) -> list:
    return spec if isinstance(spec, list) else [spec]


def _parse_slice(part):
    if not isinstance(part, dict):
        return part
    return ... if part.get("class_name") == "__ellipsis__" else slice(part["start"], part["stop"], part["step"])
