"""A SavedModel folder of TensorFlow as a network that can predict but not learn: it has no layers to train."""

import math
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from transferkit import trust
from transferkit.adopt.conversion import DEFAULT_SIZE
from transferkit.adopt.preprocessing import UnknownPixels, affine_from_convention, pixels_from_affine
from transferkit.console import say
from transferkit.lookup import UnknownName, first_line
from transferkit.network import Network
from transferkit.weights.imagenet import placeholder_names

ENDPOINT = "serving_default"


def is_saved_model(path: Path) -> bool:
    return (path / "saved_model.pb").is_file()


def load_saved_model(path: Path, pixels: str) -> Network:
    """Wrap a SavedModel as a network. Its `head` is empty, because no layer of it can be replaced.

    Raises:
        UnknownName: the folder is not trusted.
        UnknownPixels: `pixels` is not given.
        ValueError: it cannot be read, or is not a classifier of pictures.
    """
    if not trust.is_allowed(path):
        raise UnknownName(
            f"{path} is a SavedModel, which is a program that would run here: if you trust its author, name it to "
            "predict, evaluate or extract with --trust."
        )
    if not pixels:
        raise UnknownPixels(
            f"{path} is a SavedModel, which does not say how pixels are scaled for it: give --pixels torch, caffe, tf, "
            "unit or raw."
        )
    say(f"{path} is a SavedModel: its program runs, as --trust allows.")
    try:
        layer = layers.TFSMLayer(str(path), call_endpoint=ENDPOINT)
        (given,) = layer.call_endpoint_fn.structured_input_signature[1].values()
    except Exception as error:  # TensorFlow raises all sorts
        raise ValueError(f"{path} cannot be used as a SavedModel with one input ({first_line(error)}).") from error
    shape = tuple(given.shape)
    if len(shape) != 4 or shape[3] not in (1, 3) or (shape[1] != shape[2] and None not in shape[1:3]):
        raise ValueError(f"{path} takes {shape}, expected square pictures (None, height, width, 1 or 3).")
    size, affine = shape[1] or shape[2], affine_from_convention(pixels, shape[3])
    pictures = keras.Input((size, size, shape[3]), name="pictures")
    x = layers.Rescaling(list(affine.scale), list(affine.offset), dtype="float32", name="pixels")(pictures)
    x = ops.flip(x, axis=-1) if affine.flip else x
    outputs = keras.tree.flatten(layer(ops.cast(x, given.dtype.name)))
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        raise ValueError(f"{path} gives {[tuple(x.shape) for x in outputs]}, expected the scores of classes alone.")
    logits, what = _as_logits(pictures, ops.cast(outputs[0], "float32"), size or DEFAULT_SIZE)
    model = keras.Model(pictures, logits, name="saved_model")
    loaded = ("a SavedModel, which can predict but not learn", f"its outputs are {what}", f"pixels: {pixels}, as told")
    return Network(
        model,
        pixels_from_affine(affine, size or DEFAULT_SIZE),
        placeholder_names(model.output_shape[1]),
        "",
        str(path),
        loaded,
    )


def _as_logits(pictures, scores, size: int):
    """Turn outputs into logits: whether they are probabilities is measured on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (4, size, size, pictures.shape[3])).astype("float32")
    found = np.asarray(keras.Model(pictures, scores)(noise, training=False))
    least = math.exp(-40)
    if scores.shape[1] == 1 and ((found >= 0) & (found <= 1)).all():
        both = ops.concatenate([1 - scores, scores], axis=-1)
        return ops.log(ops.maximum(both, least)), "the probability of class 1 against class 0"
    if scores.shape[1] == 1:
        return ops.concatenate([ops.zeros_like(scores), scores], axis=-1), "the logit of class 1 against class 0"
    if (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3):
        return ops.log(ops.maximum(scores, least)), "probabilities"
    return scores, "logits"
