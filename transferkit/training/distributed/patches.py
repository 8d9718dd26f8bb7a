"""Two patches of Keras 3.15, without which `fit` fails under `MultiWorkerMirroredStrategy` (keras#20585)."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import keras

TESTED = "3.15"
PARAMETERS = ["values", "strategy", "reduction"]  # of the patched function


@contextmanager
def patch_fit(model: keras.Model, batch_spec) -> Iterator[None]:
    """In this context, a compiled model of several workers can be fitted and evaluated.

    To learn the shape of a batch, Keras takes the mean of all workers' first pictures: the model is built beforehand.
    And it takes the mean of metrics, which are scalars, along their first axis: here it is the mean of the scalars.

    Args:
        batch_spec: shapes and dtypes of a batch, as in `Dataset.element_spec`.

    Raises:
        ValueError: the patches are not known to fit this version of Keras.
    """
    trainer = check_keras()
    original = trainer.reduce_per_replica
    with model.distribute_strategy.scope():
        model._symbolic_build(data_batch=batch_spec)
    model._maybe_symbolic_build = _skip_build
    trainer.reduce_per_replica = _reduce_mean
    try:
        yield
    finally:
        trainer.reduce_per_replica = original
        del model._maybe_symbolic_build


def check_keras():
    """The module of Keras that is patched; raise `ValueError` if it is not the version that the patches are for."""
    from keras.src.backend.tensorflow import trainer

    found = list(inspect.signature(trainer.reduce_per_replica).parameters)
    if keras.__version__.rpartition(".")[0] != TESTED or found != PARAMETERS:
        raise ValueError(
            f"Several workers need Keras {TESTED}, which is patched for them, not {keras.__version__}: "
            f"pip install 'keras=={TESTED}.*'."
        )
    return trainer


def _skip_build(iterator=None, data_batch=None):
    """Replaces building the model, which is built."""


def _reduce_mean(values, strategy, reduction):
    return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
