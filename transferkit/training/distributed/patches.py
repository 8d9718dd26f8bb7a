"""Two patches of Keras 3.15, without which `fit` fails under `MultiWorkerMirroredStrategy` (keras#20585)."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import keras

TESTED = "3.15"
REDUCE = ["values", "strategy", "reduction"]


@contextmanager
def several_workers(model: keras.Model, example) -> Iterator[None]:
    """In this context, a compiled model of several workers can be fitted and evaluated.

    Before a first batch Keras takes the mean of all workers' pictures, to learn their shape: it is told the shape. And
    it takes the mean of figures, which are scalars, along their first axis: it is made to take the mean of the scalars.

    Args:
        example: shapes and dtypes of a batch, as `Dataset.element_spec` has them.

    Raises:
        ValueError: this Keras is not one that the patches are known to fit.
    """
    trainer = check()
    before = trainer.reduce_per_replica
    with model.distribute_strategy.scope():
        model._symbolic_build(data_batch=example)
    model._maybe_symbolic_build = _nothing
    trainer.reduce_per_replica = _mean
    try:
        yield
    finally:
        trainer.reduce_per_replica = before
        del model._maybe_symbolic_build


def check():
    """The module of Keras that is patched; raise `ValueError` if it is not the one that the patches were made for."""
    from keras.src.backend.tensorflow import trainer

    found = list(inspect.signature(trainer.reduce_per_replica).parameters)
    if keras.__version__.rpartition(".")[0] != TESTED or found != REDUCE:
        raise ValueError(
            f"Several workers need Keras {TESTED}, which is patched for them, not {keras.__version__}: "
            f"pip install 'keras=={TESTED}.*'."
        )
    return trainer


def _nothing(iterator=None, data_batch=None):
    """In place of building the model, which is built."""


def _mean(values, strategy, reduction):
    return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
