"""The order of pictures in training: a function of seed and epoch alone, so that a resumed run continues the same."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from transferkit.data.parallel import without_autotuning


@dataclass(frozen=True)
class EpochOrder:
    """The order of pictures in training.

    Every batch is full: an epoch is every picture once, newly shuffled, and some again to fill the last batch.

    Attributes:
        labels: of all pictures.
        batch_size: pictures in a step, over all workers.
        seed: of the shuffles.
        epochs: the epochs to run.
        skip_steps: steps of the first epoch that a run has done before it was resumed.
        micro_batches: number of equal parts of a batch that are run one after the other.
        shard: (i, n): this is worker i of n, which gets the i-th of n equal parts of every batch.
        sampling: "all" pictures, or "balanced": as many of each class, those of small classes several times.

    Raises:
        ValueError: the batch cannot be divided among the workers and micro-batches.
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
            receivers = (
                f"{self.shard[1]} workers"
                if self.micro_batches == 1
                else f"{self.shard[1]} workers in {self.micro_batches} parts"
            )
            raise ValueError(f"A batch of {self.batch_size} pictures cannot be shared by {receivers}: take a multiple.")

    @property
    def num_pictures(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.num_pictures // self.batch_size)

    @property
    def worker_batch_size(self) -> int:
        """Pictures in one worker's micro-batch."""
        return self.batch_size // self.shard[1] // self.micro_batches

    def epoch_rows(self, epoch: int) -> tf.Tensor:
        """The rows of an epoch's pictures, int32 (steps, batch size)."""
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_pictures), seed=(self.seed, tf.cast(epoch, tf.int32))
        )
        positions = tf.range(self.steps * self.batch_size)
        rows = (
            self._balanced_rows(shuffled, positions) if self.sampling == "balanced" else positions % self.num_pictures
        )
        return tf.reshape(tf.gather(shuffled, rows), (self.steps, self.batch_size))

    def worker_rows(self, epoch: int, skip_steps: int = 0) -> np.ndarray:
        """This worker's rows of an epoch after the skipped steps, without those that fill the last batch."""
        worker, workers = self.shard
        is_first = np.arange(self.steps * self.batch_size) < self.num_pictures
        shape = (self.steps, workers, -1)
        rows = self.epoch_rows(epoch).numpy().reshape(shape)[skip_steps:, worker]
        return rows[is_first.reshape(shape)[skip_steps:, worker]]

    def _balanced_rows(self, shuffled, positions):
        """Positions in `shuffled` that cycle through the classes, and in each class through its pictures."""
        labels = tf.gather(tf.constant(self.labels, tf.int32), shuffled)
        by_class = tf.argsort(labels, stable=True)
        classes, _, sizes = tf.unique_with_counts(tf.gather(labels, by_class))
        label = positions % tf.size(classes)
        nth = positions // tf.size(classes) % tf.gather(sizes, label)
        return tf.gather(by_class, tf.gather(tf.cumsum(sizes, exclusive=True), label) + nth)

    def dataset(self) -> tf.data.Dataset:
        """A dataset of this worker's (epoch, row), int64 and int32, in order."""
        worker, workers = self.shard

        def epoch_dataset(epoch):
            rows = tf.reshape(self.epoch_rows(epoch), (self.steps, workers, -1))[:, worker]
            rows = tf.reshape(rows[tf.where(epoch == self.epochs.start, self.skip_steps, 0) :], (-1,))
            return tf.data.Dataset.from_tensor_slices((tf.repeat(epoch, tf.size(rows)), rows))

        return without_autotuning(tf.data.Dataset.range(self.epochs.start, self.epochs.stop)).flat_map(epoch_dataset)
