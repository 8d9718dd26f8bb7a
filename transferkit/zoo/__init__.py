"""Architectures of the networks, without weights. Each family is a module here with a table `VARIANTS`."""

import functools
import importlib
import os
import pkgutil
import re

from transferkit.lookup import UnknownName, look_up
from transferkit.pixels import Pixels, parse_size
from transferkit.zoo.knobs import Knob, spell_value
from transferkit.zoo.variant import Variant

LIST = "transferkit models"  # the command that lists the networks


@functools.cache
def variants() -> dict[str, Variant]:
    """The rows of all families by network name. Does not import Keras."""
    table: dict[str, Variant] = {}
    for module in pkgutil.iter_modules(__path__):
        table |= vars(importlib.import_module(f"{__name__}.{module.name}")).get("VARIANTS", {})
    return table


def variant(name: str) -> Variant:
    """Find the row of a network; the name may have knobs."""
    return look_up(variants(), _base_name(name), "network", LIST)


def _base_name(name: str) -> str:
    """A network's name without knobs, in lower case if it is in the zoo: `resnet34` for `ResNet34`."""
    bare = name.partition("(")[0].strip()
    return bare.lower() if bare.lower() in variants() else bare


def is_network(base: str | os.PathLike) -> bool:
    """Whether a base is the name of a network; write `./name` for a folder with such a name."""
    return _base_name(str(base)) in variants()


def spell(name: str, **knobs) -> str:
    """Format a network's name with the knobs that are not at their default: `resnet18(stem=small, shortcut=a)`.

    Args:
        name: a name of `variants()`, with or without knobs.
        **knobs: knobs that replace those in the name.

    Raises:
        UnknownName: the network, the knob or its value is not known.
    """
    base, row, given = _base_name(name), variant(name), _parse_knobs(name)
    for knob, value in knobs.items():
        given[knob] = _parse_value(row, base, knob, str(value))
    changed = [f"{knob}={spell_value(given[knob])}" for knob in row.knobs if given[knob] != row.knobs[knob].default]
    return f"{base}({', '.join(changed)})" if changed else base


def build(name: str, *, pixels: Pixels, num_classes: int, size: int | str | None = None):
    """Build a network with fresh weights.

    Args:
        name: a name of `variants()`, with knobs in parentheses: `resnet34(output_stride=8)`.
        pixels: the pixel convention; the first layer normalises pictures accordingly.
        num_classes: number of classes.
        size: size of the pictures in pixels, or "192x320", height x width, for a network with a fixed size; by default
            its native one.

    Returns:
        A flat functional `keras.Model` from pictures (n, height, width, channels), RGB in 0..255, to float32
        logits (n, num_classes). All layers are named; `stem`, `stage1`... and `pooled` are the cut points.

    Raises:
        UnknownName: the network, knob or value is not known, or the size is below the network's minimum.
    """
    import keras

    from transferkit.zoo import layers

    row, knobs = variant(name), _parse_knobs(name)
    if size is not None and min(parse_size(size)) < minimum_size(name):
        raise UnknownName(f"{name} needs pictures of at least {minimum_size(name)} pixels, not {size}.")
    shape = parse_size(size or row.size) if row.has_fixed_size(knobs) else (None, None)
    scale = [1 / std for std in pixels.std]
    offset = [-mean / std for mean, std in zip(pixels.mean, pixels.std, strict=True)]
    pictures = keras.Input((*shape, len(scale)), name="pictures")
    # Rescaling, not Normalization: the constants of the latter become inputs of an ONNX export
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="pixels")(pictures)
    with layers.kernels_begin(knobs.pop("init", "default")):
        logits = row.build_logits(x, num_classes, **knobs)
    return keras.Model(pictures, logits, name=_base_name(name))


def minimum_size(name: str) -> int:
    """Minimum size of a picture in pixels, for a name with knobs."""
    return variant(name).minimum_size(_parse_knobs(name))


def has_fixed_size(name: str) -> bool:
    """Whether a network, named with its knobs, takes pictures of a single size only."""
    return variant(name).has_fixed_size(_parse_knobs(name))


def _parse_knobs(name: str) -> dict:
    """All knobs of a network, with the values in its name, or the defaults."""
    row = variant(name)
    knobs = {name: knob.default for name, knob in row.knobs.items()}
    base, bracket, text = (part.strip() for part in name.partition("("))
    if bracket and not text.endswith(")"):
        raise UnknownName(f"{name!r} lacks the closing bracket: expected {base}(knob=value, ...).")
    for pair in filter(None, re.split(r"\s*,\s*", text.removesuffix(")").strip())):
        knob, _, value = (part.strip() for part in pair.partition("="))
        knobs[knob] = _parse_value(row, base, knob, value)
    return knobs


def _parse_value(row: Variant, network: str, name: str, text: str):
    """The value of a knob. The error names another knob that the value is meant for: pool_size=2 for pool=2."""
    knob = look_up(row.knobs, name, f"knob of {network}")
    try:
        return knob.parse(text, network, name)
    except UnknownName as error:
        near = [other for other in row.knobs if other.startswith(f"{name}_") and _is_value(row.knobs[other], text)]
        meant = f" Did you mean {near[0]}={text}?" if near else ""
        raise UnknownName(f"{error}{meant}") from None


def _is_value(knob: Knob, text: str) -> bool:
    try:
        knob.parse(text, "", "")
    except UnknownName:
        return False
    return True


def knobs_against_weights(name: str) -> list[str]:
    """The knobs in a network's name with which public weights would not be those of what it computes.

    Example:
        >>> knobs_against_weights("resnet18(stem=small, output_stride=8)")
        ['stem=small']
    """
    knobs, given = variant(name).knobs, _parse_knobs(name)
    return [
        f"{each}={spell_value(given[each])}"
        for each, knob in knobs.items()
        if given[each] != knob.default and not knob.keeps_weights
    ]
