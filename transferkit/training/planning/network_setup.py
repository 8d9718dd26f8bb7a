"""The network of a training: the base is loaded, then gets the head, size, fit and precision of the recipe."""

import keras
import numpy as np

from transferkit import models, zoo
from transferkit.bases import NOT_HERE
from transferkit.console import say, warn
from transferkit.data import class_names, pipeline
from transferkit.data.class_matching import match_classes as match_class_names
from transferkit.data.listing import Listing
from transferkit.lookup import UnknownName
from transferkit.network import (
    Network,
    cut_network,
    find_head_input,
    has_dense_head,
    with_channels,
    with_fit,
    with_head,
    with_policy,
    with_size,
)
from transferkit.recipe import Model, Recipe
from transferkit.training.fitting.freezing import unfreeze
from transferkit.training.planning.phases import parse_layers, parse_unfreeze
from transferkit.weights.assign import GROWN

TOLERANCE = 0.1  # difference of features in half precision, relative to their standard deviation
PICTURES = 16  # on which half precision is tried


def load_base(knobs: Model, classes: tuple[str, ...], *, download: bool = True) -> Network:
    """Load the base of a recipe, with its channels, cut and class names.

    Args:
        classes: of the pictures.
        download: as of `models.load_for_training`.
    """
    network = models.load_for_training(
        knobs.base, knobs.weights, pixels=knobs.pixels, size=knobs.size, download=download
    )
    network = class_names.name_outputs(cut_network(network, knobs.cut) if knobs.cut else network, knobs, classes)
    if network.doubt:
        with_head(network, classes)  # raises now if it cannot get a head, before the pictures are read
    return with_channels(network, knobs.channels) if knobs.channels else network


def match_classes(listings: dict[str, Listing], network: Network) -> dict[str, Listing]:
    """The listings with their classes in the order of the network's, if these are the same: then its head is kept.

    If they may be the same, a line says how to tell.
    """
    classes = listings["train"].classes
    if network.loaded and not network.has_class_names and len(network.classes) == len(classes):
        question = class_names.missing_names_message(network, classes)
        say(f"{question} Without that, its classifier is replaced by a new one.")
    if len(classes) != len(network.classes) or match_class_names(classes, network.classes).keys() != set(classes):
        return listings
    return listings | {"train": listings["train"].relabel(network.classes, "train")}  # the others take train's order


def can_keep_head(network: Network, classes: tuple[str, ...]) -> bool:
    """Whether the network's own classifier is kept, as it has a score for each of these classes in this order."""
    if not network.head or network.classes != classes:
        return False
    return network.model.get_layer(network.head).output.shape[-1] == len(classes)


def can_fit_head(network: Network) -> bool:
    """Whether a head can be initialised by a logistic regression: it is dense, and all weights below are pretrained."""
    return bool(
        network.loaded and has_dense_head(network) and not any(line.startswith(GROWN) for line in network.loaded)
    )


def find_head_layers(network: Network, knobs: Model) -> tuple[str, ...]:
    """The layers whose features a new head may get side by side, the head's own input last."""
    own = find_head_input(network) if network.head else ""
    has_layers = zoo.is_network(knobs.base) and not knobs.cut and not isinstance(network.model.output, dict)
    return (*zoo.variant(knobs.base).head_layers, own) if has_layers else (own,)


def adapt_network(network: Network, classes: tuple[str, ...], recipe: Recipe) -> Network:
    """The base with the head, size and fit of a resolved recipe.

    Raises:
        UnknownName: `head_layers` or `unfreeze` does not suit the network.
    """
    layers = parse_layers(recipe.train.head_layers)
    if not can_keep_head(network, classes):
        network = with_head(network, classes, layers)
    elif layers != (find_head_input(network),):
        raise UnknownName(f"The head of {network.base} is kept, as it has these classes: omit head_layers.")
    network = with_fit(with_size(network, recipe.model.size), recipe.model.fit)
    for name in parse_unfreeze(recipe.train.unfreeze):
        unfreeze(network, name)  # raises if there is no such layer
    return network


def convert_precision(network: Network, policy: str, paths) -> Network:
    """A float32 network in a dtype policy; the network itself, after a warning, if its features would change too much.

    With weights that stand in for others, it is not tried.

    Args:
        paths: pictures; the first ones are used to compare.
    """
    if policy == "float32":
        return network
    half = with_policy(network, policy)
    if any(line.startswith(NOT_HERE) for line in network.loaded):
        return half
    pictures, _ = next(iter(pipeline.evaluation_dataset(paths[:PICTURES], network.pixels, batch_size=PICTURES)))
    difference = measure_difference(network, half, pictures)
    if difference <= TOLERANCE:
        return half
    problem = f"differ by {difference:.0%} (limit {TOLERANCE:.0%})" if np.isfinite(difference) else "overflow"
    warn(f"{network.base}: features in {policy} {problem}; training in float32.")
    return network


def measure_difference(network: Network, half: Network, pictures) -> float:
    """How much the inputs of two networks' heads differ, relative to their standard deviation.

    Not their logits: a new head starts as zeros, so its logits are always equal, and it computes in float32 in both.

    Args:
        pictures: (n, h, w, c), 0..255.

    Returns:
        Root mean square of the difference over the standard deviation; infinite if a feature is NaN.
    """
    exact, rounded = (
        np.asarray(keras.Model(each.model.input, each.model.get_layer(each.head).input)(pictures, training=False))
        for each in (network, half)
    )
    error = np.sqrt(np.mean((rounded.astype("float64") - exact) ** 2))
    return float(error / exact.std()) if np.isfinite(error) and exact.std() else float("inf")
