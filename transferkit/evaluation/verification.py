"""What was measured is what training kept and what the file holds: checked before figures are announced."""

from pathlib import Path

import numpy as np
from scipy.special import softmax

from transferkit import models
from transferkit.data import pipeline
from transferkit.evaluation.predict import classified
from transferkit.network import Network, for_use

PICTURES = 8
ALLOWED = 0.01  # difference of a probability: kernels differ in their rounding
ALLOWED_MIXED = 0.1  # where it was computed in 16 bits, for the file is float32


def check_measured(figures: dict, expected: float):
    """Raise `ValueError` if the weights that were kept have another accuracy on validation than in training.

    A picture may fall to the other side where another kernel computes it, in 16 bits some more.

    Args:
        figures: with the `accuracy` on the `n` validation pictures.
        expected: the accuracy when they were kept.
    """
    if abs(figures["accuracy"] - expected) * figures["n"] > 1.5 + 0.02 * figures["n"]:
        raise ValueError(
            f"The weights kept have a validation accuracy of {figures['accuracy']:.3f}, and had {expected:.3f} in "
            "training: nothing is announced, and the checkpoints stay."
        )


def check_saved(path: Path, network: Network, answers: list[dict]):
    """Compare a saved network with the one in memory, weight by weight, and with what was answered of some pictures.

    Args:
        answers: rows of `predict.evaluate`; the first of them are looked at.

    Raises:
        ValueError: it is another one.
    """
    saved, measured = models.read(path), for_use(network).model
    reason = _other_weights(saved.model, measured)
    mixed = any(layer.compute_dtype != "float32" for layer in measured.layers)
    if not reason and answers:
        reason = _other_answers(saved, answers[:PICTURES], ALLOWED_MIXED if mixed else ALLOWED)
    if reason:
        raise ValueError(f"{path} {reason}, so it is not the network that was measured.")


def _other_weights(saved, measured) -> str:
    if len(saved.weights) != len(measured.weights):
        return f"holds {len(saved.weights)} weights of {len(measured.weights)}"
    pairs = zip(saved.weights, measured.weights, strict=True)
    other = [its.path for found, its in pairs if not np.array_equal(found, its, equal_nan=True)]
    return f"holds other values of {len(other)} weights, {other[0]} among them" if other else ""


def _other_answers(saved: Network, answers: list[dict], allowed: float) -> str:
    paths = [answer["path"] for answer in answers]
    pictures, rows = next(iter(pipeline.evaluation_dataset(paths, saved.pixels, batch_size=len(paths))), (None, ()))
    if not len(rows):  # they have gone meanwhile
        return ""
    chances = softmax(classified(saved).model.predict_on_batch(pictures).astype("float64"), axis=1)
    for row, found in zip(np.asarray(rows), chances, strict=True):
        label, probability = answers[row]["predicted"], answers[row]["probability"]
        its = found[saved.classes.index(label)]
        if not abs(its - probability) <= allowed:
            return f"gives {label} a probability of {its:.3f} for {paths[row]}, where it was {probability:.3f}"
    return ""
