"""Parse augmentations that are written as one line: `"crop(0.5) | flip | pca_jitter(0.1)"`.

A step is a pure function of its input and a stateless seed, so a seed gives the same picture whatever the parallelism.
The first step may draw a window, the part of the picture that is decoded; the steps of `OPS` change a decoded picture;
the last steps may mix batches. A step's numbers are its parameters, annotated with their limits:
`Annotated[float, (low, high)]`, or `Annotated[int, range(first, last + 1)]` for whole numbers. The name of a level
stands for its steps, alone or in a line: `"heavy | cutmix"`.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from transferkit.data.augment import color, geometric, policies
from transferkit.data.augment.crops import WINDOWS
from transferkit.data.augment.mixing import BATCH_STEPS
from transferkit.data.augment.pca_axes import IMAGENET, Axes
from transferkit.lookup import UnknownName, look_up, quote

OPS = geometric.OPS | color.OPS | policies.OPS
LEVELS = {
    "none": "",
    "light": "crop(0.5) | flip",
    "medium": "crop(0.25) | flip | jitter(0.2, 0.2, 0.2)",
    "heavy": "crop(0.08) | flip | rand_augment(2, 9) | erase(0.25)",
    # as published, each with its paper's network
    "alexnet": "alexnet_crop | flip | pca_jitter(0.1)",
    "vgg": "scale_crop(256, 512) | flip | pca_jitter(0.1)",
    # "photometric distortions of Andrew Howard" (Szegedy et al. 2014, section 6): contrast, brightness and color, each
    # by a factor between 0.5 and 1.5 (Howard 2013, section 2.2)
    "inception": "crop(0.08, 1.3333) | flip | jitter(0.5, 0.5, 0.5)",
    "resnet": "scale_crop(256, 480) | flip | pca_jitter(0.1)",
    "cifar": "pad_crop(4) | flip",
}
STEP = re.compile(r"([a-z_]\w*)\s*(?:\(([^()]*)\))?", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
HINTS = {
    "area": ": a fraction of the picture's, as in crop(0.08); the side in pixels is --size"
}  # at the end of a message about the number


@dataclass(frozen=True)
class Augmentation:
    """A parsed line of steps.

    Attributes:
        window: window(shape, seed), or None for the evaluation view of the whole picture.
        ops: functions op(picture, seed) on uint8 (height, width, channels).
        batch_steps: functions step((pictures, labels), seed) on uint8 (batch, height, width, channels) and float32
            (batch, classes).
    """

    window: Callable | None = None
    ops: tuple[Callable, ...] = ()
    batch_steps: tuple[Callable, ...] = ()


def parse_augmentation(text: str, axes: Axes = IMAGENET) -> Augmentation:
    """Parse a line of steps and names of levels.

    Args:
        axes: of colour, for `pca_jitter` and `pca_jitter_std`.

    Raises:
        UnknownName: a step cannot be parsed, is not known or not in its place, or a number is out of its limits.

    Example:
        >>> parse_augmentation("crop(0.3) | flip").window is not None
        True
    """
    steps = _split_steps(text)
    line = quote(" | ".join(steps))
    window: Callable | None = None
    ops: list[Callable] = []
    batches: list[Callable] = []
    for number, step in enumerate(steps, start=1):
        name, arguments = _parse_step(step)
        function = look_up(WINDOWS | OPS | BATCH_STEPS | LEVELS, name, "augmentation", "transferkit data augmentations")
        if name in LEVELS:
            raise UnknownName(f"{quote(step)}: {name} takes no numbers; write {name}, or its steps: {LEVELS[name]!r}.")
        if name in WINDOWS and number > 1:
            rule = f"{name} picks what is decoded: a line has one such step, its first"
            raise UnknownName(f"{rule}, but in {line} {name} is step {number}.")
        if name not in BATCH_STEPS and batches:
            raise UnknownName(f"{name} changes single pictures, so it must come before what mixes batches in {line}.")
        bound = partial(function, **_check_numbers(function, step, arguments), **_constants(function, axes))
        if name in WINDOWS:
            window = bound
        else:
            (batches if name in BATCH_STEPS else ops).append(bound)
    return Augmentation(window, tuple(ops), tuple(batches))


def expand_levels(text: str) -> str:
    """Replace the names of levels by their steps; "none" has no steps.

    Example:
        >>> expand_levels("cifar | mixup")
        'pad_crop(4) | flip | mixup'
    """
    return " | ".join(_split_steps(text))


def _split_steps(text: str) -> list[str]:
    steps = [step.strip() for step in text.split("|")] if text.strip() else []
    return [part for step in steps if step != "none" for part in LEVELS.get(step, step).split(" | ")]


def _parse_step(step: str) -> tuple[str, list[float]]:
    """Parse `"crop(0.5)"` to `("crop", [0.5])`."""
    match = STEP.fullmatch(step)
    name, inner = match.groups(default="") if match else ("", "")
    numbers = [number.strip() for number in inner.split(",")] if inner.strip() else []
    if not match or not all(map(NUMBER.fullmatch, numbers)):
        expected = "expected a name and plain numbers in their order, without keywords, as in crop(0.5)"
        raise UnknownName(f"{quote(step)} is not an augmentation step: {expected}.")
    return name, list(map(float, numbers))


def _check_numbers(function, step: str, arguments: list) -> dict:
    """The numbers of a step by name, after a check of their limits."""
    known = step_parameters(function)
    if len(arguments) > len(known):
        form = f"{function.__name__}({', '.join(f'{p.name}={p.default:.3g}' for p in known)})"
        raise UnknownName(f"{quote(step)}: {len(arguments)} numbers are too many; expected {form}.")
    numbers = {parameter.name: parameter.default for parameter in known}
    numbers |= {parameter.name: value for parameter, value in zip(known, arguments, strict=False)}
    for parameter in known:
        value, limits = numbers[parameter.name], parameter_limits(parameter)
        whole = isinstance(limits, range)
        low, high = limits[0], limits[-1]
        if not (value in limits if whole else low <= value <= high):
            kind = "a whole number from" if whole else "from"
            limit = f"{parameter.name} must be {kind} {low} to {high}, not {value:g}{HINTS.get(parameter.name, '')}"
            raise UnknownName(f"{quote(step)}: {limit}.")
    if numbers.get("low", 0) > numbers.get("high", 0):
        raise UnknownName(
            f"{quote(step)}: low must not exceed high, {numbers['low']:g} is more than {numbers['high']:g}."
        )
    return numbers


def step_parameters(function) -> list[inspect.Parameter]:
    """The numbers that a step takes, after its input and its seed."""
    known = list(inspect.signature(function).parameters.values())[2:]
    return [parameter for parameter in known if parameter.kind is not parameter.KEYWORD_ONLY]


def parameter_limits(parameter: inspect.Parameter) -> tuple[float, float] | range:
    """The limits in a number's annotation, both included: (low, high), or a range of whole numbers."""
    return get_args(parameter.annotation)[1]


def _constants(function, axes: Axes) -> dict:
    """The other keyword arguments of a step."""
    return {"axes": axes} if "axes" in inspect.signature(function).parameters else {}
