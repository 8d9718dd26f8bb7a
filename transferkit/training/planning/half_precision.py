"""Whether a network in half precision still gives the answers that it gives in float32."""

import keras
import numpy as np

from transferkit.console import warn
from transferkit.data import pipeline
from transferkit.network import Network, with_policy

TOLERANCE = 0.1
PICTURES = 16


def in_policy(network: Network, policy: str, paths) -> Network:
    """A float32 network in a dtype policy; the network as it is, with a warning, where the policy changes its answers.

    Args:
        paths: pictures, the first of which it is tried on.
    """
    if policy == "float32":
        return network
    half = with_policy(network, policy)
    pictures, _ = next(iter(pipeline.evaluation_dataset(paths[:PICTURES], network.pixels, batch_size=PICTURES)))
    apart = difference(network, half, pictures)
    if apart <= TOLERANCE:
        return half
    warn(f"{network.base} answers otherwise in {policy}, by {apart:.0%} of its features' spread: it learns in float32.")
    return network


def difference(network: Network, half: Network, pictures) -> float:
    """How far apart what two networks show their heads is, as a share of the first one's spread.

    Not their logits: a new head starts as zeros, whose answers always agree, and computes in float32 in both.

    Args:
        pictures: (n, h, w, c), 0..255.

    Returns:
        Root mean square of the difference over the standard deviation; infinite if some are no numbers.
    """
    exact, rounded = (
        np.asarray(keras.Model(each.model.input, each.model.get_layer(each.head).input)(pictures, training=False))
        for each in (network, half)
    )
    apart = np.sqrt(np.mean((rounded.astype("float64") - exact) ** 2))
    return float(apart / exact.std()) if np.isfinite(apart) and exact.std() else float("inf")
