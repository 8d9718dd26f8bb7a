"""How the rate rises and falls, step by step; and what the history says of gains, epoch by epoch.

Every schedule is made of Keras' own pieces, put one after the other by `Then`.
"""

from itertools import pairwise

import keras
from keras import ops
from keras.optimizers import schedules

from transferkit.lookup import UnknownName, pick
from transferkit.recipe import Train


@keras.saving.register_keras_serializable("transferkit")
class Then(schedules.LearningRateSchedule):
    """One schedule for some steps, then another, which counts from there."""

    def __init__(self, first, steps: int, then):
        self.first, self.steps, self.then = first, steps, then

    def __call__(self, step):
        return ops.where(step < self.steps, self.first(step), self.then(ops.maximum(step - self.steps, 0)))

    def get_config(self):
        return {"first": schedules.serialize(self.first), "steps": self.steps, "then": schedules.serialize(self.then)}

    @classmethod
    def from_config(cls, config):
        return cls(schedules.deserialize(config["first"]), config["steps"], schedules.deserialize(config["then"]))


@keras.saving.register_keras_serializable("transferkit")
class Stretched(schedules.LearningRateSchedule):
    """A schedule that moves on once in so many steps."""

    def __init__(self, schedule, times: int):
        self.schedule, self.times = schedule, times

    def __call__(self, step):
        return self.schedule(step // self.times)

    def get_config(self):
        return {"schedule": schedules.serialize(self.schedule), "times": self.times}

    @classmethod
    def from_config(cls, config):
        return cls(schedules.deserialize(config["schedule"]), config["times"])


def of_batches(schedule, parts: int) -> schedules.LearningRateSchedule:
    """A schedule of whole batches for an optimizer that counts their parts."""
    return Stretched(schedule, parts) if parts > 1 else schedule


def make(knobs: Train, *, lr: float, steps: int) -> schedules.LearningRateSchedule:
    """The rate of each step of a phase, by `knobs.schedule`.

    But for one_cycle, which has a rise of its own, the rate first rises evenly to `lr`, over `knobs.warmup` of the
    steps (Goyal et al. 2017, section 2.2); no step has a rate of 0. `plateau` is constant from there: `drops` counts
    its drops, which the optimizer's `factor` brings about.

    Args:
        lr: highest rate.
        steps: of the phase, in whole batches.

    Raises:
        UnknownName: the schedule is not known, or `knobs.milestones` are no rising shares.
    """
    if knobs.schedule == "one_cycle":
        return one_cycle(knobs, lr, steps)
    rising = min(round(knobs.warmup * steps), steps - 1)
    falling = pick(FALLS, knobs.schedule, "schedule")(knobs, lr, rising, steps)
    if not rising:
        return falling
    return Then(schedules.PolynomialDecay(lr / (rising + 1), rising, end_learning_rate=lr), rising, falling)


def one_cycle(knobs: Train, lr: float, steps: int) -> schedules.LearningRateSchedule:
    """Up from lr / 25 to `lr` over a quarter of the steps, or `warmup` where that is more, down to lr / 100,000.

    Smith 2018, "A disciplined approach to neural network hyper-parameters", section 4; cosines in place of lines, and
    the constants, are fastai's `fit_one_cycle`. Momentum, which both lower meanwhile, stays as it is.
    """
    rising = min(round(max(knobs.warmup, 0.25) * steps), steps - 1)
    falling = schedules.CosineDecay(lr, steps - rising, alpha=1e-5)
    # a decay to 25 times as much is the rise
    return Then(schedules.CosineDecay(lr / 25, rising, alpha=25.0), rising, falling) if rising else falling


def cosine(knobs, lr, rising, steps):
    """To 0 (Loshchilov and Hutter 2017, SGDR, section 3, without restarts)."""
    return schedules.CosineDecay(lr, steps - rising)


def polynomial(knobs, lr, rising, steps):
    """To 0, by a line where the power is 1."""
    return schedules.PolynomialDecay(lr, steps - rising, end_learning_rate=0.0, power=knobs.power)


def stepwise(knobs, lr, rising, steps):
    """Times `drop` after each of the milestones, shares of all steps; none comes before the first step at full rate."""
    boundaries = [max(1, round(share * steps) - rising) - 1 for share in milestones(knobs.milestones)]
    return schedules.PiecewiseConstantDecay(boundaries, [lr * knobs.drop**i for i in range(len(boundaries) + 1)])


def constant(knobs, lr, rising, steps):
    return schedules.PolynomialDecay(lr, steps, end_learning_rate=lr)


FALLS = {"cosine": cosine, "step": stepwise, "plateau": constant, "polynomial": polynomial, "constant": constant}


def milestones(text: str) -> list[float]:
    """The numbers of "0.33,0.67,0.89".

    Raises:
        UnknownName: they are no rising numbers between 0 and 1.
    """
    try:
        shares = [float(word) for word in text.split(",")]
    except ValueError:
        shares = []
    if not shares or not all(low < high for low, high in pairwise([0.0, *shares, 1.0])):
        raise UnknownName(
            f"milestones must be rising shares of the steps between 0 and 1, as in '0.33,0.67,0.89', not {text!r}."
        )
    return shares


def best_of(history: list[dict]) -> dict | None:
    """The epoch of most validation accuracy, and of these the one of least loss, and of these the first."""
    return max(history, key=gain, default=None)


def kept(history: list[dict], keep: str) -> dict | None:
    """The epoch whose weights are kept: the best one, or with `keep` "last" and "mix" the last."""
    return best_of(history) if keep == "best" else history[-1] if history else None


def stalled(history: list[dict]) -> int:
    """Epochs since the best one; 0 where there are none."""
    return len(history) - 1 - history.index(best_of(history)) if history else 0


def drops(history: list[dict], patience: int) -> int:
    """How often `patience` epochs went by without a new best; the count starts again after each time.

    A function of the history alone, so that a run that goes on needs no state of callbacks.
    """
    count, waited = 0, 0
    for epoch, row in enumerate(history):
        waited = 0 if row is best_of(history[: epoch + 1]) else waited + 1
        if waited == patience:
            count, waited = count + 1, 0
    return count


def gain(row: dict) -> tuple[float, float]:
    """By which epochs are compared: validation accuracy, then loss."""
    return row["val_accuracy"], -row["val_loss"]
