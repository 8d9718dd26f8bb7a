"""How pipelines work in parallel: a fixed number of calls of tf.data, without its tuning, and threads of our own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from transferkit.cpus import available_cpus
from transferkit.data import lazy_tensorflow as tf

THREADS = available_cpus()  # of `run_in_threads`
CALLS = THREADS + 1  # of tf.data for single pictures: one of them may wait for Python's lock


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "transferkit")


def run_in_threads(function: Callable[[int], None], count: int):
    """Call function(0) to function(count - 1), in threads that all callers share.

    For work that releases Python's lock. A `tf.numpy_function` for each picture instead is a fifth slower.

    Raises:
        Exception: whatever the function raises first.
    """
    numbers = iter(range(count))

    def work():
        for number in numbers:
            function(number)

    tasks = [_threads().submit(work) for _ in range(min(count, THREADS))]
    for task in tasks:
        task.result()


def parallel_batches(batch_size: int) -> int:
    """How many batches `run_in_threads` should get at once, so that no thread waits for the last pictures of one."""
    return 1 + -(-THREADS // batch_size)


def without_autotuning(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Switch tf.data's tuning off, for this dataset and whatever is made of it.

    Its thread sleeps 10 ms, then 20, 40, ..., and often misses that an iterator ends (TensorFlow 2.21): whoever ends a
    pass then waits for it to wake up, up to as long as the pass took. Without tuning, tf.data adds no prefetching
    of its own: a dataset should end with `prefetch`.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
