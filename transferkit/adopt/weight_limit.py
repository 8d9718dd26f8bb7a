"""A bound on the weights that a file's configuration may request: as many as the file can hold.

A line of text is enough for a layer of a billion units, and Keras makes its weights before it reads the file.
"""

import math
from contextlib import contextmanager

from transferkit.adopt.graph import UnsuitableModelError
from transferkit.keras_internals import before_add_weight

MORE = 10_000_000  # weights that need not be in the file, as of merged adapters


@contextmanager
def limit_weights(size: int):
    """In this context, layers may make as many weights as a file of `size` bytes holds in half precision, and `MORE`.

    Raises:
        UnsuitableModelError: the layers request more.
    """
    requested, budget = 0, size // 2 + MORE

    def count(shape):
        nonlocal requested
        requested += math.prod((shape,) if isinstance(shape, int) else shape or ())
        if requested > budget:
            raise UnsuitableModelError("has layers of more weights than it holds.")

    try:
        with before_add_weight(count):
            yield
    except Exception as error:  # Keras words what comes out of a layer anew
        if requested > budget:
            raise UnsuitableModelError(
                "is damaged: its layers ask for more weights than a file of its length holds."
            ) from error
        raise
