"""The phases of a training: what learns in each, for how long, at which rate and on which views."""

import re
from dataclasses import dataclass

from transferkit.lookup import UnknownName
from transferkit.recipe import BY_RULE, Recipe, Train

UNITS = {"s": 1, "m": 60, "h": 3600}  # seconds


@dataclass(frozen=True)
class Phase:
    """One part of a training, with an optimizer and a schedule of its own. It starts from the best weights so far.

    Attributes:
        name: the word of `unfreeze`, in the history.
        epochs: of this phase.
        lr: its highest rate.
        views: as the knob; 1 is the plain view.
    """

    name: str
    epochs: int
    lr: float
    views: int


def phases(recipe: Recipe) -> list[Phase]:
    """First the head alone, on plain views, then the words of `unfreeze` for equal numbers of epochs.

    The first of several get an epoch more where they do not divide evenly.

    Raises:
        UnknownName: a word comes twice, or there are fewer epochs than words.
    """
    knobs = recipe.train
    if knobs.unfreeze == "head":
        return [Phase("head", knobs.epochs, knobs.head_lr, knobs.views)]
    head = [Phase("head", knobs.head_epochs, knobs.head_lr, 1)] if knobs.head_epochs else []
    words, left = words_of(knobs.unfreeze), knobs.epochs - knobs.head_epochs
    if 0 < left < len(words):
        raise UnknownName(
            f"unfreeze has {len(words)} phases, but epochs left for them are {left}: give {len(words)} or more."
        )
    shares = [left // len(words) + (number < left % len(words)) for number in range(len(words))]
    views = {"all": 0} if len(words) > 1 else {}  # the phase that has nothing frozen to spare
    return head + [
        Phase(word, share, knobs.lr, views.get(word, knobs.views))
        for word, share in zip(words, shares, strict=True)
        if share
    ]


def check_kept(knobs: Train):
    """Raise `UnknownName` if what is kept of a settled training, and whether it is done again, contradict the rest."""
    if knobs.keep == "mix" and knobs.start != "probe":
        raise UnknownName("keep mix averages with a regression's start: take start probe, or keep best or last.")
    if knobs.soup and knobs.keep != "best":
        raise UnknownName(f"soup {knobs.soup} averages the best epochs: leave out keep {knobs.keep}, or soup.")
    if knobs.refit == "on" and knobs.keep == "best":
        raise UnknownName("refit on leaves no validation pictures to choose the best epoch by: take keep mix or last.")
    if knobs.refit == "on" and knobs.workers:
        raise UnknownName("refit on is of one process: leave out workers, or take refit off.")


def words_of(unfreeze: str) -> list[str]:
    """The words between the commas.

    Raises:
        UnknownName: there are none, or one comes twice.
    """
    words = [word.strip() for word in unfreeze.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise UnknownName(
            f"unfreeze must be different parts with commas between, as in 'last-stage,all': {unfreeze!r}."
        )
    if "head" in words and len(words) > 1:
        raise UnknownName(
            f"The head's own phase before others is head_epochs: leave head out of unfreeze {unfreeze!r}."
        )
    return words


def seconds(time: str) -> float:
    """Of "90s", "10m" or "1.5h".

    Raises:
        UnknownName: it is none of these.
    """
    found = re.fullmatch(r"(\d+\.?\d*) ?([smh])", time.strip())
    if not found or not float(found[1]):
        raise UnknownName(f"time must be a number of seconds, minutes or hours, as 90s, 10m or 1.5h, not {time!r}.")
    return float(found[1]) * UNITS[found[2]]


def check_time(knobs: Train):
    """Raise `UnknownName` unless the time of a recipe, where it has one, is what its epochs follow from."""
    if not knobs.time:
        return
    seconds(knobs.time)
    if knobs.workers:
        raise UnknownName(f"Each worker would plan time {knobs.time} by its own clock: give epochs in its place.")
    fixed = "head_epochs" if knobs.unfreeze == "head" and knobs.head_epochs is not BY_RULE else "epochs"
    if getattr(knobs, fixed) is not BY_RULE:
        raise UnknownName(f"time {knobs.time} plans the epochs: leave out {fixed} {getattr(knobs, fixed)}, or time.")
    if len(words_of(knobs.unfreeze)) > 1:
        raise UnknownName(f"time plans the epochs of one released phase: give epochs for unfreeze {knobs.unfreeze!r}.")
