"""One phase of a training: from where its last checkpoint is to its end, whatever comes in between.

A loss that is no number and a batch that does not fit into memory are met in the same way as a cut run: by going on
from the last checkpoint, with a lower rate or in smaller parts.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.progress import TextColumn

from transferkit.batchnorm_folding import folded
from transferkit.console import progress, warn
from transferkit.data import pipeline
from transferkit.data.augment import augmentation, pca_axes
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.view_cache import CacheSpace
from transferkit.runs import temporary
from transferkit.training.distributed import devices, replicas
from transferkit.training.fitting import callbacks, checkpoints, frozen_features, losses, optimizers
from transferkit.training.fitting.checkpoints import State
from transferkit.training.fitting.freezing import divided, release
from transferkit.training.planning.phases import Phase
from transferkit.training.planning.planner import Plan
from transferkit.zoo.googlenet import LOSS_WEIGHTS

VALIDATION_BATCH = 32
RETURNS = 3  # to an earlier state, for a loss that is no number


@dataclass(frozen=True)
class Material:
    """What a phase is fitted on.

    Attributes:
        model: what is trained; the whole network, or what comes after its frozen part.
        heads: the weights of its blocks of logits in the loss.
        labels: of the pictures in use, and `paths` theirs.
        batches: batches(order) gives those of training, and the callbacks that watch over them.
        validation: batches of `size` over and over, `steps` of each pass.
        answers: answers() gives logits of the validation pictures by the weights that the network has then, and their
            rows; None where nothing is stored, or not in memory.
    """

    model: keras.Model
    heads: tuple[float, ...]
    labels: tuple[int, ...]
    paths: tuple[str, ...]
    batches: Callable
    validation: tf.data.Dataset
    steps: int
    size: int
    answers: Callable | None = None


class Hopeless(ValueError):
    """The loss was no number again and again."""


@contextmanager
def prepared(job: Plan, folder: Path, phase: Phase, lost: dict[str, str]) -> Iterator[Material]:
    """The network as a phase releases it, at the best weights so far, with what it is fitted on inside this context.

    Args:
        folder: the run's, which holds what a frozen part makes of pictures meanwhile.
        lost: `{path: reason}`, to which pictures that break are added.
    """
    best = folder / "checkpoints" / checkpoints.BEST
    with temporary(folder) as place:
        release(job.network, phase.name, bn=job.recipe.train.bn)
        if best.exists():
            checkpoints.load_weights(job.network, best)
        yield _material(job, phase, place, lost)


def fit(job: Plan, folder: Path, phase: Phase, material: Material):
    """Train a phase to its end, on what was prepared for it. All that is learned is in the run folder then.

    Raises:
        Hopeless: the loss was no number again and again.
        ValueError: one picture does not fit into memory, or more than one picture in five is lost.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    with callbacks.Interruptible() as interruptible:
        while not callbacks.ended(checkpoints.load(folder), phase, job.recipe.train):
            try:
                in_parts(job, folder, lambda state: _go_on(job, folder, state, phase, material, interruptible))
            except callbacks.Diverged as error:
                _return(job, folder, phase, material, error)
        if interruptible.asked:  # after the last step
            raise KeyboardInterrupt


def in_parts(job: Plan, folder: Path, attempt: Callable):
    """What attempt(state) gives, from the state that was saved last; out of memory, it is tried in smaller parts.

    Raises:
        ValueError: one picture does not fit into memory.
    """
    while True:
        try:
            return attempt(checkpoints.load(folder))
        except Exception as error:
            if not devices.out_of_memory(error):
                raise
            _divide(job, folder)


def _material(job: Plan, phase: Phase, place: Path, lost: dict[str, str]) -> Material:
    """Pictures for the whole network; or for what follows the frozen part, what that makes of them."""
    knobs, pixels = job.recipe.train, job.network.pixels
    line = "none" if phase.views == 1 else job.recipe.augment.augment
    views = augmentation.parse_augmentation(line, pca_axes.load_or_imagenet(job.recipe.augment.pca))
    room = {"memory": knobs.memory, "folder": place}
    size = -(-VALIDATION_BATCH // job.device.replicas) * job.device.replicas
    if phase.views and knobs.frozen == "once" and not views.batch_steps and not job.teacher:
        parts = divided(job.network.model)
        if parts and (maps := _maps(job, parts[0], phase, views, lost, room)):
            return _stored(parts[1], *maps, job.splits.train.paths, size)
    train, space = job.splits.train, CacheSpace(**room)
    source = pipeline.ViewSource(train, pixels, views)

    def batches(order):
        with tf.device("CPU:0"):
            delivered = tf.Variable(tf.zeros(len(train), tf.int32), trainable=False)
        given = pipeline.training_dataset(source, order, views=phase.views, space=space, delivered=delivered)
        return given, [callbacks.Watch(train.paths, delivered, order, lost)]

    return Material(
        losses.side_by_side(job.network.model, job.teacher, shape=job.teacher_shape),
        _heads(job.network.model),
        train.labels,
        train.paths,
        batches,
        pipeline.validation_dataset(job.splits.val, pixels, batch_size=size, space=space),
        pipeline.steps_per_epoch(job.splits.val, size),
        size,
    )


def _stored(model: keras.Model, learnt: frozen_features.Maps, held: frozen_features.Maps, paths, size: int) -> Material:
    """What follows a frozen part, and what that made of the training and the validation pictures."""

    def batches(order):
        return pipeline.training_from_features(learnt.values, learnt.rows, learnt.labels, order, views=learnt.views), []

    return Material(
        losses.side_by_side(model),
        _heads(model),
        tuple(learnt.labels.argmax(1).tolist()),
        tuple(paths[row] for row in learnt.rows),
        batches,
        pipeline.validation_from_features(held.values, held.rows, held.labels, batch_size=size),
        -(-len(held) // size),
        size,
        partial(held.answers, model) if held.in_memory else None,
    )


def _maps(job: Plan, part: keras.Model, phase: Phase, views, lost, room: dict):
    """What the frozen part makes of the training and the validation pictures, or None where there is no room."""
    ways = {"train": {"views": phase.views, "augmentation": views, "seed": job.recipe.train.seed}, "val": {}}
    found, part = [], folded(part)
    for name, way in ways.items():
        listing = getattr(job.splits, name)
        maps = frozen_features.computed(part, listing, job.network.pixels, what=name, lost=lost, **room, **way)
        if maps is None:
            return None
        found.append(maps)
    return found


def _heads(model: keras.Model) -> tuple[float, ...]:
    """The weights of a model's outputs in the loss."""
    return tuple(LOSS_WEIGHTS.values()) if isinstance(model.output, dict) else (1.0,)


def _go_on(job: Plan, folder: Path, state: State, phase: Phase, material: Material, interruptible):
    """Train from a state to the end of the phase."""
    knobs, device, model = job.recipe.train, job.device, compiled(job, state, phase, material)
    average = keras.callbacks.SwapEMAWeights(swap_on_epoch=False) if knobs.ema else None
    keep = callbacks.Keep(job, folder, state, phase, average, interruptible, material.model)
    with replicas.scope(device):
        keep.start(model)
    validation = replicas.own_part(material.validation, device, material.size)
    with (
        progress(TextColumn("{task.fields[figures]}")) as bars,
        replicas.fitting(model, device, validation),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Your input ran out of data")  # of which Watch tells the cause
        while not callbacks.ended(state, phase, knobs):
            order = ordered(job, state, material, 2 * phase.epochs)  # in reserve, for pictures that break are missing
            batches, watches = material.batches(order)
            batches, waited = pipeline.measure_wait(batches)
            show = callbacks.Show(bars, phase, order.worker_batch_size, waited)
            model.fit(
                replicas.spread(batches, device, order.worker_batch_size),
                initial_epoch=state.epoch,
                # an epoch that was begun has fewer steps, which is a `fit` of its own
                epochs=state.epoch + 1 if state.step else phase.epochs,
                steps_per_epoch=(order.steps - state.step) * state.parts,
                validation_data=replicas.spread(validation, device, material.size // device.shard[1]),
                validation_steps=material.steps,
                callbacks=[*watches, show, *([average] if average else []), keep, *_logs(folder)],
                shuffle=False,
                verbose=0,
            )


def ordered(job: Plan, state: State, material: Material, epochs: int) -> EpochOrder:
    """From a state on, to so many epochs of a phase."""
    knobs = job.recipe.train
    return EpochOrder(
        material.labels,
        knobs.batch_size // state.divisor,
        knobs.seed,
        range(state.epoch, epochs),
        skip_steps=state.step,
        micro_batches=state.parts,
        shard=job.device.shard,
        sampling="balanced" if knobs.balance == "sampling" else "all",
    )


def compiled(job: Plan, state: State, phase: Phase, material: Material) -> keras.Model:
    """What a phase trains, on the job's devices, with a new optimizer and the loss."""
    knobs = dataclasses.replace(job.recipe.train, accumulate=state.parts)
    model = replicas.placed(material.model, job.device)
    steps = ordered(job, state, material, phase.epochs).steps * phase.epochs
    rates = optimizers.rates(model, job.network.head, knobs.layer_decay) if knobs.layer_decay < 1 else None
    counts = list(job.splits.train.counts().values())
    with replicas.scope(job.device):
        optimizer = optimizers.make(knobs, lr=phase.lr, steps=steps, rates=rates)
        losses.compile_for(model, optimizer, knobs, counts, heads=material.heads, teacher=bool(job.teacher))
    return model


def _return(job: Plan, folder: Path, phase: Phase, material: Material, error: callbacks.Diverged):
    """To the last checkpoint, with half the rate."""
    state = checkpoints.load(folder)
    rows = ordered(job, state, material, phase.epochs).epoch_rows(error.epoch).numpy()[error.step - 1]
    shown = ", ".join(material.paths[row] for row in rows)
    state.returns, state.factor = state.returns + 1, state.factor / 2
    if state.returns > RETURNS:
        raise Hopeless(f"{error} It was so {state.returns} times, last with {shown}: start again with a lower --lr.")
    checkpoints.save(folder, state)
    warn(f"{error} Going on from the last checkpoint at half the rate. Its pictures were {shown}.")


def _divide(job: Plan, folder: Path):
    """Smaller parts of a batch, whose gradients are added up, so that the batch that counts stays; where several
    devices share it, which Keras cannot add up for, a smaller batch at the rate that suits it."""
    state, batch = checkpoints.load(folder), job.recipe.train.batch_size
    several = job.device.strategy is not None
    before = state.divisor if several else state.parts
    shares = batch // job.device.replicas
    smaller = [count for count in range(2 * before, shares + 1) if shares % count == 0]
    if not smaller:
        raise ValueError(
            f"There is no memory for one picture of {job.network.pixels.size} pixels: give a lower --size."
        )
    tensors = checkpoints.tensors_of(folder, state) if state.tensors else None
    for name in tensors or ():
        if name.endswith(checkpoints.ITERATION):  # which counts parts
            tensors[name] = np.asarray(tensors[name] * smaller[0] // before)
    if several:
        less = optimizers.lessened(job.recipe.train.optimizer, before / smaller[0])
        state.step, state.factor, state.divisor = state.step * smaller[0] // before, state.factor * less, smaller[0]
        how = f"each batch is of {batch // smaller[0]} pictures, and the rate {less:.3g} of what it was"
    else:
        state.parts = smaller[0]
        how = (
            f"each batch of {batch} pictures is run in {state.parts} parts, whose gradients are added up; batch norm "
            "that is trained sees a part at a time"
        )
    checkpoints.save(folder, state, tensors)
    warn(f"Out of memory: from here on, {how}.")


def _logs(folder: Path) -> list[keras.callbacks.Callback]:
    """TensorBoard's, where it is installed (extra `tensorboard`)."""
    return [keras.callbacks.TensorBoard(folder / "tensorboard")] if find_spec("tensorboard") else []
