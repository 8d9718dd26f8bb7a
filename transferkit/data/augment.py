"""What training does to a picture, as one line: `"crop(0.5) | flip"`.

A step is a pure function of its input and a stateless seed, so that the same seed gives the same picture whatever
the parallelism. The first step may be a window, which picks the part of the picture that is decoded at all; the
others change the square picture. Adding one means writing its function into `WINDOWS` or `OPS` here.
"""

import ast
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from transferkit.lookup import UnknownName, pick


def crop(shape, seed, area=0.08, aspect=4 / 3):
    """A window of random area and shape (Szegedy et al. 2014, section 6), placed anywhere.

    Args:
        shape: (height, width) of the picture, int32.
        seed: stateless seed, int32 (2,).
        area: the least share of the picture's area; the most is 1.
        aspect: width over height lies between 1 / aspect and aspect, evenly in its logarithm.

    Returns:
        (y, x, height, width), int32. Where the drawn shape does not fit, it is cut to the picture.
    """
    share, ratio, down, across = tf.unstack(tf.random.stateless_uniform((4,), seed))
    height, width = tf.unstack(tf.cast(shape, tf.float32))
    surface = height * width * (area + share * (1.0 - area))
    ratio = tf.exp((2 * ratio - 1) * math.log(aspect))
    box = tf.minimum(tf.sqrt(tf.stack((surface / ratio, surface * ratio))), (height, width))
    box = tf.maximum(tf.cast(tf.round(box), tf.int32), 1)
    corner = tf.cast(tf.stack((down, across)) * tf.cast(shape - box + 1, tf.float32), tf.int32)
    return tf.concat((tf.minimum(corner, shape - box), box), 0)


def flip(picture, seed, probability=0.5):
    """Left and right swapped, in half of the views."""
    swap = tf.random.stateless_uniform((), seed) < probability
    return tf.cond(swap, lambda: tf.reverse(picture, (1,)), lambda: picture)


WINDOWS = {step.__name__: step for step in (crop,)}
OPS = {step.__name__: step for step in (flip,)}
LIMITS = {"area": (0.01, 1), "aspect": (1, 10), "probability": (0, 1)}  # of the steps' numbers
LEVELS = {
    "none": "",
    "light": "crop(0.5) | flip",
    "medium": "crop(0.25) | flip",
    "heavy": "crop(0.08) | flip",
}


@dataclass(frozen=True)
class Augmentation:
    """A parsed line.

    Attributes:
        window: window(shape, seed), or None for the whole-picture view of evaluation.
        ops: functions op(picture, seed) on uint8 (size, size, channels).
    """

    window: Callable | None
    ops: tuple[Callable, ...]


def parse(text: str) -> Augmentation:
    """Read a level's name or a line of steps.

    Raises:
        UnknownName: the line is not steps with plain numbers, a step is not known, or a number is out of its limits.
    """
    text = text.strip()
    steps = [step.strip() for step in LEVELS.get(text, text).split("|")]
    window, ops = None, []
    for position, step in enumerate(steps if steps != [""] else []):
        name, arguments = _call(step)
        function = pick(WINDOWS | OPS | (LEVELS if text.isidentifier() else {}), name, "augmentation")
        if name in WINDOWS and position > 0:
            raise UnknownName(f"{name} picks what is decoded, so it must be the first step of {text!r}.")
        try:
            given = inspect.signature(function).bind(None, None, *arguments).arguments
        except TypeError as error:
            raise UnknownName(f"{step!r}: {error}; expected {name}{_parameters(function)}.") from None
        for key in given.keys() & LIMITS.keys():
            low, high = LIMITS[key]
            if not low <= given[key] <= high:
                raise UnknownName(f"{step!r}: {key} must be from {low} to {high}, not {given[key]:g}.")
        bound = partial(_with_arguments, function, arguments)
        window, ops = (bound, ops) if name in WINDOWS else (window, [*ops, bound])
    return Augmentation(window, tuple(ops))


def _with_arguments(function, arguments, subject, seed):
    return function(subject, seed, *arguments)


def _call(step: str) -> tuple[str, list]:
    """`"crop(0.5)"` to `("crop", [0.5])`; numbers only."""
    try:
        node = ast.parse(step, mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, []
        if node.keywords:
            raise ValueError
        return node.func.id, [float(ast.literal_eval(argument)) for argument in node.args]
    except (SyntaxError, ValueError, TypeError, AttributeError):
        raise UnknownName(f"{step!r} is no augmentation step: expected a name and numbers, as in crop(0.5).") from None


def _parameters(function) -> str:
    names = list(inspect.signature(function).parameters.values())[2:]
    return f"({', '.join(f'{p.name}={p.default:.3g}' for p in names)})"
