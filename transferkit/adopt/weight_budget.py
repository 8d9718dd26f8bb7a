"""A bound on the weights that a file's configuration may ask for: as many as the file can hold.

A layer of a billion units is a line of text. Keras makes its weights before it looks for them in the file.
"""

import functools
import math
from contextlib import contextmanager

import keras

from transferkit.adopt.graph import Unfit

MORE = 10_000_000  # numbers that need not be in the file, as of adapters that were merged


@contextmanager
def within(size: int):
    """Inside, layers may make as many numbers as fit into a file of `size` bytes in half precision, and `MORE`.

    Raises:
        Unfit: they ask for more.
    """
    add_weight, asked, most = keras.layers.Layer.add_weight, 0, size // 2 + MORE

    @functools.wraps(add_weight)
    def counted(self, shape=None, *args, **words):
        nonlocal asked
        asked += math.prod((shape,) if isinstance(shape, int) else shape or ())
        if asked > most:
            raise Unfit("has layers of more weights than it holds.")
        return add_weight(self, shape, *args, **words)

    keras.layers.Layer.add_weight = counted
    try:
        yield
    except Exception as error:  # Keras words what comes out of a layer anew
        if asked > most:
            raise Unfit("is damaged: its layers ask for more weights than a file of its length holds.") from error
        raise
    finally:
        keras.layers.Layer.add_weight = add_weight
