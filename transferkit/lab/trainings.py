"""Networks compared on the digits, each at its own learning rate, which pictures choose that measure nothing else.

Of the 1,200 training pictures of `small_data.load_digits`, a seed draws its own from the first 900. The other 300
choose the rates, and the test pictures measure.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from transferkit.lab import fitting
from transferkit.lab.small_data import Split, load_digits

SIDE = 16  # of a picture, in pixels: digits have 8
POOL = 900  # training pictures that seeds draw from
CHOICE_SEED = 10_000  # of the trainings that choose a rate
BATCH = 32


@dataclass(frozen=True)
class Trained:
    """Trainings of one network.

    Attributes:
        rate: the learning rate.
        histories: Keras' history of each seed: `accuracy` and `loss` of each epoch, `val_accuracy` of the test pictures
            after the last.
    """

    rate: float
    histories: Sequence[Mapping[str, Sequence[float]]]

    def curves(self, name: str = "accuracy") -> np.ndarray:
        """A figure of each epoch, (seeds, epochs)."""
        return np.array([history[name] for history in self.histories])

    def last(self, name: str = "val_accuracy") -> np.ndarray:
        """A figure after the last epoch, (seeds,)."""
        return np.array([history[name][-1] for history in self.histories])


def draw_split(seed: int, pictures: int, *, side: int = SIDE) -> Split:
    """The training pictures of a seed, and the test pictures."""
    digits = _load(side)
    chosen = np.random.default_rng(seed).permutation(min(POOL, len(digits.train)))[:pictures]
    return Split(digits.train[chosen], digits.train_labels[chosen], digits.test, digits.test_labels)


def choice_pictures(side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """The pictures that choose rates, and their labels."""
    digits = _load(side)
    return digits.train[POOL:], digits.train_labels[POOL:]


@functools.cache
def _load(side: int) -> Split:
    return load_digits(side=side)


def train_anew(
    model: keras.Model,
    pictures: np.ndarray,
    labels: np.ndarray | dict[str, np.ndarray],
    *,
    epochs: int,
    rate: float,
    seed: int,
    validation: tuple | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Train a network from fresh weights by SGD with momentum 0.9, in batches of 32; return Keras' history.

    Args:
        validation: pictures and labels that are evaluated after the last epoch.
    """
    fitting.redraw(model, seed)
    if not getattr(model, "optimizer", None):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, metrics=["accuracy"])
    fitting.restart_optimizer(model, rate)
    how: dict = {"validation_data": validation, "validation_freq": epochs} if validation else {}
    return model.fit(
        pictures, labels, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=list(callbacks), **how
    ).history


def compare(
    builders: Mapping[str, Callable[[], keras.Model]],
    *,
    rates: Sequence[float],
    epochs: int,
    seeds: int,
    pictures: int,
    side: int = SIDE,
) -> dict[str, Trained]:
    """Train networks, each at the rate with which it is best on the pictures that choose.

    Args:
        builders: a function that builds a network, by what it is called.
        rates: to choose from.
        pictures: number of training pictures.
    """
    found = {}
    for label, build in builders.items():
        model, choice = build(), draw_split(CHOICE_SEED, pictures, side=side)

        def score(rate, model=model, choice=choice):
            how: dict = {"epochs": epochs, "rate": rate, "validation": choice_pictures(side)}
            history = train_anew(model, choice.train, choice.train_labels, seed=CHOICE_SEED, **how)
            return history["val_accuracy"][-1]

        rate = max(rates, key=score) if len(rates) > 1 else rates[0]
        found[label] = Trained(
            rate, train_seeds(model, rate=rate, epochs=epochs, seeds=seeds, pictures=pictures, side=side)
        )
    return found


def train_seeds(model: keras.Model, *, rate: float, epochs: int, seeds: int, pictures: int, side: int = SIDE):
    """The histories of trainings at one rate; `val_accuracy` is of the test pictures."""
    histories = []
    for seed in range(seeds):
        split = draw_split(seed, pictures, side=side)
        test = split.test, split.test_labels
        histories.append(
            train_anew(model, split.train, split.train_labels, epochs=epochs, rate=rate, seed=seed, validation=test)
        )
    return histories


def named(names: Mapping[str, str], *, side: int = SIDE) -> dict[str, Callable[[], keras.Model]]:
    """Builders of networks of the zoo, by what each is called."""
    return {label: functools.partial(fitting.build, name, side=side) for label, name in names.items()}
