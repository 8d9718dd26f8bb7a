"""The head's own phase: the frozen network runs once, the head learns on what it said."""

import time

import keras
import numpy as np

from transferkit.console import say
from transferkit.data import audit, pipeline
from transferkit.data.listing import Splits
from transferkit.evaluation.predict import outputs_of
from transferkit.network import Network
from transferkit.recipe import Recipe
from transferkit.training import losses, optimizers
from transferkit.training.callbacks import best_of


def fit_head(network: Network, splits: Splits, recipe: Recipe, lost: dict[str, str]) -> list[dict]:
    """Train the last layer on features of the plain view of every picture, computed once.

    The same as training the whole network with all but the head frozen and no augmentation, at the cost of one pass
    over the pictures. The head is left as it was after its best epoch on `splits.val`. Pictures that cannot be read are
    added to `lost`.

    Returns:
        A dict an epoch (phase, epoch, loss, accuracy, val_loss, val_accuracy).
    """
    knobs, head = recipe.train, network.model.get_layer(network.head)
    body = keras.Model(network.model.input, head.input)
    train, val = (_features(body, network.pixels, part, name, lost) for name, part in splits.items()[:2])
    model = keras.Model(head.input, network.model.output)  # the head, and an average over its map where there is one
    steps = -(-len(train[0]) // knobs.batch_size)
    optimizer = optimizers.make(knobs, lr=knobs.head_lr, steps=steps * knobs.head_epochs)
    losses.compile_for(model, optimizer, knobs, train[1].sum(axis=0))
    batches = pipeline.shuffled(*train, batch_size=knobs.batch_size, seed=knobs.seed, epochs=range(knobs.head_epochs))
    rows, best = [], None

    def keep(epoch, logs):
        nonlocal best
        rows.append({"phase": "head", "epoch": epoch + 1} | {name: round(float(v), 6) for name, v in logs.items()})
        if best_of(rows) is rows[-1]:
            best = head.get_weights()

    model.fit(
        batches,
        epochs=knobs.head_epochs,
        steps_per_epoch=steps,
        validation_data=val,
        validation_batch_size=256,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep)],
        shuffle=False,
        verbose=0,
    )
    head.set_weights(best)
    return rows


def _features(body, pixels, listing, what: str, lost: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, width) and one-hot labels (n, classes) of the pictures that can be read."""
    started = time.perf_counter()
    features, rows = outputs_of(body, listing.paths, pixels, what=f"features of {what}")
    audit.note_lost(listing.paths, rows, lost)
    audit.check_lost(listing.paths, lost)
    say(f"features of {what}: {len(rows) / (time.perf_counter() - started):.0f} pictures/s")
    labels = np.array(listing.labels)[rows]
    return features, np.eye(len(listing.classes), dtype="float32")[labels]
