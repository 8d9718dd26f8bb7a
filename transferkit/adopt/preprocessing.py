"""The preprocessing inside a model, before its first layer with weights, and the pixel convention that it expects."""

import re
from dataclasses import dataclass

import keras
import numpy as np

from transferkit.adopt.graph import (
    Graph,
    LayerCall,
    UnsuitableModelError,
    find_cut_positions,
    is_augmentation,
    is_identity,
    layer_weights,
    rebuild_steps,
)
from transferkit.lookup import UnknownName
from transferkit.pixels import CONVENTIONS, Pixels

GEOMETRY = ("Resizing", "CenterCrop", "RandomCrop")
# The pixel conventions of keras.applications, by the names of its models; "" where the model scales pixels itself.
BY_NAME = {
    r"vgg(16|19)|resnet(50|101|152)": "caffe",
    r"densenet(121|169|201)": "torch",
    r"resnet(50|101|152)v2|inception_v3|inception_resnet_v2|xception|mobilenet(v2)?_.*|nasnet(_.*)?": "tf",
    r"efficientnet.*|convnext_.*|mobilenetv3.*": "",
}
MAX_RANGE = 32.0  # between the scaled values of black and white in a network; 2 to 5 in most


class UnknownPixels(UnknownName):
    """The pixel convention of a model is neither recognised nor given."""


@dataclass(frozen=True)
class Affine:
    """scale * pixels + offset for each channel, then perhaps the channels in reverse order."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    flip: bool = False

    def then(self, after: "Affine") -> "Affine":
        """This transform, followed by another."""
        scale, offset = (np.array(part[::-1] if self.flip else part) for part in (after.scale, after.offset))
        both = scale * self.offset + offset
        return Affine(tuple((scale * self.scale).tolist()), tuple(both.tolist()), self.flip != after.flip)


@dataclass(frozen=True)
class Preprocessing:
    """The first steps of a model, which only scale, shift and resize.

    Attributes:
        steps: number of steps.
        affine: what they do to pixels; None where they change nothing.
        size: size of the pictures in pixels after a layer that resizes; None without one.
        kinds: the kinds of layers, for a message.
    """

    steps: int
    affine: Affine | None
    size: int | None
    kinds: tuple[str, ...]


def affine_from_convention(name: str, channels: int) -> Affine:
    """The transform of raw RGB pixels in a convention; a grey picture gets the mean of the three channels."""
    pixels, caffe = CONVENTIONS[name], name == "caffe"
    mean, std = (np.array(values) for values in (pixels.mean, pixels.std))
    if channels == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    return Affine(tuple((1 / std).tolist()), tuple((-mean / std).tolist()), caffe and channels == 3)


def pixels_from_affine(affine: Affine, crop: int) -> Pixels:
    """The `Pixels` of a network that begins with this transform."""
    scale, offset = np.array(affine.scale), np.array(affine.offset)
    mean, std = (tuple(float(f"{value:.7g}") + 0.0 for value in values) for values in (-offset / scale, 1 / scale))
    return Pixels(mean, std, crop, round(crop / 0.875))


def find_preprocessing(graph: Graph) -> Preprocessing:
    """Find the longest run of first steps that only scale and shift all pixels of a channel alike."""
    steps = graph.steps
    length = next((i for i, step in enumerate(steps) if not _is_preprocessing_step(step)), len(steps))
    for position in reversed([i for i in find_cut_positions(graph) if i < length]):
        part = steps[: position + 1]
        affine = _measure_affine(graph.start, part)
        if affine:
            channels = len(affine.scale)
            if affine == Affine((1.0,) * channels, (0.0,) * channels):
                affine = None
            sizes = [_target_size(step.op) for step in part if type(step.op).__name__ in GEOMETRY]
            kinds = [_step_kind(step) for step in part if not (is_outside_network(step) or is_identity(step.op))]
            return Preprocessing(position + 1, affine, sizes[-1] if sizes else None, tuple(kinds))
    return Preprocessing(0, None, None, ())


def _is_preprocessing_step(step: LayerCall) -> bool:
    op = step.op
    if not isinstance(op, keras.layers.Layer):
        return True
    known = isinstance(op, keras.layers.Rescaling | keras.layers.Normalization) or type(op).__name__ in GEOMETRY
    return known or ((is_augmentation(op) or is_identity(op)) and not layer_weights(op))


def _step_kind(step: LayerCall) -> str:
    return type(step.op).__name__ if isinstance(step.op, keras.layers.Layer) else "arithmetic"


def _target_size(op) -> int:
    config = op.get_config()
    if config["height"] != config["width"]:
        raise UnsuitableModelError(f"resizes to {config['height']} x {config['width']} pixels: expected squares.")
    return config["height"]


def is_outside_network(step: LayerCall) -> bool:
    """Whether a step is removed because it is done outside of networks: resizing, cropping and augmentation."""
    return is_augmentation(step.op) or type(step.op).__name__ in GEOMETRY


def _measure_affine(start, steps: list[LayerCall]) -> Affine | None:
    """Measure what steps do to pixels, on pictures of one colour each, and check it on noise; None if not affine."""
    resized = [step.op.get_config() for step in steps if type(step.op).__name__ in GEOMETRY]
    height, width = (resized[-1]["height"], resized[-1]["width"]) if resized else start.shape[1:3]
    channels, height = start.shape[-1], height or 16
    pictures = keras.Input((height, width or height, channels))
    values = {id(start): pictures}
    try:
        rebuild_steps(steps, values, skip=is_outside_network)
        model = keras.Model(pictures, values[id(steps[-1].output)])
        if model.output_shape != (None, *pictures.shape[1:]):
            return None
        probes = np.zeros((channels + 2, *pictures.shape[1:]), "float32")
        for channel in range(channels):
            probes[channel + 1, ..., channel] = 255.0
        probes[-1] = np.random.default_rng(0).integers(-255, 256, pictures.shape[1:])
        found = np.asarray(model(probes, training=False), "float64")
    except Exception:  # each backend has its own type for pictures of a wrong size
        if pictures.shape[1:] == start.shape[1:] and not resized:
            raise  # the size is the one the model was built for, so all of its operations take it
        return None
    offset = found[0, 0, 0]
    matrix = (found[1:-1, 0, 0] - offset).T / 255  # (outputs, inputs)
    for flip in (False, True):
        scale = np.diag(matrix[::-1] if flip else matrix)
        inputs = probes[-1].astype("float64")
        shift = offset[::-1] if flip else offset
        expected = scale * inputs + shift
        expected = expected[..., ::-1] if flip else expected
        if scale.all() and np.allclose(found[-1], expected, rtol=1e-4, atol=1e-5 * np.abs(scale).max() * 255):
            return Affine(tuple(scale.tolist()), tuple(shift.tolist()), flip)
    return None


def find_convention(model: keras.Model, front: Preprocessing, pixels: str, *, source: str) -> tuple[Affine, str]:
    """Find how raw RGB pixels are transformed before the first layer with weights, and say how that is known.

    Args:
        pixels: the convention of the pictures that the model itself takes; "" where it is not given.

    Raises:
        UnknownPixels: it is not recognised.
    """
    channels = model.inputs[0].shape[-1]
    own = " and ".join(dict.fromkeys(front.kinds))
    if pixels:
        first = affine_from_convention(pixels, channels)
        after = f", then its own {own}" if front.affine else ""
        return (first.then(front.affine) if front.affine else first), f"pixels: {pixels}, as told{after}"
    if front.affine and (taken := _input_range(front.affine)):
        return affine_from_convention(taken, channels).then(front.affine), f"pixels: {taken}, by its own {own}"
    named = convention_by_name(model.name)
    if named and not front.affine:
        return affine_from_convention(named, channels), f"pixels: {named}, by the name {model.name}"
    inside = [layer.name for layer in model.layers if convention_by_name(layer.name)]
    hint = f" ({inside[0]} in it is one that Keras feeds {convention_by_name(inside[0])})" if inside else ""
    raise UnknownPixels(
        f"{source} does not show how pixels are scaled for it{hint}: give --pixels torch, caffe, tf, unit or raw, "
        "whichever it was trained with."
    )


def convention_by_name(name: str) -> str | None:
    """The convention of a model of keras.applications, "" where it scales pixels itself; None for any other name."""
    return next((value for pattern, value in BY_NAME.items() if re.fullmatch(pattern, name, re.IGNORECASE)), None)


def _input_range(affine: Affine) -> str | None:
    """The pixels that the transform brings into the usual range of a network: "raw", 0..255; "unit", 0..1; or None."""
    scale, offset = np.array(affine.scale), np.array(affine.offset)
    mean, std = -offset / scale, 1 / scale
    if (std > 0).all() and ((255 * scale).max() <= MAX_RANGE or ((mean > 1.5) & (mean < 255)).all()):
        return "raw"
    if (std > 0).all() and (std <= 2).all() and (mean >= 0).all() and (mean <= 1).all():
        return "unit" if mean.any() or std.max() < 0.1 else None
    return None
