"""A training that takes a given time: how many epochs that is, from epochs cut short that are measured and undone."""

import dataclasses
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transferkit import recipe
from transferkit.atomic import write
from transferkit.console import say, warn
from transferkit.training.distributed import replicas
from transferkit.training.fitting import checkpoints, fit_phase
from transferkit.training.fitting.checkpoints import State
from transferkit.training.fitting.fit_phase import Material
from transferkit.training.planning.phases import Phase, seconds
from transferkit.training.planning.planner import Plan

STEPS, CHECKS, EPOCHS = 4, 2, 50  # at most: steps and batches of validation in a short epoch, and such epochs
ENOUGH = 2.0  # seconds of them, or a twentieth of what is left


def unplanned(job: Plan) -> recipe.Recipe:
    """The recipe as it is written before its epochs are planned: cut short until then, a run plans them anew."""
    wanted = job.recipe
    if not wanted.train.time:
        return wanted
    return wanted.override(epochs=None, **({"head_epochs": None} if wanted.train.unfreeze == "head" else {}))


def planned(job: Plan, folder: Path, phase: Phase, material: Material) -> Phase:
    """The last phase of a job with `--time`, with as many epochs as there is time for; any other phase as it is.

    The epochs are then fixed in the run's `recipe.toml`, which has no `time` any more.
    """
    knobs = job.recipe.train
    if not knobs.time or (phase.name == "head" and knobs.unfreeze != "head"):
        return phase
    left = seconds(knobs.time) - job.elapsed()
    first, step, epoch, check = fit_phase.in_parts(
        job, folder, lambda state: _measured(job, state, phase, material, left)
    )
    spent = job.elapsed()
    # the phase is compiled anew, and so is what evaluates the pictures of the end
    end = 2 * first + check * len(job.splits.test or job.splits.val) / fit_phase.VALIDATION_BATCH
    times = 2 if knobs.refit == "on" else 1  # the same steps again, and their start and end
    epochs = max(1, int(((seconds(knobs.time) - spent) / times - end) / epoch))
    say(
        f"--time {knobs.time}: {spent:.0f} seconds are spent; a step takes {1000 * step:.0f} ms, an epoch "
        f"{epoch:.1f} s and the end {end:.0f} s, so there is time for {epochs} epoch{'s' * (epochs > 1)}."
    )
    if spent + end + epoch > seconds(knobs.time):
        warn(f"Even one epoch takes longer than --time {knobs.time}: about {spent + end + epoch:.0f} seconds in all.")
    head = epochs if knobs.unfreeze == "head" else knobs.head_epochs
    total = epochs if knobs.unfreeze == "head" else head + epochs
    fixed = job.recipe.override(time="", epochs=total, head_epochs=head)
    write(folder / "recipe.toml", recipe.dumps(fixed))
    return dataclasses.replace(phase, epochs=epochs)


class _Watch(keras.callbacks.Callback):
    """When each step, batch of validation and epoch ended, by the clock."""

    def __init__(self, enough: float):
        super().__init__()
        self.enough, self.steps, self.checks, self.epochs = enough, [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(time.perf_counter())

    def on_test_batch_end(self, batch, logs=None):
        self.checks.append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter())
        self.model.stop_training = len(self.epochs) > 2 and self.epochs[-1] - self.epochs[0] > self.enough


def _measured(job: Plan, state: State, phase: Phase, material: Material, left: float):
    """Seconds until the first step is done, of a step, of a whole epoch and of a batch of validation."""
    order, parts = fit_phase.ordered(job, state, material, EPOCHS), state.parts
    steps, checks = min(order.steps, STEPS), min(material.steps, CHECKS)
    model = fit_phase.compiled(job, state, phase, material)
    batches, _ = material.batches(order)
    again = tf.data.Dataset.from_tensors(next(iter(material.validation))).repeat()
    watch, started = _Watch(min(ENOUGH, left / 20)), time.perf_counter()
    with replicas.scope(job.device), checkpoints.unchanged(model):
        model.fit(
            replicas.spread(batches, job.device, order.worker_batch_size),
            epochs=EPOCHS,
            steps_per_epoch=steps * parts,
            # one batch again and again, for validation is decoded once, and then in memory
            validation_data=replicas.spread(again, job.device, material.size),
            validation_steps=checks,
            callbacks=[watch],
            shuffle=False,
            verbose=0,
        )
    epoch = (watch.epochs[-1] - watch.epochs[0]) / (len(watch.epochs) - 1)
    step = parts * _between(watch.steps, steps * parts)
    check = _between(watch.checks, checks)
    whole = epoch + (order.steps - steps) * step + (material.steps - checks) * check
    return watch.steps[0] - started, step or epoch, whole, check or epoch


def _between(ends: list[float], count: int) -> float:
    """The mean time from one to the next in epochs of `count` each; 0 where that is one. The first epoch compiles."""
    return float(np.diff(np.reshape(ends, (-1, count))[1:]).mean()) if count > 1 else 0.0
