"""Small networks trained for the experiments: plain `fit`, no augmentation, the seed given."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from transferkit import zoo
from transferkit.pixels import Pixels

BATCH = 64
NEARLY = 0.02  # of an accuracy, for `choose_rate`


def build(name: str, *, classes: int = 10, side: int = 32) -> keras.Model:
    """A network of the zoo with fresh weights, for pictures in 0..255 whose mean is about 127."""
    pixels = Pixels((127.5,) * 3, (127.5,) * 3, side, side)
    return zoo.build(name, pixels=pixels, num_classes=classes, size=side if zoo.has_fixed_size(name) else None)


def train(
    model: keras.Model,
    pictures: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    rate: float,
    seed: int,
    momentum: float = 0.9,
    validation: tuple | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    optimizer: Callable[[float], keras.optimizers.Optimizer] | None = None,
) -> dict[str, list[float]]:
    """Train a network from pictures to logits by SGD with momentum; return Keras' history.

    Args:
        pictures, labels: (n, h, w, c) in 0..255 and (n,).
        rate: the learning rate, constant.
        seed: of the order of the pictures and of dropout. The weights are drawn by `build`, after
            `keras.utils.set_random_seed`.
        validation: pictures and labels that are evaluated after each epoch.
        optimizer: from the rate to another optimizer.

    Returns:
        `loss`, `accuracy` and, with `validation`, `val_loss`, `val_accuracy`, a number for each epoch.
    """
    keras.utils.set_random_seed(seed)
    made = optimizer(rate) if optimizer else keras.optimizers.SGD(rate, momentum=momentum)
    model.compile(made, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model.fit(
        pictures, labels, batch_size=BATCH, epochs=epochs, verbose=0, validation_data=validation, callbacks=callbacks
    ).history


def accuracy(model: keras.Model, pictures: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of pictures whose largest logit is that of their class."""
    return float(np.mean(model.predict(pictures, batch_size=256, verbose=0).argmax(-1) == labels))


def train_fresh(model: keras.Model, split, *, epochs: int, rate: float, seed: int) -> keras.Model:
    """Draw the weights of a network anew and train it on the training pictures of a `Split`; return the network."""
    redraw(model, seed)
    retrain(model, split.train, split.train_labels, epochs=epochs, rate=rate, seed=seed)
    return model


def retrain(model: keras.Model, pictures: np.ndarray, labels: np.ndarray, *, epochs: int, rate: float, seed: int):
    """`train`, for a network that is trained many times: it is compiled once, which takes longer than a training.

    For the same reason all epochs are one, in which each picture comes as often. What is trainable must not change
    between the calls.
    """
    rows = np.tile(np.arange(len(pictures)), epochs)
    pictures, labels = pictures[rows], labels[rows]
    if not model.compiled:
        train(model, pictures, labels, epochs=1, rate=rate, seed=seed)
        return
    keras.utils.set_random_seed(seed)
    restart_optimizer(model, rate)
    model.fit(pictures, labels, batch_size=BATCH, verbose=0)


def redraw(model: keras.Model, seed: int):
    """Draw the weights anew, as of a network that was just built. It stays compiled: that is slow for deep networks."""
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())


def restart_optimizer(model: keras.Model, rate: float):
    """Set the optimizer of a compiled network to its start, with a learning rate."""
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    model.optimizer.learning_rate = rate


def choose_rate(split, rates: Sequence[float], fit: Callable) -> float:
    """The learning rate with the best accuracy on a fifth of the training pictures, the smallest of nearly equals.

    With a rate at the edge of what a network bears, other seeds fail.

    Args:
        split: its test pictures are not looked at.
        rates: the grid.
        fit: fit(split, rate, seed) trains a model on the training pictures of the `Split`.
    """
    if len(rates) == 1:
        return rates[0]
    kept = len(split.train) * 4 // 5
    held_out = split.train[kept:], split.train_labels[kept:]
    scores = {rate: accuracy(fit(split.first(kept), rate, 1000), *held_out) for rate in rates}
    return min(rate for rate, score in scores.items() if score >= max(scores.values()) - NEARLY)


def measure_seeds(splits: Sequence, rates: Sequence[float], fit: Callable, score: Callable | None = None):
    """Train one network for each of several divisions of the data, at the rate that suits the first of them.

    Args:
        splits: the `Split` of each seed, from 0.
        rates, fit: as in `choose_rate`.
        score: score(model, seed), what is measured; by default the accuracy on the test pictures.

    Returns:
        The rate, and what is measured for each split.
    """
    rate = choose_rate(splits[0], rates, fit)
    found = []
    for seed, split in enumerate(splits):
        model = fit(split, rate, seed)
        found.append(score(model, seed) if score else accuracy(model, split.test, split.test_labels))
    return rate, found
