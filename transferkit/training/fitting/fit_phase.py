"""Train one phase, from its last checkpoint to its end.

A NaN loss and a batch that does not fit into memory are handled as an interrupted run is: training continues from the
last checkpoint, at a lower rate or with the batch in smaller parts.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.progress import TextColumn

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.console import progress, warn
from transferkit.data import pipeline
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.view_cache import CacheSpace
from transferkit.lookup import count_noun
from transferkit.network import Network
from transferkit.run_folder import temporary_folder
from transferkit.training.distributed import devices, replicas
from transferkit.training.fitting import (
    callbacks,
    checkpoints,
    freezing,
    frozen_features,
    losses,
    optimizers,
    progress_bar,
    user_callbacks,
    work_left,
)
from transferkit.training.fitting.checkpoints import State
from transferkit.training.fitting.frozen_features import FrozenFeatures
from transferkit.training.job_records import Plan, TrainingJob
from transferkit.training.planning.phases import Phase

MAX_RETURNS = 3  # to an earlier checkpoint, after NaN losses


@dataclasses.dataclass(frozen=True)
class PhaseData:
    """The model that a phase trains, and the data it is trained on.

    Attributes:
        model: the whole network, or what comes after its frozen part.
        labels: of the training pictures in use.
        paths: of the same pictures.
        make_batches: make_batches(order) returns the training batches and the callbacks that watch them.
        validation: a dataset of batches of `validation_batch` that repeats.
        validation_steps: batches in a pass.
        validation_batch: pictures in a batch, a multiple of the number of devices.
        predict_validation: predict_validation() returns logits of the validation pictures by the current weights, and
            their rows; None unless frozen features are stored in memory.
        loss_weights: of the model's blocks of logits.
    """

    model: keras.Model
    labels: tuple[int, ...]
    paths: tuple[str, ...]
    make_batches: Callable
    validation: tf.data.Dataset
    validation_steps: int
    validation_batch: int
    predict_validation: Callable | None
    loss_weights: tuple[float, ...]


class TrainingDivergedError(ValueError):
    """The loss became NaN again and again."""


@contextmanager
def prepare_phase(job: TrainingJob, phase: Phase) -> Iterator[PhaseData]:
    """Freeze the network as the phase needs it, load the best weights so far, and prepare the data for the context."""
    best = job.checkpoint_path(checkpoints.BEST)
    with temporary_folder(job.folder) as folder:
        freezing.unfreeze(job.network, phase.name, bn=job.knobs.bn)
        if best.exists():
            checkpoints.load_weights(job.network, best)
        yield _prepare_data(job, phase, folder)


def _prepare_data(job: TrainingJob, phase: Phase, folder: Path) -> PhaseData:
    """Stored features if the network's frozen part can be run once, else pictures for the whole network."""
    views = frozen_features.parse_views(job, phase)
    if frozen_features.can_run_once(job, phase):
        models = freezing.split_frozen(job.network.model)
        if models and (features := _compute_features(job, phase, models[0], views, folder)):
            return _prepare_features(job, models[1], *features)
    return _prepare_pictures(job, phase, views, folder)


def _prepare_pictures(job: TrainingJob, phase: Phase, views: augmentation.Augmentation, folder: Path) -> PhaseData:
    train, pixels, batch = job.splits.train, job.network.pixels, job.plan.validation_batch
    source, space = pipeline.ViewSource(train, pixels, views), CacheSpace(job.knobs.memory, folder)

    def make_batches(order):
        with tf.device("CPU:0"):
            delivered = tf.Variable(tf.zeros(len(train), tf.int32), trainable=False)
        batches = pipeline.training_dataset(source, order, views=phase.views, space=space, delivered=delivered)
        return batches, [callbacks.FindUnreadable(job, train.paths, delivered, order)]

    return PhaseData(
        model=losses.concatenate_logits(job.network.model, job.plan.teacher, outputs=job.network.loss_weights),
        labels=train.labels,
        paths=train.paths,
        make_batches=make_batches,
        validation=pipeline.validation_dataset(job.splits.val, pixels, batch_size=batch, space=space),
        validation_steps=pipeline.steps_per_epoch(job.splits.val, batch),
        validation_batch=batch,
        predict_validation=None,
        loss_weights=_loss_weights(job.network),
    )


def _compute_features(
    job: TrainingJob, phase: Phase, model: keras.Model, views: augmentation.Augmentation, folder: Path
) -> tuple[FrozenFeatures, FrozenFeatures] | None:
    """Frozen features of the training and the validation pictures, or None if there is no room for them."""
    model = fold_batchnorm(model)
    train = frozen_features.compute_frozen_features(job, model, "train", folder, views=phase.views, augmentation=views)
    if train is None:
        return None
    val = frozen_features.compute_frozen_features(job, model, "val", folder)
    return None if val is None else (train, val)


def _prepare_features(job: TrainingJob, model: keras.Model, train: FrozenFeatures, val: FrozenFeatures) -> PhaseData:
    def make_batches(order):
        return pipeline.training_from_features(train.values, train.rows, train.labels, order, views=train.views), []

    batch = job.plan.validation_batch
    return PhaseData(
        model=losses.concatenate_logits(model, outputs=job.network.loss_weights),
        labels=tuple(train.labels.argmax(1).tolist()),
        paths=tuple(job.splits.train.paths[row] for row in train.rows),
        make_batches=make_batches,
        validation=pipeline.validation_from_features(val.values, val.rows, val.labels, batch_size=batch),
        validation_steps=-(-len(val) // batch),
        validation_batch=batch,
        predict_validation=partial(val.predict, model) if val.in_memory else None,
        loss_weights=_loss_weights(job.network),
    )


def _loss_weights(network: Network) -> tuple[float, ...]:
    return tuple(network.loss_weights.values()) or (1.0,)


def fit(job: TrainingJob, phase: Phase, data: PhaseData):
    """Train a phase to its end. Afterwards everything that was learned is in the run folder.

    Raises:
        TrainingDivergedError: the loss became NaN again and again.
        ValueError: a single picture does not fit into memory, or more than one picture in five is unreadable.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    with callbacks.Interruptible() as interruptible:
        events = user_callbacks.PassOn(job, interruptible)
        while not callbacks.is_phase_over(checkpoints.load_state(job.folder), phase, job.knobs):
            try:
                run_within_memory(job, lambda state: _fit_from(job, state, phase, data, events))
            except callbacks.NaNLossError as error:
                _halve_rate(job, phase, data, error)
        if interruptible.requested:  # after the last step
            raise KeyboardInterrupt
        events.end_phase()


def run_within_memory(job: TrainingJob, attempt: Callable):
    """The result of attempt(state) from the last saved state; out of memory, it is repeated with smaller parts.

    Raises:
        ValueError: a single picture does not fit into memory.
    """
    while True:
        try:
            return attempt(checkpoints.load_state(job.folder))
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            _divide_batch(job)


def _fit_from(job: TrainingJob, state: State, phase: Phase, data: PhaseData, events: user_callbacks.PassOn):
    """Train from a state to the end of the phase."""
    knobs, device, model = job.knobs, job.device, compile_phase(job.plan, state, phase, data)
    average = keras.callbacks.SwapEMAWeights(swap_on_epoch=False) if knobs.ema else None
    save = callbacks.SaveCheckpoints(job, state, phase, average, events.interruptible, data.model)
    events.save = save
    with replicas.strategy_scope(device):
        save.start(model)
    validation = replicas.shard_batches(data.validation, device, data.validation_batch)
    later = work_left.count_after_phase(job, phase)
    with (
        progress(TextColumn("{task.fields[figures]}")) as bars,
        replicas.patched_fit(model, device, validation),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Your input ran out of data")  # FindUnreadable reports the cause
        while not callbacks.is_phase_over(state, phase, knobs):
            # more epochs than needed, to replace pictures that break
            order = make_order(job.plan, state, data, 2 * phase.epochs)
            batches, watches = data.make_batches(order)
            batches, waited = pipeline.measure_wait(batches)
            bar = progress_bar.ProgressBar(bars, job, phase, order.worker_batch_size, later, waited)
            model.fit(
                replicas.distribute_batches(batches, device, order.worker_batch_size),
                initial_epoch=state.epoch,
                # an epoch that is resumed has fewer steps, so it is a `fit` of its own
                epochs=state.epoch + 1 if state.step else phase.epochs,
                steps_per_epoch=(order.steps - state.step) * state.parts,
                validation_data=replicas.distribute_batches(
                    validation, device, data.validation_batch // device.shard[1]
                ),
                validation_steps=data.validation_steps,
                callbacks=[*watches, bar, *([average] if average else []), save, events],
                shuffle=False,
                verbose=0,
            )


def make_order(plan: Plan, state: State, data: PhaseData, epochs: int) -> EpochOrder:
    """The order of the training pictures, from a state to a number of epochs of the phase."""
    knobs = plan.recipe.train
    return EpochOrder(
        data.labels,
        knobs.batch_size // state.divisor,
        knobs.seed,
        range(state.epoch, epochs),
        skip_steps=state.step,
        micro_batches=state.parts,
        shard=plan.device.shard,
        sampling="balanced" if knobs.balance == "sampling" else "all",
    )


def compile_phase(plan: Plan, state: State, phase: Phase, data: PhaseData) -> keras.Model:
    """The phase's model on the plan's devices, compiled with the loss and a new optimizer."""
    knobs = dataclasses.replace(plan.recipe.train, accumulate=state.parts)
    model = replicas.replicate_model(data.model, plan.device)
    steps = make_order(plan, state, data, phase.epochs).steps * phase.epochs
    factors = None
    if knobs.layer_decay < 1:
        factors = optimizers.compute_rate_factors(model, plan.network.head, knobs.layer_decay)
    counts = list(plan.splits.train.counts().values())
    with replicas.strategy_scope(plan.device):
        optimizer = optimizers.make_optimizer(knobs, lr=phase.lr, steps=steps, rate_factors=factors)
        losses.compile_model(
            model, optimizer, knobs, counts, loss_weights=data.loss_weights, has_teacher=bool(plan.teacher)
        )
    if not plan.device.gpu:  # Keras uses XLA wherever the machine has a GPU; its convolutions on the CPU are slow
        model.jit_compile = False
    return model


def _halve_rate(job: TrainingJob, phase: Phase, data: PhaseData, error: callbacks.NaNLossError):
    """Return to the last checkpoint, at half the rate."""
    state = checkpoints.load_state(job.folder)
    epoch_rows = make_order(job.plan, state, data, phase.epochs).epoch_rows(error.epoch).numpy()[error.step - 1]
    batch = ", ".join(data.paths[row] for row in epoch_rows)
    state.returns, state.factor = state.returns + 1, state.factor / 2
    if state.returns > MAX_RETURNS:
        raise TrainingDivergedError(
            f"{error} This happened {state.returns} times; the last batch was {batch}: start again with a lower --lr."
        )
    checkpoints.save_state(job.folder, state)
    warn(f"{error} Training continues from the last checkpoint at half the rate. The batch was {batch}.")


def _divide_batch(job: TrainingJob):
    """Run a batch in more parts, whose gradients are accumulated, so that its size stays. On several devices, for which
    Keras cannot accumulate, make the batch smaller and lower the rate to match."""
    state, batch = checkpoints.load_state(job.folder), job.knobs.batch_size
    can_accumulate = job.device.strategy is None
    before = state.parts if can_accumulate else state.divisor
    per_device = batch // job.device.replicas
    count = next((count for count in range(2 * before, per_device + 1) if per_device % count == 0), None)
    if count is None:
        raise ValueError(
            f"A single picture of {job.network.pixels.size} pixels does not fit into memory: give a lower --size."
        )
    tensors = checkpoints.load_tensors(job.folder, state.tensors) if state.tensors else None
    if tensors:
        iterations = [name for name in tensors if name.endswith(checkpoints.ITERATION)]  # which count parts
        tensors |= {name: np.asarray(tensors[name] * count // before) for name in iterations}
    if can_accumulate:
        state.parts = count
        change = (
            f"each batch of {count_noun(batch, 'picture')} is run in {count_noun(count, 'part')}, whose "
            "gradients are added up; trainable batch norm sees one part at a time"
        )
    else:
        factor = optimizers.scale_rate(job.knobs.optimizer, before / count)
        state.step, state.factor, state.divisor = state.step * count // before, state.factor * factor, count
        change = f"each batch has {count_noun(batch // count, 'picture')}, and the rate is multiplied by {factor:.3g}"
    checkpoints.save_state(job.folder, state, tensors)
    warn(f"Out of memory: from here on, {change}.")
