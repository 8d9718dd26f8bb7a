"""A bound on the weights that a file's configuration may ask for: as many as the file can hold.

A layer of a billion units is a line of text. Keras makes its weights before it looks for them in the file.
"""

import math
from contextlib import contextmanager

from transferkit.adopt.graph import Unfit
from transferkit.keras_internals import before_add_weight

MORE = 10_000_000  # numbers that need not be in the file, as of adapters that were merged


@contextmanager
def within(size: int):
    """Inside, layers may make as many numbers as fit into a file of `size` bytes in half precision, and `MORE`.

    Raises:
        Unfit: they ask for more.
    """
    requested, budget = 0, size // 2 + MORE

    def count(shape):
        nonlocal requested
        requested += math.prod((shape,) if isinstance(shape, int) else shape or ())
        if requested > budget:
            raise Unfit("has layers of more weights than it holds.")

    try:
        with before_add_weight(count):
            yield
    except Exception as error:  # Keras words what comes out of a layer anew
        if requested > budget:
            raise Unfit("is damaged: its layers ask for more weights than a file of its length holds.") from error
        raise
