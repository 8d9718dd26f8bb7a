"""Knobs that somebody set and that the rest of the recipe leaves without an effect."""

from collections.abc import Iterator
from dataclasses import fields

from transferkit.recipe import Train

# knob: whether it has an effect on a settled training, and why it has none
EFFECTS = {
    "lr": (lambda knobs: knobs.epochs > knobs.head_epochs, "the head alone is trained, at head_lr"),
    "lr_per": (lambda knobs: knobs.epochs > knobs.head_epochs, "the head alone is trained, at head_lr"),
    "layer_decay": (lambda knobs: knobs.epochs > knobs.head_epochs, "the head alone is trained"),
    "head_lr": (lambda knobs: knobs.head_epochs, "the head has no epochs of its own; head_epochs gives it some"),
    "momentum": (lambda knobs: knobs.optimizer in ("sgd", "sgd_l2", "lars"), "it is of sgd, sgd_l2 and lars"),
    "nesterov": (lambda knobs: knobs.optimizer in ("sgd", "sgd_l2", "lars"), "it is of sgd, sgd_l2 and lars"),
    "milestones": (lambda knobs: knobs.schedule == "step", "it is of the schedule step"),
    "drop": (lambda knobs: knobs.schedule in ("step", "plateau"), "it is of the schedules step and plateau"),
    "patience": (lambda knobs: knobs.schedule == "plateau", "it is of the schedule plateau"),
    "power": (lambda knobs: knobs.schedule == "polynomial", "it is of the schedule polynomial"),
    "teacher_share": (lambda knobs: knobs.teacher, "there is no teacher"),
    "temperature": (lambda knobs: knobs.teacher, "there is no teacher"),
}


def concerns(wanted: Train, settled: Train) -> Iterator[str]:
    """A sentence for each knob that was set in vain.

    Args:
        wanted: as a person gave it; a knob at its default was not set.
        settled: the same with every knob chosen.
    """
    defaults = {knob.name: knob.default for knob in fields(Train)}
    for name, (matters, why) in EFFECTS.items():
        value = getattr(wanted, name)
        if value != defaults[name] and not matters(settled):
            yield f"{name} {value} has no effect: {why}."
