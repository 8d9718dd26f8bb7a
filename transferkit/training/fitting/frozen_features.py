"""Features of the frozen part of a network: computed once for each view of a picture, in memory or on disk."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np

from transferkit.console import progress_bar, say, warn
from transferkit.data import pipeline, view_cache
from transferkit.data.augment import pca_axes
from transferkit.data.augment.augmentation import Augmentation, parse_augmentation
from transferkit.evaluation.predict import BATCH, choose_batch_size, run_batches
from transferkit.training.clock import Clock
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning.phases import Phase

PLAIN_VIEW = Augmentation()  # that of evaluation


@dataclass(frozen=True)
class FrozenFeatures:
    """Outputs of the frozen part of a network, for the readable pictures of a listing.

    Attributes:
        values: each output, (views * n, ...), float32; view v of picture r of n is at v * n + r.
        rows: (m,) of the readable pictures.
        labels: of these, one-hot (m, classes).
        views: of each picture.
    """

    values: tuple[view_cache.Array, ...]
    rows: np.ndarray
    labels: np.ndarray
    views: int

    def __len__(self):
        return len(self.rows)

    @property
    def in_memory(self) -> bool:
        return not any(isinstance(value, view_cache.DiskArray) for value in self.values)

    def predict(self, model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        """Logits (m, classes) of the model that follows the frozen part, and their rows (m,)."""
        rows = np.resize(self.rows, -(-len(self) // BATCH) * BATCH)  # JAX only divides full batches among devices
        values = [value[rows] for value in self.values]
        logits = model.predict(values if len(values) > 1 else values[0], batch_size=BATCH, verbose=0)
        return (logits["logits"] if isinstance(logits, dict) else logits)[: len(self)], self.rows


def parse_views(job: TrainingJob, phase: Phase) -> Augmentation:
    """The augmentation of a phase's views."""
    steps = "none" if phase.views == 1 else job.plan.recipe.augment.augment
    return parse_augmentation(steps, pca_axes.load_or_imagenet(job.plan.recipe.augment.pca))


def can_run_once(job: TrainingJob, phase: Phase) -> bool:
    """Whether a part that is frozen in a phase may run once for each view, and not in every epoch."""
    is_wanted = bool(phase.views) and job.knobs.frozen == "once" and not job.plan.teacher
    return is_wanted and not parse_views(job, phase).batch_steps


def compute_frozen_features(
    job: TrainingJob,
    model: keras.Model,
    split: str,
    folder: Path,
    *,
    views: int = 1,
    augmentation: Augmentation = PLAIN_VIEW,
) -> FrozenFeatures | None:
    """Run the frozen part of the job's network on the views of every picture of a split.

    Args:
        job: its `unreadable` gets the pictures that cannot be read.
        model: from pictures to one or several outputs, as `freezing.split_frozen` returns it, folded.
        split: "train" or "val".
        folder: for outputs that are larger than the knob `memory`.
        views: 1 is the plain view of evaluation; several are those that `pipeline.training_dataset` shows in turn.
        augmentation: of several views.

    Returns:
        The features; None, after a warning, if there is no room for them in memory or on disk.

    Raises:
        ValueError: more than one picture in five is unreadable.
    """
    started, listing, pixels = time.perf_counter(), getattr(job.splits, split), job.network.pixels
    batch_size = choose_batch_size(len(listing), BATCH)
    if views == 1:
        batches = pipeline.evaluation_dataset(listing.paths, pixels, batch_size=batch_size)
    else:
        source = pipeline.ViewSource(listing, pixels, augmentation)
        batches = pipeline.fixed_views(source, views=views, seed=job.knobs.seed, batch_size=batch_size)
    count = views * len(listing)
    outputs = _measure_batches(run_batches(model, batches, batch_size), job.plan.clock)
    allocate = partial(_allocate, name=split, folder=folder, memory=job.knobs.memory)
    filled = _fill(outputs, count, f"frozen part, {split}", allocate)
    if filled is None:
        return None
    values, is_filled = filled
    rows = np.flatnonzero(is_filled.reshape(views, -1).all(0))
    job.skip_unreadable(listing.paths, rows)
    say(f"{split} through the frozen part: {is_filled.sum() / (time.perf_counter() - started):.0f} pictures/s")
    labels = np.eye(len(listing.classes), dtype="float32")[np.array(listing.labels)[rows]]
    return FrozenFeatures(values, rows, labels, views)


def _measure_batches(outputs: Iterable, clock: Clock) -> Iterator:
    """The same batches. The first one, for which the model is compiled, is not measured as the others are."""
    ended, is_first = time.perf_counter(), True
    for batch, places in outputs:
        now = time.perf_counter()
        if is_first:
            clock.measure("start features", 1, now - ended)
        else:
            clock.measure("features", len(places), now - ended)
        ended, is_first = now, False
        yield batch, places


def _fill(outputs: Iterable, count: int, name: str, allocate: Callable):
    """Arrays of all outputs, and which of their `count` rows were filled; None if `allocate` has no room."""
    values, is_filled = (), np.zeros(count, bool)
    with progress_bar(count, name) as tick:
        for batch, places in outputs:
            if not values:
                values = allocate([(count, *output.shape[1:]) for output in batch])
                if values is None:
                    return None
            for value, output in zip(values, batch, strict=True):
                value[places] = output
            is_filled[places] = True
            tick(len(places))
    return values, is_filled


def _allocate(shapes, *, name: str, folder: Path, memory: float):
    """Empty float32 arrays in memory, or files in the folder if they exceed `memory` GB, or None."""
    space = view_cache.CacheSpace(memory, folder)
    arrays = view_cache.allocate_arrays(shapes, np.float32, space, name=name.replace(" ", "-"))
    if arrays is None:
        size = 4e-9 * sum(map(math.prod, shapes))
        warn(f"No room in {folder} for {size:.1f} GB of {name} features: the frozen part runs in every epoch.")
    return arrays
