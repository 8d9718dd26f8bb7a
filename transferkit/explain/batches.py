"""Functions of pictures on full batches, so that TensorFlow compiles them once."""

from collections.abc import Callable

import keras
import numpy as np

from transferkit.data import lazy_tensorflow as tf
from transferkit.evaluation.predict import choose_batch_size


def compiled(function: Callable) -> Callable:
    """The function as one graph of TensorFlow, which does not warn that there is one for each network.

    Raises:
        ValueError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Explanations need Keras on TensorFlow, not on {keras.backend.backend()}.")
    tf.COMPILED_OFTEN.add(function.__qualname__)
    return tf.function(function, reduce_retracing=True)


def map_batches(function: Callable, *arrays: np.ndarray) -> list[np.ndarray]:
    """Apply a function of a batch of each array to all of them.

    Args:
        function: from arrays (m, ...) to a list of arrays (m, ...).
        arrays: (n, ...) with the same n, at least 1.

    Returns:
        Its results for all n.
    """
    count = len(arrays[0])
    size, found = choose_batch_size(count), []
    for start in range(0, count, size):
        parts = [array[start : start + size] for array in arrays]
        missing = size - len(parts[0])
        filled = [np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part for part in parts]
        found.append([np.asarray(result)[: size - missing] for result in function(*filled)])
    return [np.concatenate(results) for results in zip(*found, strict=True)]
