"""Whether a network in half precision still gives the answers that it gives in float32."""

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
    pictures, _ = next(iter(pipeline.evaluation(paths[:PICTURES], network.pixels, batch_size=PICTURES)))
    apart = difference(network, half, pictures)
    if apart <= TOLERANCE:
        return half
    warn(
        f"{network.base} answers otherwise in {policy}, by {apart:.0%} of its logits' spread: it is trained in float32."
    )
    return network


def difference(network: Network, half: Network, pictures) -> float:
    """How far the logits of two networks are apart, as a share of the first one's spread; infinite if one is no number.

    Args:
        pictures: (n, h, w, c), 0..255.
    """
    exact, rounded = (np.asarray(each.model(pictures, training=False), "float64") for each in (network, half))
    apart, spread = np.sqrt(np.mean((rounded - exact) ** 2)), exact.std()
    if not np.isfinite(apart):
        return float("inf")
    return float(apart / spread) if spread else float(apart > 0)
