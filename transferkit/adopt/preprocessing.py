"""What a model does to pixels before its first real layer, and what it expects of them."""

import re
from dataclasses import dataclass

import keras
import numpy as np

from transferkit.adopt.graph import Step, Unfit, is_augmentation, is_neutral, joints, rebuilt, weights_of
from transferkit.lookup import UnknownName
from transferkit.pixels import CONVENTIONS, Pixels

GEOMETRY = ("Resizing", "CenterCrop", "RandomCrop")
# The networks of keras.applications that leave the scaling to their users, by the names their builders give them.
# Those not here, such as EfficientNet, ConvNeXt and MobileNetV3, begin with it.
BY_NAME = {
    r"vgg(16|19)|resnet(50|101|152)": "caffe",
    r"densenet(121|169|201)": "torch",
    r"resnet(50|101|152)v2|inception_v3|inception_resnet_v2|xception|mobilenet(v2)?_.*|nasnet(_.*)?": "tf",
}
MOST_SPREAD = 32.0  # what lies between the scaled values of black and white in a network; 2 to 5 in most


class UnknownPixels(UnknownName):
    """How pixels are scaled for a model does not show, and nobody has said it."""


@dataclass(frozen=True)
class Affine:
    """scale * pixels + offset for each channel, then perhaps the channels in reverse order."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    flip: bool = False

    def then(self, after: "Affine") -> "Affine":
        """This first, then another."""
        scale, offset = (np.array(part[::-1] if self.flip else part) for part in (after.scale, after.offset))
        both = scale * self.offset + offset
        return Affine(tuple((scale * self.scale).tolist()), tuple(both.tolist()), self.flip != after.flip)


@dataclass(frozen=True)
class Front:
    """The first steps of a model, which only turn pixels into other numbers.

    Attributes:
        steps: how many they are.
        does: what they do; None where they do nothing.
        side: of the pictures in pixels after a layer that resizes, None where there is none.
        layers: what kinds of layers do it, for a person.
    """

    steps: int
    does: Affine | None
    side: int | None
    layers: tuple[str, ...]


def convention(name: str, channels: int) -> Affine:
    """What is done to raw RGB pixels by a convention; one channel takes the mean of three."""
    pixels, caffe = CONVENTIONS[name], name == "caffe"
    mean, std = (np.array(values) for values in (pixels.mean, pixels.std))
    if channels == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    return Affine(tuple((1 / std).tolist()), tuple((-mean / std).tolist()), caffe and channels == 3)


def as_pixels(affine: Affine, crop: int) -> Pixels:
    """The record of a network that begins with this."""
    scale, offset = np.array(affine.scale), np.array(affine.offset)
    mean, std = (tuple(float(f"{value:.7g}") + 0.0 for value in values) for values in (-offset / scale, 1 / scale))
    return Pixels(mean, std, crop, round(crop / 0.875))


def front_of(start, steps: list[Step], output) -> Front:
    """The longest run of first steps that does the same to every pixel of a channel: scales, shifts, and no more."""
    length = next((i for i, step in enumerate(steps) if not _may_stand_before(step)), len(steps))
    for position in reversed([i for i in joints(start, steps, output) if i < length]):
        part = steps[: position + 1]
        does = _measured(start, part)
        if does:
            channels = len(does.scale)
            nothing = does == Affine((1.0,) * channels, (0.0,) * channels)
            sides = [_side(step.op) for step in part if type(step.op).__name__ in GEOMETRY]
            names = [_kind(step) for step in part if not (left_out(step) or is_neutral(step.op))]
            return Front(position + 1, None if nothing else does, sides[-1] if sides else None, tuple(names))
    return Front(0, None, None, ())


def _may_stand_before(step: Step) -> bool:
    op = step.op
    if not isinstance(op, keras.layers.Layer):
        return True
    known = isinstance(op, keras.layers.Rescaling | keras.layers.Normalization) or type(op).__name__ in GEOMETRY
    return known or ((is_augmentation(op) or is_neutral(op)) and not weights_of(op))


def _kind(step: Step) -> str:
    return type(step.op).__name__ if isinstance(step.op, keras.layers.Layer) else "arithmetic"


def _side(op) -> int:
    config = op.get_config()
    if config["height"] != config["width"]:
        raise Unfit(f"resizes to {config['height']} x {config['width']} pixels: expected squares.")
    return config["height"]


def left_out(step: Step) -> bool:
    """Whether a step of the front has no place in a network: others see to geometry and augmentation."""
    return is_augmentation(step.op) or type(step.op).__name__ in GEOMETRY


def _measured(start, steps: list[Step]) -> Affine | None:
    """What steps do to pixels, found by trying: on pictures of one colour each, checked on noise."""
    resized = [step.op.get_config() for step in steps if type(step.op).__name__ in GEOMETRY]
    height, width = (resized[-1]["height"], resized[-1]["width"]) if resized else start.shape[1:3]
    channels, height = start.shape[-1], height or 16
    pictures = keras.Input((height, width or height, channels))
    values = {id(start): pictures}
    try:
        rebuilt(steps, values, skip=left_out)
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
        given = offset[::-1] if flip else offset
        wanted = scale * inputs + given
        wanted = wanted[..., ::-1] if flip else wanted
        if scale.all() and np.allclose(found[-1], wanted, rtol=1e-4, atol=1e-5 * np.abs(scale).max() * 255):
            return Affine(tuple(scale.tolist()), tuple(given.tolist()), flip)
    return None


def recognised(model: keras.Model, front: Front, told: str, *, source: str) -> tuple[Affine, str]:
    """What has to be done to raw RGB pixels before the first real layer, and how that is known, for a person.

    Args:
        told: a convention of what the model itself is fed, "" where nobody said.

    Raises:
        UnknownPixels: it does not show.
    """
    channels = model.inputs[0].shape[-1]
    own = " and ".join(dict.fromkeys(front.layers))
    if told:
        first = convention(told, channels)
        after = f", then its own {own}" if front.does else ""
        return (first.then(front.does) if front.does else first), f"pixels: {told}, as told{after}"
    if front.does and (eaten := _eats(front.does)):
        return convention(eaten, channels).then(front.does), f"pixels: {eaten}, by its own {own}"
    named = by_name(model.name)
    if named and not front.does:
        return convention(named, channels), f"pixels: {named}, by the name {model.name}"
    inside = [layer.name for layer in model.layers if by_name(layer.name)]
    hint = f" ({inside[0]} in it is one that Keras feeds {by_name(inside[0])})" if inside else ""
    raise UnknownPixels(
        f"{source} does not show how pixels are scaled for it{hint}: give --pixels torch, caffe, tf, unit or raw, "
        "whichever it was trained with."
    )


def by_name(name: str) -> str | None:
    """The convention of a network of keras.applications that does no scaling of its own."""
    return next((value for pattern, value in BY_NAME.items() if re.fullmatch(pattern, name, re.IGNORECASE)), None)


def _eats(does: Affine) -> str | None:
    """Pixels in 0..255 ("raw") or 0..1 ("unit"), whichever a scaling brings to what networks work with; else None."""
    scale, offset = np.array(does.scale), np.array(does.offset)
    mean, std = -offset / scale, 1 / scale
    if (std > 0).all() and ((255 * scale).max() <= MOST_SPREAD or ((mean > 1.5) & (mean < 255)).all()):
        return "raw"
    if (std > 0).all() and (std <= 2).all() and (mean >= 0).all() and (mean <= 1).all():
        return "unit" if mean.any() or std.max() < 0.1 else None
    return None
