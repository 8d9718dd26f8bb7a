"""A SavedModel folder of TensorFlow as a network that predicts, and no more: it has no layers to train."""

import math
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from transferkit import trust
from transferkit.adopt.conversion import SIDE
from transferkit.adopt.preprocessing import UnknownPixels, as_pixels, convention
from transferkit.console import say
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.weights.imagenet import unnamed

ENDPOINT = "serving_default"


def is_one(path: Path) -> bool:
    return (path / "saved_model.pb").is_file()


def network_of(path: Path, pixels: str) -> Network:
    """Wrap a SavedModel; its head has no name, for nothing of it can be replaced.

    Raises:
        UnknownName: the folder is not trusted.
        UnknownPixels: `pixels` is not given.
        ValueError: it cannot be read, or is no classifier of pictures.
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
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(f"{path} cannot be used as a SavedModel with one input ({first}).") from error
    shape = tuple(given.shape)
    if len(shape) != 4 or shape[3] not in (1, 3) or (shape[1] != shape[2] and None not in shape[1:3]):
        raise ValueError(f"{path} takes {shape}, expected square pictures (None, height, width, 1 or 3).")
    side, affine = shape[1] or shape[2], convention(pixels, shape[3])
    pictures = keras.Input((side, side, shape[3]), name="pictures")
    x = layers.Rescaling(list(affine.scale), list(affine.offset), dtype="float32", name="pixels")(pictures)
    x = ops.flip(x, axis=-1) if affine.flip else x
    outputs = keras.tree.flatten(layer(ops.cast(x, given.dtype.name)))
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        raise ValueError(f"{path} gives {[tuple(x.shape) for x in outputs]}, expected the scores of classes alone.")
    logits, what = _as_logits(pictures, ops.cast(outputs[0], "float32"), side or SIDE)
    model = keras.Model(pictures, logits, name="saved_model")
    loaded = ("a SavedModel, which can predict but not learn", f"its outputs are {what}", f"pixels: {pixels}, as told")
    return Network(model, as_pixels(affine, side or SIDE), unnamed(model.output_shape[1]), "", str(path), loaded)


def _as_logits(pictures, scores, side: int):
    """Logits of scores that may be probabilities already, which is found by trying them on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (4, side, side, pictures.shape[3])).astype("float32")
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
