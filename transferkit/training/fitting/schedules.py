"""Learning-rate schedules: a warm-up, then a decay, made of Keras' own schedules."""

import keras
from keras import ops
from keras.optimizers import schedules

from transferkit.lookup import look_up
from transferkit.recipe import Train
from transferkit.training.planning.phases import parse_milestones


@keras.saving.register_keras_serializable("transferkit")
class ChainedSchedule(schedules.LearningRateSchedule):
    """One schedule for a number of steps, then another one, which counts its steps from there."""

    def __init__(self, first, steps: int, second):
        self.first, self.steps, self.second = first, steps, second

    def __call__(self, step):
        return ops.where(step < self.steps, self.first(step), self.second(ops.maximum(step - self.steps, 0)))

    def get_config(self):
        return {
            "first": schedules.serialize(self.first),
            "steps": self.steps,
            "second": schedules.serialize(self.second),
        }

    @classmethod
    def from_config(cls, config):
        first, second = (schedules.deserialize(config[name]) for name in ("first", "second"))
        return cls(first, config["steps"], second)


@keras.saving.register_keras_serializable("transferkit")
class AccumulatedSchedule(schedules.LearningRateSchedule):
    """A schedule of batches, for an optimizer that counts the parts whose gradients are accumulated.

    Args:
        schedule: of whole batches.
        parts: of each batch.
    """

    def __init__(self, schedule, parts: int):
        self.schedule, self.parts = schedule, parts

    def __call__(self, step):
        return self.schedule(step // self.parts)

    def get_config(self):
        return {"schedule": schedules.serialize(self.schedule), "parts": self.parts}

    @classmethod
    def from_config(cls, config):
        return cls(schedules.deserialize(config["schedule"]), config["parts"])


def make_schedule(knobs: Train, *, lr: float, steps: int) -> schedules.LearningRateSchedule:
    """The learning rate of each step of a phase.

    All but one_cycle, which has a warm-up of its own, start with a linear warm-up to `lr` over the fraction
    `knobs.warmup` of the steps (Goyal et al. 2017, section 2.2). No step has a rate of 0. `plateau` is constant
    after the warm-up: `history.count_rate_drops` counts its drops, which the optimizer's `factor` applies.

    Args:
        knobs: `schedule` and the knobs of its schedule.
        lr: highest rate.
        steps: of the phase, in whole batches.

    Raises:
        UnknownName: the schedule is not known, or `knobs.milestones` cannot be read.
    """
    if knobs.schedule == "one_cycle":
        return make_one_cycle(knobs, lr, steps)
    warmup = min(round(knobs.warmup * steps), steps - 1)
    decay = look_up(DECAYS, knobs.schedule, "schedule")(knobs, lr, warmup, steps)
    if not warmup:
        return decay
    return ChainedSchedule(schedules.PolynomialDecay(lr / (warmup + 1), warmup, end_learning_rate=lr), warmup, decay)


def make_one_cycle(knobs: Train, lr: float, steps: int) -> schedules.LearningRateSchedule:
    """Up from lr / 25 to `lr` over a quarter of the steps, or `warmup` if that is more, then down to lr / 100,000.

    Smith 2018, "A disciplined approach to neural network hyper-parameters", section 4; cosines in place of lines, and
    the constants, are fastai's `fit_one_cycle`. Unlike in both, momentum stays constant.
    """
    warmup = min(round(max(knobs.warmup, 0.25) * steps), steps - 1)
    decay = schedules.CosineDecay(lr, steps - warmup, alpha=1e-5)
    # a decay to 25 times the initial rate is the rise
    return ChainedSchedule(schedules.CosineDecay(lr / 25, warmup, alpha=25.0), warmup, decay) if warmup else decay


def cosine(knobs, lr, warmup, steps):
    """To 0 (Loshchilov and Hutter 2017, SGDR, section 3, without restarts)."""
    return schedules.CosineDecay(lr, steps - warmup)


def polynomial(knobs, lr, warmup, steps):
    """To 0; linear where the power is 1."""
    return schedules.PolynomialDecay(lr, steps - warmup, end_learning_rate=0.0, power=knobs.power)


def stepwise(knobs, lr, warmup, steps):
    """Times `drop` after each milestone, a fraction of all steps, but at the full rate for at least one step."""
    boundaries = [max(1, round(fraction * steps) - warmup) - 1 for fraction in parse_milestones(knobs.milestones)]
    return schedules.PiecewiseConstantDecay(boundaries, [lr * knobs.drop**i for i in range(len(boundaries) + 1)])


def constant(knobs, lr, warmup, steps):
    return schedules.PolynomialDecay(lr, steps, end_learning_rate=lr)


DECAYS = {"cosine": cosine, "step": stepwise, "plateau": constant, "polynomial": polynomial, "constant": constant}
