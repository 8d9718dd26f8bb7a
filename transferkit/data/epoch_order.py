"""Which picture comes when: a function of seed and epoch alone, so that a resumed run sees what it would have."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class EpochOrder:
    """The pictures of each step of training.

    All batches are full: an epoch is every picture once, shuffled anew, and as many again as fill the last one.

    Attributes:
        labels: of all pictures, in the order of their rows.
        batch_size: pictures of a step, of all workers together.
        seed: of the shuffles.
        epochs: which epochs to give, one after the other.
        skip: steps of the first of them that are left out, for they have been seen.
        parts: equal parts of a batch that are given one after the other.
        shard: (i, n): this is worker i of n, which gets the i-th of n equal parts of every batch.
        sampling: "all" pictures, or "balanced": as many of each class, the small ones' pictures several times.

    Raises:
        ValueError: the batch cannot be divided by the workers and parts.
    """

    labels: tuple[int, ...]
    batch_size: int
    seed: int
    epochs: range
    skip_steps: int = 0
    micro_batches: int = 1
    shard: tuple[int, int] = (0, 1)
    sampling: str = "all"

    def __post_init__(self):
        if self.batch_size % (self.shard[1] * self.micro_batches):
            whom = (
                f"{self.shard[1]} workers"
                if self.micro_batches == 1
                else f"{self.shard[1]} workers in {self.micro_batches} parts"
            )
            raise ValueError(f"A batch of {self.batch_size} pictures cannot be shared by {whom}: take a multiple.")

    @property
    def num_pictures(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.num_pictures // self.batch_size)

    @property
    def worker_batch_size(self) -> int:
        """Pictures of one worker's part of a batch."""
        return self.batch_size // self.shard[1] // self.micro_batches

    def epoch_rows(self, epoch: int) -> tf.Tensor:
        """The rows of an epoch's pictures (steps, batch size), int32."""
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_pictures), seed=(self.seed, tf.cast(epoch, tf.int32))
        )
        places = tf.range(self.steps * self.batch_size)
        rows = self._balanced_rows(shuffled, places) if self.sampling == "balanced" else places % self.num_pictures
        return tf.reshape(tf.gather(shuffled, rows), (self.steps, self.batch_size))

    def worker_rows(self, epoch: int, skipped: int = 0) -> np.ndarray:
        """This worker's rows of an epoch, after so many steps of it, without what fills the last batch."""
        worker, workers = self.shard
        counted = np.arange(self.steps * self.batch_size) < self.num_pictures
        shape = (self.steps, workers, -1)
        rows = self.epoch_rows(epoch).numpy().reshape(shape)[skipped:, worker]
        return rows[counted.reshape(shape)[skipped:, worker]]

    def _balanced_rows(self, shuffled, places):
        """Places in `shuffled` that go round the classes, and in each class round its pictures."""
        labels = tf.gather(tf.constant(self.labels, tf.int32), shuffled)
        by_class = tf.argsort(labels, stable=True)
        classes, _, sizes = tf.unique_with_counts(tf.gather(labels, by_class))
        which = places % tf.size(classes)
        nth = places // tf.size(classes) % tf.gather(sizes, which)
        return tf.gather(by_class, tf.gather(tf.cumsum(sizes, exclusive=True), which) + nth)

    def dataset(self) -> tf.data.Dataset:
        """This worker's (epoch, row), one after the other, int64 and int32."""
        worker, workers = self.shard

        def one(epoch):
            rows = tf.reshape(self.epoch_rows(epoch), (self.steps, workers, -1))[:, worker]
            rows = tf.reshape(rows[tf.where(epoch == self.epochs.start, self.skip_steps, 0) :], (-1,))
            return tf.data.Dataset.from_tensor_slices((tf.repeat(epoch, tf.size(rows)), rows))

        return tf.data.Dataset.range(self.epochs.start, self.epochs.stop).flat_map(one)
