"""How tf.data runs our pipelines: a fixed number of calls at once, and no thread that tunes it."""

from transferkit.cpus import available_cpus
from transferkit.data import lazy_tensorflow as tf

CALLS = available_cpus() + 1  # pictures in work at once: one of them may wait for Python's lock


def without_autotuning(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Switch tf.data's tuning off, for this dataset and whatever is made of it.

    Its thread sleeps 10 ms, then 20, 40, ..., and often misses that an iterator ends (TensorFlow 2.21): whoever ends a
    pass then waits for it to wake up, up to as long as the pass took. Without tuning, tf.data adds no prefetching
    of its own: a dataset should end with `prefetch`.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
