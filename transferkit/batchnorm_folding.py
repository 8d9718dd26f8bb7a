"""Batch norm folded into the convolution before it: the same answers, from fewer steps."""

import keras
import numpy as np

from transferkit.network import remade


def folded(model: keras.Model) -> keras.Model:
    """A copy for inference of a flat functional model, its norms folded into the convolutions that feed them alone.

    A norm at inference multiplies and adds a constant to each map, which the kernel and the bias before it can do. The
    folded norms stay as `Identity` layers of their names; the logits are the same to rounding.
    """
    norms = {conv.name: norm for conv, norm in _pairs(model)}
    if not norms:
        return model
    gone = {norm.name for norm in norms.values()}

    def clone(layer):
        if layer.name in gone:
            return keras.layers.Identity(name=layer.name)
        return remade(layer, **{"use_bias": True} if layer.name in norms else {})

    def call(layer, *args, **kwargs):
        return layer(args[0]) if layer.name in gone else layer(*args, **kwargs)  # a norm may be called with a mask

    bare = keras.Model(model.input, model.output, name=model.name)  # a clone of a compiled model would be compiled
    copy = keras.models.clone_model(bare, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.name in norms:
            copy.get_layer(layer.name).set_weights(_merged(layer, norms[layer.name]))
        elif layer.name not in gone and layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _pairs(model):
    """Every convolution whose output goes to a norm and nowhere else, with that norm."""
    used = [id(tensor) for tensor in keras.tree.flatten(model.output)]
    used += [id(tensor) for operation in model.operations for tensor in keras.tree.flatten(operation.input)]
    convs = {
        id(layer.output): layer
        for layer in model.layers
        if type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D) and _linear(layer)
    }
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3):
            tensor = id(layer.input)
            if tensor in convs and used.count(tensor) == 1:
                yield convs[tensor], layer


def _linear(layer) -> bool:
    return layer.activation is keras.activations.linear and layer.data_format == "channels_last"


def _merged(conv, norm) -> list[np.ndarray]:
    """Kernel and bias of the convolution that does what the two do."""
    kernel, bias = conv.get_weights() if conv.use_bias else (*conv.get_weights(), 0.0)
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    scale = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    shift = (np.asarray(norm.beta) if norm.center else 0.0) + (bias - mean) * scale
    by_map = scale[:, None] if isinstance(conv, keras.layers.DepthwiseConv2D) else scale  # (h, w, maps, 1)
    return [kernel * by_map, shift]
