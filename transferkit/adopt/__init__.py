"""Any Keras model made into a network: one in memory, a file of Keras 2 or 3, a SavedModel, a name."""

from transferkit.adopt.applications import PREFIX, application
from transferkit.adopt.files import SUFFIXES, from_file, load_keras
from transferkit.adopt.front import UnknownPixels
from transferkit.adopt.model import adopted

__all__ = ["PREFIX", "SUFFIXES", "UnknownPixels", "adopted", "application", "from_file", "load_keras"]
