"""The model that leaves: a network with its resizing before it and its calibrated probabilities behind it."""

import keras

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.exchange.resizing import fit_pictures
from transferkit.network import Network, for_inference
from transferkit.pixels import Pixels

PICTURES, PROBABILITIES = "pictures", "probabilities"


class FitPictures(keras.layers.Layer):
    """`fit_pictures` as a layer. It is a part of exported graphs, never of `.keras` files."""

    def __init__(self, pixels: Pixels, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.pixels = pixels

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.pixels.shape, input_shape[-1])

    def call(self, pictures):
        return fit_pictures(pictures, self.pixels)


def build_classifier(network: Network, *, any_size: bool, dtype: str = "uint8") -> keras.Model:
    """A model from pictures to calibrated probabilities, sharing no layers with the network; batch norm is folded.

    Args:
        any_size: whether it takes pictures (n, height, width, channels) of any size and fits them to the network, or
            views of the network's own size.
        dtype: of the pictures, whose values are 0..255.

    Returns:
        A functional model to float32 probabilities (n, classes), the softmax of the logits divided by the network's
        temperature.
    """
    network, pixels = for_inference(network), network.pixels
    shape = (None, None) if any_size else pixels.shape
    pictures = keras.Input((*shape, pixels.channels), name=PICTURES, dtype=dtype)
    x = FitPictures(pixels, name="fit")(pictures) if any_size else pictures
    logits = fold_batchnorm(network.model)(x, training=False)
    if network.temperature != 1:
        logits = keras.layers.Rescaling(1 / network.temperature, dtype="float32", name="temperature")(logits)
    probabilities = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(logits)
    return keras.Model(pictures, probabilities, name=network.model.name)
