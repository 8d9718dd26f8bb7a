"""The phases of a training: what is trainable in each, for how long, at which rate and on which views."""

import re
from dataclasses import dataclass
from itertools import pairwise

from transferkit.lookup import UnknownName
from transferkit.recipe import BY_RULE, Recipe, Train

SECONDS = {"s": 1, "m": 60, "h": 3600}  # by unit


@dataclass(frozen=True)
class Phase:
    """A part of a training with an optimizer and a schedule of its own. It starts from the best weights so far.

    Attributes:
        name: the part of `unfreeze`, also in the history.
        epochs: of this phase.
        lr: its highest learning rate.
        views: as the knob; 1 is the plain view.
        trainable: names of the layers with trainable weights.
        parameters: number of their trainable weights.
    """

    name: str
    epochs: int
    lr: float
    views: int
    trainable: tuple[str, ...] = ()
    parameters: int = 0


def make_phases(recipe: Recipe) -> list[Phase]:
    """First the head's own phase, on plain views, then a phase for each part of `unfreeze`, with equal epochs.

    The first phases get an epoch more where the epochs do not divide evenly. `trainable` is not filled in.

    Args:
        recipe: resolved.

    Raises:
        UnknownName: a part of `unfreeze` comes twice, or there are fewer epochs than parts.
    """
    knobs = recipe.train
    if knobs.unfreeze == "head":
        return [Phase("head", knobs.epochs, knobs.head_lr, knobs.views)]
    head = [Phase("head", knobs.head_epochs, knobs.head_lr, 1)] if knobs.head_epochs else []
    names, left = parse_unfreeze(knobs.unfreeze), knobs.epochs - knobs.head_epochs
    if 0 < left < len(names):
        raise UnknownName(
            f"epochs must leave at least {len(names)} for the {len(names)} phases of unfreeze, not {left}."
        )
    epochs = [left // len(names) + (number < left % len(names)) for number in range(len(names))]
    views = {"all": 0} if len(names) > 1 else {}  # nothing is frozen in that phase
    return head + [
        Phase(name, count, knobs.lr, views.get(name, knobs.views))
        for name, count in zip(names, epochs, strict=True)
        if count
    ]


def parse_unfreeze(text: str) -> list[str]:
    """The comma-separated parts of `unfreeze`.

    Raises:
        UnknownName: a part is empty or comes twice, or "head" is one of several.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UnknownName(f"unfreeze must be different parts separated by commas, as 'last-stage,all', not {text!r}.")
    if "head" in names and len(names) > 1:
        raise UnknownName(f"unfreeze must not be head and other parts, as {text!r}: head_epochs trains the head first.")
    return names


def parse_layers(text: str) -> tuple[str, ...]:
    """The comma-separated layers of `head_layers`."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def parse_milestones(text: str) -> list[float]:
    """The numbers of "0.33,0.67,0.89".

    Raises:
        UnknownName: they are not increasing numbers between 0 and 1.
    """
    try:
        fractions = [float(word) for word in text.split(",")]
    except ValueError:
        fractions = []
    if not fractions or not all(low < high for low, high in pairwise([0.0, *fractions, 1.0])):
        raise UnknownName(
            f"milestones must be increasing fractions of the steps between 0 and 1, as in '0.33,0.67,0.89', "
            f"not {text!r}."
        )
    return fractions


def parse_seconds(time: str) -> float:
    """The seconds of "90s", "10m" or "1.5h".

    Raises:
        UnknownName: it is not like one of these.
    """
    match = re.fullmatch(r"(\d+\.?\d*) ?([smh])", time.strip())
    if not match or not float(match[1]):
        raise UnknownName(f"time must be a number of seconds, minutes or hours, as 90s, 10m or 1.5h, not {time!r}.")
    return float(match[1]) * SECONDS[match[2]]


def check_time(knobs: Train):
    """Raise `UnknownName` if `time` contradicts other knobs, such as epochs."""
    if not knobs.time:
        return
    parse_seconds(knobs.time)
    if knobs.workers:
        raise UnknownName(f"time {knobs.time} cannot be planned by several workers, each with its clock: give epochs.")
    fixed = "head_epochs" if knobs.unfreeze == "head" and knobs.head_epochs is not BY_RULE else "epochs"
    if getattr(knobs, fixed) is not BY_RULE:
        raise UnknownName(f"time {knobs.time} plans the epochs: omit {fixed} {getattr(knobs, fixed)}, or time.")
    if len(parse_unfreeze(knobs.unfreeze)) > 1:
        raise UnknownName(f"time plans the epochs of a single phase: give epochs for unfreeze {knobs.unfreeze!r}.")


def check_averaging(knobs: Train):
    """Raise `UnknownName` if `keep`, `soup` and `refit` contradict each other or the rest; open knobs never do."""
    if knobs.keep == "mix" and knobs.start not in ("probe", BY_RULE):
        raise UnknownName("keep mix needs the weights of a fitted head: use start probe, or keep best or last.")
    if knobs.soup and knobs.keep not in ("best", BY_RULE):
        raise UnknownName(f"soup {knobs.soup} averages the best epochs: omit keep {knobs.keep}, or soup.")
    if knobs.refit == "on" and knobs.keep == "best":
        raise UnknownName("refit on leaves no validation pictures to choose the best epoch: use keep mix or last.")
    if knobs.refit == "on" and knobs.workers:
        raise UnknownName("refit on needs a single process: omit workers, or use refit off.")
