"""Checks before figures are reported: the evaluated network is the one that training kept and that the file holds."""

from pathlib import Path

import numpy as np

from transferkit import models
from transferkit.data import pipeline
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.predict import require_classifier
from transferkit.network import Network, for_inference

PICTURES = 8
TOLERANCE = 0.01  # difference of a probability: kernels round differently
TOLERANCE_MIXED = 0.1  # if it was computed in 16 bits, as the file is float32


def check_measured(figures: dict, expected: float):
    """Raise `ValueError` if the kept weights have another validation accuracy than in training.

    A few pictures may change their class where another kernel computes them, in 16 bits some more.

    Args:
        figures: with the `accuracy` on the `n` validation pictures.
        expected: the accuracy when the weights were kept.
    """
    if abs(figures["accuracy"] - expected) * figures["n"] > 1.5 + 0.02 * figures["n"]:
        raise ValueError(
            f"The kept weights have a validation accuracy of {figures['accuracy']:.3f}, but had {expected:.3f} in "
            "training: no figures are reported, and the checkpoints stay."
        )


def check_saved(path: Path, network: Network, predictions: list[dict]) -> Network:
    """Compare a saved network with the one in memory: all weights, and the predictions of some pictures.

    Args:
        path: of the saved network.
        network: the one in memory.
        predictions: rows of `predict.evaluate` by that network; the first `PICTURES` are compared.

    Returns:
        The saved network, loaded.

    Raises:
        ValueError: they differ.
    """
    saved, measured = models.load_file(path), for_inference(network).model
    difference = _compare_weights(saved.model, measured)
    is_mixed = any(layer.compute_dtype != "float32" for layer in measured.layers)
    if not difference and predictions:
        tolerance = TOLERANCE_MIXED if is_mixed else TOLERANCE
        difference = _compare_predictions(saved, predictions[:PICTURES], tolerance)
    if difference:
        raise ValueError(f"{path} {difference}, so it is not the network that was evaluated.")
    return saved


def _compare_weights(saved, measured) -> str:
    """A description of the difference, or ""."""
    if len(saved.weights) != len(measured.weights):
        return f"holds {len(saved.weights)} weights of {len(measured.weights)}"
    pairs = zip(saved.weights, measured.weights, strict=True)
    different = [old.path for new, old in pairs if not np.array_equal(new, old, equal_nan=True)]
    return f"holds other values of {len(different)} weights, {different[0]} among them" if different else ""


def _compare_predictions(saved: Network, predictions: list[dict], tolerance: float) -> str:
    """A description of the difference, or ""."""
    paths = [row["path"] for row in predictions]
    pictures, rows = next(iter(pipeline.evaluation_dataset(paths, saved.pixels, batch_size=len(paths))), (None, ()))
    if not len(rows):  # the files are gone by now
        return ""
    logits = np.asarray(require_classifier(saved).model.predict_on_batch(pictures))
    probabilities = to_probabilities(logits, saved.temperature)
    for row, of_picture in zip(np.asarray(rows), probabilities, strict=True):
        label, expected = predictions[row]["predicted"], predictions[row]["probability"]
        probability = of_picture[saved.classes.index(label)]
        if not abs(probability - expected) <= tolerance:
            return f"gives {label} a probability of {probability:.3f} for {paths[row]}, where it was {expected:.3f}"
    return ""
