"""The networks, architecture only. A family is a module here with a table `VARIANTS`; nothing else lists them."""

import functools
import importlib
import os
import pkgutil
import re

from transferkit.lookup import UnknownName, pick
from transferkit.pixels import Pixels, parse_size
from transferkit.zoo.variant import Variant


@functools.cache
def variants() -> dict[str, Variant]:
    """The tables of all families, by network name. Loads no Keras."""
    table = {}
    for module in pkgutil.iter_modules(__path__):
        table |= vars(importlib.import_module(f"{__name__}.{module.name}")).get("VARIANTS", {})
    return table


def variant(name: str) -> Variant:
    """The row of a network; knobs in its spelling make no difference."""
    return pick(variants(), _base_name(name), "network")


def _base_name(name: str) -> str:
    """A network's name without knobs, in small letters if it is one of ours then: ResNet34 is resnet34."""
    bare = name.partition("(")[0].strip()
    return bare.lower() if bare.lower() in variants() else bare


def is_network(base: str | os.PathLike) -> bool:
    """Whether a base is a network's name; a folder of that name is only meant as ./name."""
    return _base_name(str(base)) in variants()


def spell(name: str, **knobs) -> str:
    """One spelling of a network and its knobs: `resnet18(stem=small, shortcut=a)`, the ones at their default left out.

    Args:
        name: a name of `variants()`, or a spelling with knobs of its own.
        knobs: more of them.

    Raises:
        UnknownName: there is no such network, knob or value.
    """
    base, row, given = _base_name(name), variant(name), _parse_knobs(name)
    for knob, value in knobs.items():
        given[knob] = _parse_value(row, base, knob, str(value))
    told = [
        f"{knob}={str(given[knob]).lower()}" for knob in row.knobs if given[knob] != _default_value(row.knobs[knob])
    ]
    return f"{base}({', '.join(told)})" if told else base


def build(name: str, *, pixels: Pixels, num_classes: int, size: int | str | None = None):
    """Build a network with fresh weights.

    Args:
        name: a name of `variants()`, knobs in brackets: `resnet34(output_stride=8)`.
        pixels: the normalisation its first layer does.
        num_classes: width of the last layer.
        size: side of the pictures in pixels, or "192x320", height x width, for a network with hidden dense layers; by
            default its native one.

    Returns:
        A flat functional `keras.Model` from pictures (n, height, width, channels), RGB in 0..255, to float32
        logits (n, num_classes). All layers are named; `stem`, `stage1`... and `pooled` are the cut points.

    Raises:
        UnknownName: there is no such network, knob or value, or the size is below the network's minimum.
    """
    import keras

    row, knobs = variant(name), _parse_knobs(name)
    if size is not None and min(parse_size(size)) < minimum_size(name):
        raise UnknownName(f"{name} needs pictures of at least {minimum_size(name)} pixels, not {size}.")
    shape = parse_size(size or row.size) if row.has_fixed_size(knobs) else (None, None)
    scale = [1 / std for std in pixels.std]
    offset = [-mean / std for mean, std in zip(pixels.mean, pixels.std, strict=True)]
    pictures = keras.Input((*shape, len(scale)), name="pictures")
    # Rescaling, not Normalization: the constants of the latter become inputs of an ONNX export
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="pixels")(pictures)
    return keras.Model(pictures, row.build_logits(x, num_classes, **knobs), name=_base_name(name))


def minimum_size(name: str) -> int:
    """Minimum size of a picture in pixels, for a network spelled with its knobs."""
    return variant(name).minimum_size(_parse_knobs(name))


def has_fixed_size(name: str) -> bool:
    """Whether a network, spelled with its knobs, takes pictures of one size only."""
    return variant(name).has_fixed_size(_parse_knobs(name))


def _parse_knobs(name: str) -> dict:
    """All knobs of a spelled network, those in brackets set."""
    row = variant(name)
    knobs = {knob: _default_value(values) for knob, values in row.knobs.items()}
    base, bracket, told = (part.strip() for part in name.partition("("))
    if bracket and not told.endswith(")"):
        raise UnknownName(f"{name!r} lacks the closing bracket: expected {base}(knob=value, ...).")
    for pair in filter(None, re.split(r"\s*,\s*", told.removesuffix(")").strip())):
        knob, _, value = (part.strip() for part in pair.partition("="))
        knobs[knob] = _parse_value(row, base, knob, value)
    return knobs


def _default_value(values):
    return values[0] if isinstance(values, tuple) else values


def _parse_value(row: Variant, name: str, knob: str, text: str):
    """A knob's value from its spelling."""
    values = pick(row.knobs, knob, f"knob of {name}")
    if isinstance(values, tuple):
        return pick({str(value).lower(): value for value in values}, text.lower(), f"value of {name}'s {knob}")
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UnknownName(f"{knob} of {name} must be a share from 0 to below 1, not {text!r}.")
    return share
