"""Any Keras model made into a network: one in memory, a file of Keras 2 or 3, a SavedModel, a name."""

from transferkit.adopt.applications import PREFIX, application
from transferkit.adopt.conversion import adopted
from transferkit.adopt.model_files import SUFFIXES, from_file, load_keras
from transferkit.adopt.preprocessing import UnknownPixels

__all__ = ["PREFIX", "SUFFIXES", "UnknownPixels", "adopted", "application", "from_file", "load_keras"]
