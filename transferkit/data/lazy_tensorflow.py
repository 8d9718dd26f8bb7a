"""TensorFlow, imported at its first use.

Modules import this one as `tf`, so that steps of augmentation are parsed and pictures are checked without TensorFlow.
"""

import importlib
import sys

from transferkit.console import say, silenced


def __getattr__(name):
    if name.startswith("__"):  # the import system asks every module for `__path__`
        raise AttributeError(name)
    return getattr(importlib.import_module("tensorflow"), name)


def load():
    """Import TensorFlow, which takes seconds, after a line that says so."""
    if "tensorflow" in sys.modules:
        return
    say("Loading TensorFlow ...")
    with silenced():
        importlib.import_module("tensorflow")
