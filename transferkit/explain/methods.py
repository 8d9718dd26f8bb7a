"""The methods that explain a network: a table without Keras, as the command line needs their names."""

import importlib
from collections.abc import Callable
from typing import NamedTuple


class Method(NamedTuple):
    """A method.

    Attributes:
        home: the module of this package that has its function, which is called as the method is, with _ for -.
        kind: what the function returns: "heat" is a map (n, height, width) of how much each place says for a class;
            "maps" are those of a layer; "projections" are pictures of what moves these; "filters" are kernels;
            "picture" is a made picture.
        scale: what the numbers of a map are.
        options: those that it takes, besides the class.
        help: one line.
    """

    home: str
    kind: str
    scale: str
    options: tuple[str, ...]
    help: str

    @property
    def needs_pictures(self) -> bool:
        return self.kind in ("heat", "maps", "projections")


METHODS = {
    "gradcam": Method(
        "gradients", "heat", "rise of the class score", ("layer",), "where a layer's maps say the class (Grad-CAM)"
    ),
    "occlusion": Method(
        "occlusion",
        "heat",
        "fall of the probability",
        ("square", "stride", "baseline"),
        "how far the probability falls under a square",
    ),
    "saliency": Method("gradients", "heat", "absolute gradient", (), "the gradient of the class score"),
    "guided": Method("gradients", "heat", "absolute guided gradient", (), "guided backpropagation"),
    "integrated-gradients": Method(
        "gradients",
        "heat",
        "share of the class score",
        ("baseline", "steps"),
        "gradients summed on the way from a blank picture",
    ),
    "activations": Method("activations", "maps", "activation", ("layer",), "the maps of a layer, or layer by layer"),
    "deconvnet": Method(
        "deconvnet",
        "projections",
        "activation, sent back to the pixels",
        ("layer", "unit"),
        "what in a picture moves the maps of a layer",
    ),
    "filters": Method("activations", "filters", "weight", ("layer",), "the kernels of the first layer"),
    "maximise": Method("maximisation", "picture", "pixel", ("layer", "unit", "steps"), "a picture made for a class"),
}
HEAT_METHODS = tuple(name for name, method in METHODS.items() if method.kind == "heat")


def find_function(name: str) -> Callable:
    """The function of a method; it loads Keras."""
    return getattr(importlib.import_module(f"transferkit.explain.{METHODS[name].home}"), name.replace("-", "_"))
