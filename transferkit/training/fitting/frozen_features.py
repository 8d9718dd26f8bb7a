"""What a frozen part of a network makes of pictures: computed once for each view, in memory or on disk."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from transferkit.console import counted, say, warn
from transferkit.data import pipeline, view_cache
from transferkit.data.audit import before_training
from transferkit.data.augment.augmentation import Augmentation
from transferkit.data.listing import Listing
from transferkit.evaluation.predict import BATCH, batch_for, run
from transferkit.pixels import Pixels


@dataclass(frozen=True)
class Maps:
    """Outputs of a frozen part.

    Attributes:
        values: each output (views n, ...), float32, view v of picture r of n at v n + r.
        rows: (m,) the pictures that could be read.
        labels: theirs, one-hot (m, classes).
        views: of each picture.
    """

    values: tuple[np.ndarray | view_cache.DiskArray, ...]
    rows: np.ndarray
    labels: np.ndarray
    views: int

    def __len__(self):
        return len(self.rows)

    @property
    def in_memory(self) -> bool:
        return not any(isinstance(value, view_cache.DiskArray) for value in self.values)

    def answers(self, model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        """Logits of what follows the frozen part, and their rows: as `predict.outputs_of` gives those of the whole."""
        full = np.resize(self.rows, -(-len(self) // BATCH) * BATCH)  # JAX divides no batch but a full one among devices
        values = [value[full] for value in self.values]
        logits = model.predict(values if len(values) > 1 else values[0], batch_size=BATCH, verbose=0)
        return (logits["logits"] if isinstance(logits, dict) else logits)[: len(self)], self.rows


def computed(
    part: keras.Model,
    listing: Listing,
    pixels: Pixels,
    *,
    what: str,
    lost: dict[str, str],
    folder: Path,
    memory: float,
    seed: int = 0,
    views: int = 1,
    augmentation: Augmentation | None = None,
) -> Maps | None:
    """Run a frozen part on views of every picture.

    Args:
        part: from pictures to one or several outputs, as of `freezing.divided`, folded.
        what: the pictures are, for the bar.
        lost: `{path: reason}`, to which pictures that cannot be read are added.
        folder: where outputs go that are more than `memory` GB.
        views: 1 is the plain view of evaluation; of several, each is one that `pipeline.training` shows, in turn.

    Returns:
        None, after a warning, where there is room for them neither in memory nor on disk.

    Raises:
        ValueError: more than one picture in five cannot be read.
    """
    started = time.perf_counter()
    batch_size = batch_for(len(listing), BATCH)
    if views == 1:
        batches = pipeline.evaluation_dataset(listing.paths, pixels, batch_size=batch_size)
    else:
        source = pipeline.ViewSource(listing, pixels, augmentation)
        batches = pipeline.fixed_views(source, views=views, seed=seed, batch_size=batch_size)
    values, seen = _filled(part, batches, batch_size, views * len(listing), what, folder, memory)
    if values is None:
        return None
    rows = np.flatnonzero(seen.reshape(views, -1).all(0))
    lost |= before_training.report_unreadable(listing.paths, rows, lost)
    before_training.check_unreadable_fraction(listing.paths, lost)
    say(f"{what} through the frozen part: {seen.sum() / (time.perf_counter() - started):.0f} pictures/s")
    labels = np.eye(len(listing.classes), dtype="float32")[np.array(listing.labels)[rows]]
    return Maps(values, rows, labels, views)


def _filled(part, batches: Iterable, batch_size: int, count: int, what: str, folder: Path, memory: float):
    """Arrays of all outputs, and which of their places were filled."""
    values, seen = None, np.zeros(count, bool)
    with counted(count, what) as tick:
        for outputs, places in run(part, batches, batch_size):
            if values is None:
                values = _room([(count, *output.shape[1:]) for output in outputs], what, folder, memory)
                if values is None:
                    return None, seen
            for value, output in zip(values, outputs, strict=True):
                value[places] = output
            seen[places] = True
            tick(len(places))
    return values or (), seen


def _room(shapes, what: str, folder: Path, memory: float):
    """Empty arrays in memory, or files where they are larger, or None."""
    space = view_cache.CacheSpace(memory, folder)
    room = view_cache.allocate_arrays(shapes, np.float32, space, name=what.replace(" ", "-"))
    if room is None:
        size = 4e-9 * sum(map(math.prod, shapes))
        warn(f"The frozen part runs in every epoch: for {size:.1f} GB of {what} {folder} has no room.")
    return room
