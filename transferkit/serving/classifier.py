"""A network that is served: from the bytes of a picture to what `predict` says, or to a Grad-CAM."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.data import formats, geometry
from transferkit.evaluation import shift
from transferkit.evaluation.predict import describe_outputs, require_classifier
from transferkit.explain import gradients, map_layers
from transferkit.explain.drawing import draw_overlay
from transferkit.explain.explanations import enlarge, find_class
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.serving.requests import Refused


@dataclass(frozen=True)
class Classifier:
    """A network, compiled.

    Attributes:
        network: with its classes, temperature and geometry.
        model: from pictures to logits; with the features behind them, if there is a shift. Batch norm is folded.
        shift: of the run, or None.
        maps: of `gradients.gradcam_function`; None if the network has no maps.
    """

    network: Network
    model: keras.Model
    shift: shift.Shift | None
    maps: Callable | None

    def read_view(self, data: bytes) -> np.ndarray:
        """What the network sees of a picture: uint8 (height, width, channels).

        Raises:
            Refused: it cannot be read.
        """
        try:
            if not data:
                raise ValueError("the file is empty")
            picture, size = geometry.read_for_crops(data, self.network.pixels, geometry.CENTRE_CROP)
        except Exception as error:  # Pillow's readers raise nearly anything on damaged files
            raise _refuse(error) from None
        return geometry.cut_crops(picture, size, self.network.pixels, geometry.CENTRE_CROP)[0]

    def compute(self, views: list[np.ndarray]) -> np.ndarray:
        """The outputs of the model, (n, width) float32."""
        return np.asarray(self.model.predict_on_batch(np.stack(views)), "float32")

    def describe(self, outputs: list[np.ndarray], top: int) -> list[dict]:
        """The answers that `predict` gives, without paths."""
        return describe_outputs(self.network, np.stack(outputs), top=top, shift=self.shift)

    def draw_gradcam(self, view: np.ndarray, name: str) -> bytes:
        """A PNG of the Grad-CAM of a class over a view.

        Raises:
            Refused: the class is not known, or the network has no maps.
        """
        try:
            number = find_class(self.network, name)
        except UnknownName as error:
            raise Refused(400, "request", str(error)) from None
        if not self.maps:
            raise Refused(404, "request", f"{self.network.base} has no maps that Grad-CAM could show.")
        (maps,) = self.maps(view[None].astype("float32"), np.array([number], "int32"))
        file = io.BytesIO()
        draw_overlay(view, enlarge(np.asarray(maps)[0], view.shape[:2])).save(file, "PNG")
        return file.getvalue()

    def warm_up(self):
        """Compile the model. TensorFlow makes a graph for one size of a batch, and a second one for any other."""
        for count in (1, 2):
            self.compute([self._blank()] * count)

    def warm_up_gradcam(self):
        """Compile the Grad-CAM, if there is one."""
        if self.maps:
            self.draw_gradcam(self._blank(), self.network.classes[0])

    def _blank(self) -> np.ndarray:
        return np.zeros((*self.network.pixels.shape, self.network.pixels.channels), "uint8")


def make_classifier(network: Network, base: str) -> Classifier:
    """Compile a network.

    Args:
        base: its name or path, beside which the `shift.npz` of a run is found.

    Raises:
        ValueError: it has no classifier.
    """
    network = require_classifier(network)
    found = shift.find_shift_model(base, network)
    try:
        map_layers.find_last_map(network.model)
        maps = gradients.gradcam_function(network.model)
    except (UnknownName, ValueError):  # no maps, or another backend of Keras than TensorFlow
        maps = None
    model = fold_batchnorm(found.model if found else network.model)
    classifier = Classifier(network, model, found.shift if found else None, maps)
    classifier.warm_up()
    return classifier


def _refuse(error: Exception) -> Refused:
    """The answer to a picture that could not be read."""
    if isinstance(error, (formats.TooManyPixels, Image.DecompressionBombError)):
        return Refused(413, "too_large", formats.error_reason(error))
    if isinstance(error, formats.NotAPicture):
        return Refused(415, "no_picture", formats.error_reason(error))
    return Refused(422, "damaged", formats.error_reason(error))
