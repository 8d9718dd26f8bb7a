"""TensorFlow, imported at its first use.

Modules import this one as `tf`, so that steps of augmentation are parsed and pictures are checked without TensorFlow.
"""

import importlib
import logging
import sys
import tempfile

from transferkit.console import say, silenced

COMPILED_OFTEN = {"make_predict_function"}  # functions that are compiled anew for each of several models


def _is_news(record: logging.LogRecord) -> bool:
    """Whether what TensorFlow logs is news: not that one of `COMPILED_OFTEN` is, nor that a file was written in a
    temporary folder."""
    message = record.getMessage()
    is_known = "retracing" in message and any(name in message for name in COMPILED_OFTEN)
    return not is_known and f"Assets written to: {tempfile.gettempdir()}" not in message


logging.getLogger("tensorflow").addFilter(_is_news)


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
