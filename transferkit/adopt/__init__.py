"""Any Keras model made into a network: one in memory, a file of Keras 2 or 3, a SavedModel, a name."""

from transferkit.adopt.applications import load_application
from transferkit.adopt.conversion import adopt_model
from transferkit.adopt.model_files import load_keras_model, load_network
from transferkit.adopt.preprocessing import UnknownPixels

__all__ = [
    "UnknownPixels",
    "adopt_model",
    "load_application",
    "load_keras_model",
    "load_network",
]
