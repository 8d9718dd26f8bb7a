"""A training that takes a given time: the number of epochs follows from short epochs that are measured and undone."""

import dataclasses
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from transferkit import recipe_files
from transferkit.atomic import write
from transferkit.console import say, warn
from transferkit.data.parallel import without_autotuning
from transferkit.recipe import Recipe
from transferkit.training.distributed import replicas
from transferkit.training.fitting import checkpoints, fit_phase
from transferkit.training.fitting.checkpoints import State
from transferkit.training.fitting.fit_phase import PhaseData
from transferkit.training.job_records import Plan, TrainingJob
from transferkit.training.planning.phases import Phase, parse_seconds

MAX_STEPS, MAX_CHECKS, MAX_EPOCHS = 4, 2, 50  # steps and validation batches of a short epoch, and such epochs
ENOUGH = 2.0  # seconds of measuring, or a twentieth of the time left


@dataclass(frozen=True)
class Speed:
    """Seconds until the first step is done, of a step, of a whole epoch, and of a validation batch."""

    first_step: float
    step: float
    epoch: float
    check: float


def without_planned_epochs(recipe: Recipe) -> Recipe:
    """The recipe to save before its epochs are planned from `time`: a run that is cut before then plans them again."""
    if not recipe.train.time:
        return recipe
    return recipe.override(epochs=None, **({"head_epochs": None} if recipe.train.unfreeze == "head" else {}))


def plan_epochs(job: TrainingJob, phase: Phase, data: PhaseData) -> Phase:
    """The last phase of a job with `time`, with as many epochs as there is time for; any other phase as it is.

    The planned epochs replace `time` in the run's `recipe.toml`.
    """
    knobs = job.knobs
    if not knobs.time or (phase.name == "head" and knobs.unfreeze != "head"):
        return phase
    total = parse_seconds(knobs.time)
    left = total - job.plan.elapsed()
    speed = fit_phase.run_within_memory(job, lambda state: _measure(job.plan, state, phase, data, left))
    spent = job.plan.elapsed()
    evaluated = job.splits.test or job.splits.val
    # the phase is compiled again, and so is the model that evaluates at the end
    end = 2 * speed.first_step + speed.check * len(evaluated) / job.plan.validation_batch
    trainings = 2 if knobs.refit == "on" else 1  # a refit repeats the steps, their start and their end
    epochs = max(1, int(((total - spent) / trainings - end) / speed.epoch))
    say(
        f"--time {knobs.time}: {spent:.0f} seconds are spent; a step takes {1000 * speed.step:.0f} ms, an epoch "
        f"{speed.epoch:.1f} s and the end {end:.0f} s, so there is time for {epochs} epoch{'s' * (epochs > 1)}."
    )
    minimum = spent + end + speed.epoch
    if minimum > total:
        warn(f"A single epoch takes longer than --time {knobs.time}: about {minimum:.0f} seconds in all.")
    head_epochs = epochs if knobs.unfreeze == "head" else knobs.head_epochs
    all_epochs = epochs if knobs.unfreeze == "head" else head_epochs + epochs
    planned = job.plan.recipe.override(time="", epochs=all_epochs, head_epochs=head_epochs)
    write(job.folder / "recipe.toml", recipe_files.dumps(planned))
    return dataclasses.replace(phase, epochs=epochs)


class _Stopwatch(keras.callbacks.Callback):
    """When each step, validation batch and epoch ended; it stops the training after `enough` seconds."""

    def __init__(self, enough: float):
        super().__init__()
        self.enough = enough
        self.steps: list[float] = []
        self.checks: list[float] = []
        self.epochs: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(time.perf_counter())

    def on_test_batch_end(self, batch, logs=None):
        self.checks.append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter())
        self.model.stop_training = len(self.epochs) > 2 and self.epochs[-1] - self.epochs[0] > self.enough


def _measure(plan: Plan, state: State, phase: Phase, data: PhaseData, left: float) -> Speed:
    """Train short epochs, at most a twentieth of the seconds left, and undo them."""
    order, parts = fit_phase.make_order(plan, state, data, MAX_EPOCHS), state.parts
    steps, checks = min(order.steps, MAX_STEPS), min(data.validation_steps, MAX_CHECKS)
    model = fit_phase.compile_phase(plan, state, phase, data)
    batches, _ = data.make_batches(order)
    one_batch = without_autotuning(tf.data.Dataset.from_tensors(next(iter(data.validation)))).repeat()
    stopwatch, started = _Stopwatch(min(ENOUGH, left / 20)), time.perf_counter()
    with replicas.strategy_scope(plan.device), checkpoints.undo_training(model):
        model.fit(
            replicas.distribute_batches(batches, plan.device, order.worker_batch_size),
            epochs=MAX_EPOCHS,
            steps_per_epoch=steps * parts,
            # the same batch again and again, as validation pictures are only decoded once
            validation_data=replicas.distribute_batches(one_batch, plan.device, data.validation_batch),
            validation_steps=checks,
            callbacks=[stopwatch],
            shuffle=False,
            verbose=0,
        )
    short_epoch = (stopwatch.epochs[-1] - stopwatch.epochs[0]) / (len(stopwatch.epochs) - 1)
    step = parts * _mean_interval(stopwatch.steps, steps * parts)
    check = _mean_interval(stopwatch.checks, checks)
    epoch = short_epoch + (order.steps - steps) * step + (data.validation_steps - checks) * check
    return Speed(stopwatch.steps[0] - started, step or short_epoch, epoch, check or short_epoch)


def _mean_interval(ends: list[float], count: int) -> float:
    """The mean time between the ends of steps, in epochs of `count` steps; 0 if that is one.

    The first epoch, which includes the compilation, does not count.
    """
    return float(np.diff(np.reshape(ends, (-1, count))[1:]).mean()) if count > 1 else 0.0
