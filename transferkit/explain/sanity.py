"""Whether maps depend on the network: randomised weights, and what deleting and inserting the pixels does."""

from collections.abc import Callable

import keras
import numpy as np
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.evaluation.calibration import to_probabilities
from transferkit.explain import map_layers
from transferkit.explain.batches import map_batches
from transferkit.network import clone_layer, uncompiled

POINTS = 28  # of a deletion or insertion curve, besides its start
BLUR = 5.0  # standard deviation, in pixels of a picture of 224, of the blur that insertion starts from


def randomise_cascade(
    model: keras.Model, explain: Callable, *, seed: int = 0, most: int = 10
) -> list[tuple[str, np.ndarray]]:
    """Compare the maps of a network with those of the network with ever more random layers, from the top down.

    A layer is randomised by shuffling the values of each of its weights, which keeps their scale.

    Args:
        model: a flat model; it stays as it is.
        explain: from a model to maps (n, h, w).
        seed: of the shuffling.
        most: steps on the way at most.

    Returns:
        (the deepest layer that is random, Spearman's rank correlation (n,) of the maps with the network's own): first
        of the head alone, then down to each cut point, last of all layers. 0 where a map is constant.

    Source: Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3 (cascading randomisation).
    """
    copy = keras.models.clone_model(uncompiled(model), clone_function=clone_layer)
    copy.set_weights(model.get_weights())
    random, own, found = np.random.default_rng(seed), explain(model), []
    names = [layer.name for layer in copy.layers]
    ends = [names.index(name) for name in map_layers.list_steps(copy, most)]
    bottom = len(names)
    for end in [*ends[::-1], -1]:
        reached = [layer for layer in copy.layers[end + 1 : bottom] if layer.weights]
        for layer in reached:
            layer.set_weights([random.permutation(value.ravel()).reshape(value.shape) for value in layer.get_weights()])
        bottom = end + 1
        if reached:
            found.append((reached[0].name, correlate(own, explain(copy))))
    return found


def correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (n,) of the absolute values of maps (n, h, w); 0 where one is constant."""
    pairs = [(np.abs(one).ravel(), np.abs(other).ravel()) for one, other in zip(first, second, strict=True)]
    return np.array([float(spearmanr(*pair)[0]) if all(map(np.ptp, pair)) else 0.0 for pair in pairs])


def deletion_curves(
    model: keras.Model, pictures: np.ndarray, classes, maps: np.ndarray, *, baseline=127.5, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the class as the pixels of a map are deleted, or inserted, the highest first.

    Args:
        model: pictures (n, h, w, c) in 0..255 to logits.
        pictures: (n, h, w, c).
        classes: (n,), the class of each.
        maps: (n, h, w), as large as the pictures.
        baseline: colour of deleted pixels, 0..255. Insertion starts from the blurred picture.
        temperature: logits are divided by it.

    Returns:
        Two arrays (n, POINTS + 1) of probabilities, of deletion (a good map makes it fall early) and of insertion (it
        rises early). Their means are the areas under the curves.

    Source: Petsiuk et al. 2018, RISE, section 4.1 (algorithm 1).
    """
    folded, curves = fold_batchnorm(model), []
    for picture, label, heat in zip(np.asarray(pictures, "float32"), classes, maps, strict=True):
        order = np.argsort(-heat.ravel(), kind="stable")
        rank = np.empty(order.size)
        rank[order] = np.arange(order.size)
        rank = rank.reshape(heat.shape)[..., None]
        cuts = np.round(np.linspace(0, order.size, POINTS + 1))[:, None, None, None]
        sigma = BLUR * min(heat.shape) / 224
        blurred = gaussian_filter(picture, (sigma, sigma, 0))
        steps = np.concatenate([np.where(rank < cuts, baseline, picture), np.where(rank < cuts, picture, blurred)])
        logits = map_batches(lambda batch: [folded.predict_on_batch(batch)], steps.astype("float32"))[0]
        curves.append(to_probabilities(logits, temperature)[:, label])
    deletion, insertion = np.split(np.array(curves), 2, axis=1)
    return deletion, insertion


def areas(curves: np.ndarray) -> np.ndarray:
    """The areas (n,) under curves (n, points) over 0 to 1."""
    return trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1)
