"""Layers as Keras 2 stores them, translated to layers of Keras 3.

tf_keras 2.21 and Keras 3.15 were compared: every activation, and the arguments, defaults and outputs of every layer.
All differences at inference are in this module:

==============================  ============================================  ====================================
in a file of Keras 2            means there                                   here
==============================  ============================================  ====================================
activation `hard_sigmoid`       clip(0.2 x + 0.5, 0, 1); in Keras 3           weights before it times 1.2, or a
                                clip(x / 6 + 0.5, 0, 1)                       `Rescaling`; not as `activation` of an
                                                                              LSTM, where no weights stand before it
`ThresholdedReLU(theta)`        x where it is above theta, else 0             `ReLU(threshold=theta)`
`LeakyReLU(alpha)`              the slope                                     `negative_slope`
`SyncBatchNormalization`        batch norm over all replicas                  `BatchNormalization(synchronized)`
`BatchNormalizationV1`, `V2`    batch norm, of TensorFlow 1.x                 `BatchNormalization`
`GRU` without `reset_after`     False: such a file is older than the knob     False; Keras 3 takes True
`RandomHeight`, `RandomWidth`   the identity, except in training              `Identity`
`UpSampling2D`, `Resizing`      also `gaussian` and `mitchellcubic`           refused
`time_major` recurrent layers   time before the batch                         refused
`LocallyConnected1D`, `2D`      kernels of each place                         refused
`Lambda`                        Python code                                   refused
==============================  ============================================  ====================================

What a file does not state is computed as in TensorFlow 2.21: before 2.0, bilinear upsampling sampled at other
positions; earlier versions raised the epsilon of a fused batch norm to 1.001e-5.
"""

import re
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from transferkit.adopt.graph import UnsuitableModelError
from transferkit.adopt.keras3_h5 import MODELS, layer_class
from transferkit.keras_internals import flatten_layers, own_weights
from transferkit.lookup import first_line

WAY_OUT = "save it from Keras 2 made of standard layers"
# Keys that Keras 3 does not know, with the values at which they have no effect; None is any value.
WITHOUT_EFFECT = {
    "batch_input_shape": None,
    "experimental_full_shape_inference": None,
    "force_generator": None,
    "fused": None,
    "groups": (1,),  # of transposed and depthwise convolutions; `KNOWN_BY` lists the layers that have them
    "implementation": None,
    "key_shape": None,
    "noise_shape": (None,),
    "query_shape": None,
    "ragged": (False, None),
    "renorm": (False,),
    "rng_type": None,
    "robust_masking": (False,),
    "softmax_robust_masking": (False,),
    "sparse": (False, None),
    "time_major": (False,),
    "value_shape": None,
    "virtual_batch_size": (None,),
}
KNOWN_BY = {"groups": ("GroupNormalization",)}
WITHOUT_TRAINABLE = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
RENAMED = {("LeakyReLU", "alpha"): "negative_slope", ("ThresholdedReLU", "theta"): "threshold"}
OTHER_CLASSES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "RandomHeight": "Identity",
    "RandomWidth": "Identity",
    "SyncBatchNormalization": "BatchNormalization",
    "ThresholdedReLU": "ReLU",
}
ADDED = {"GRU": {"reset_after": False}, "GRUCell": {"reset_after": False}}  # to a file that does not have them
ADDED |= {"SyncBatchNormalization": {"synchronized": True}}
SLOPE_RATIO = 1.2  # of the hard sigmoid of Keras 2, 1/5, to that of Keras 3, 1/6
# The activations that the columns of a cell's weights go into, in equal parts.
GATES = {
    "ConvLSTMCell": ("recurrent_activation", "recurrent_activation", "activation", "recurrent_activation"),
    "GRUCell": ("recurrent_activation", "recurrent_activation", "activation"),
    "LSTMCell": ("recurrent_activation", "recurrent_activation", "activation", "recurrent_activation"),
}


def translate_layer(entry: dict, name: str) -> layers.Layer | Callable:
    """Translate a layer that is not a model to a layer, or to a function of a tensor and keywords.

    Raises:
        UnsuitableModelError: Keras 3 does not have such a layer, or not with these arguments.
    """
    kind, config = entry["class_name"], entry["config"]
    stored = _to_keras3_entry(kind, config)
    try:
        made = layer_class(stored["class_name"]).from_config(stored["config"] | {"name": name})
    except Exception as error:  # whatever the class finds wrong with its configuration
        why = str(error).rpartition("Exception encountered: ")[2]
        reason = first_line(why, type(error).__name__)
        raise UnsuitableModelError(
            f"has a layer {config.get('name')!r} of class {kind!r} that Keras 3 does not accept ({reason})."
        ) from error
    if isinstance(made, layers.Activation) and made.activation is keras.activations.hard_sigmoid:
        before = layers.Rescaling(SLOPE_RATIO, name=f"{name}.slope")
        return lambda x, _: made(before(x))
    return made


def _to_keras3_entry(kind: str, config: dict) -> dict:
    """The entry of a layer as Keras 3 stores it."""
    known = layer_class(OTHER_CLASSES.get(kind, kind))
    if known is None or kind == "Lambda":
        what = "holds Python code" if kind == "Lambda" else "Keras 3 does not have"
        raise UnsuitableModelError(f"has a layer {config.get('name')!r} of class {kind!r}, which {what}: {WAY_OUT}.")
    told = ADDED.get(kind, {}) | _translate_config(kind, config)
    if known is layers.Identity:
        told = {key: told[key] for key in ("name", "trainable", "dtype") if key in told}
    if why := _describe_difference(kind, told):
        raise UnsuitableModelError(f"has a layer {config.get('name')!r} of class {kind!r} {why}: {WAY_OUT}.")
    return {"module": known.__module__, "class_name": known.__name__, "config": told, "registered_name": None}


def _translate_config(kind: str, config: dict) -> dict:
    """A layer's configuration with the keys and values of Keras 3."""
    told = {}
    for key, value in config.items():
        ignored = WITHOUT_EFFECT.get(key, ()) if kind not in KNOWN_BY.get(key, ()) else ()
        if ignored is None or value in ignored or (key == "trainable" and kind in WITHOUT_TRAINABLE):
            continue
        if key.endswith("_initializer") or (value is None and key.endswith(("_regularizer", "_constraint"))):
            continue  # the weights come from the file
        if key == "axis" and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if key == "dtype" and isinstance(value, dict):
            value = value["config"]["name"]
        if isinstance(value, dict) and set(value) == {"type", "value"}:  # a NumPy number
            value = value["value"]
        told[RENAMED.get((kind, key), key)] = _translate_value(value)
    return told


def _translate_value(value):
    """A value of a configuration, with the layers in it translated: of wrappers, cells and activations."""
    if isinstance(value, list):
        return [_translate_value(item) for item in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    kind = value["class_name"]
    if kind == "function":
        return value["config"]
    if kind in MODELS:
        raise UnsuitableModelError(
            f"has a layer around a whole model {value['config'].get('name')!r}, expected a layer: {WAY_OUT}."
        )
    is_layer = isinstance(value["config"], dict) and "trainable" in value["config"]
    return _to_keras3_entry(kind, value["config"]) if is_layer else value


def _describe_difference(kind: str, told: dict) -> str:
    """Why Keras 3 would compute something else than Keras 2 with this configuration; "" where it would not."""
    if told.get("time_major"):
        return "with time_major=True, expected the batch before the time"
    if re.fullmatch(r"LSTM(Cell)?|ConvLSTM\dD", kind) and told.get("activation") == "hard_sigmoid":
        return "with activation 'hard_sigmoid', which Keras 3 has with another slope, expected 'tanh' or another"
    if kind in ("UpSampling2D", "Resizing") and told.get("interpolation") in ("gaussian", "mitchellcubic"):
        return f"with interpolation {told['interpolation']!r}, which Keras 3 does not have, expected 'bilinear'"
    inside = told.get("layer") or {}
    if inside.get("class_name") == "Activation" and inside["config"].get("activation") == "hard_sigmoid":
        return "around an Activation 'hard_sigmoid', expected that Activation without it, which does the same"
    return ""


def scale_hard_sigmoids(model: keras.Model):
    """Scale the weights before every hard sigmoid, so that the flatter one of Keras 3 gives the outputs of Keras 2."""
    for inner in flatten_layers(model):
        gates = GATES.get(type(inner).__name__, ("activation",))
        are_hard = [getattr(inner, gate, None) is keras.activations.hard_sigmoid for gate in gates]
        for variable in own_weights(inner) if any(are_hard) else ():
            if variable.name != "depthwise_kernel":  # of a separable convolution: a factor in one kernel is enough
                factors = np.where(are_hard, SLOPE_RATIO, 1.0).repeat(variable.shape[-1] // len(gates))
                variable.assign(np.asarray(variable) * factors)
