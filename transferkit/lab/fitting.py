"""Small networks trained for the experiments: plain `fit`, no augmentation, the seed given."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from transferkit import zoo
from transferkit.pixels import Pixels

BATCH = 64


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


def train_fresh(make: Callable[[], keras.Model], split, *, epochs: int, rate: float, seed: int) -> keras.Model:
    """A network with fresh weights, as make() builds it, trained on the training pictures of a `Split`."""
    keras.utils.set_random_seed(seed)
    model = make()
    train(model, split.train, split.train_labels, epochs=epochs, rate=rate, seed=seed)
    return model


def choose_rate(split, rates: Sequence[float], fit: Callable) -> float:
    """The learning rate with the best accuracy on a fifth of the training pictures, the smaller one of equals.

    Args:
        split: its test pictures are not looked at.
        rates: the grid.
        fit: fit(split, rate, seed) trains a model on the training pictures of the `Split`.
    """
    kept = len(split.train) * 4 // 5
    held_out = split.train[kept:], split.train_labels[kept:]
    return max(sorted(rates), key=lambda rate: accuracy(fit(split.first(kept), rate, 1000), *held_out))


def measure_seeds(splits: Sequence, rates: Sequence[float], fit: Callable) -> tuple[float, list[float], list]:
    """Train one network for each of several divisions of the data, at the rate that suits the first of them.

    Args:
        splits: the `Split` of each seed, from 0.
        rates, fit: as in `choose_rate`.

    Returns:
        The rate, the test accuracy of each split, and the models.
    """
    rate = choose_rate(splits[0], rates, fit)
    models = [fit(split, rate, seed) for seed, split in enumerate(splits)]
    scores = [accuracy(model, split.test, split.test_labels) for model, split in zip(models, splits, strict=True)]
    return rate, scores, models
