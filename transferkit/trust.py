"""Programs that may run because the user has named them: SavedModel folders, and modules with layers of the user's.

A SavedModel is a program: TensorFlow runs the operations that its author wrote, and some write files. So one that a
recipe, a classifier's file or a run names as its base is never loaded for that.
"""

import importlib
import os
import sys

_allowed: set[str] = set()  # real paths of SavedModels
_imported: dict[str, str] = {}  # modules, and the folder that each was looked for in first


def allow(path: str | os.PathLike):
    """Let this process run the program in a SavedModel folder.

    Example:
        trust.allow("served/")
    """
    _allowed.add(os.path.realpath(path))


def is_allowed(path: str | os.PathLike) -> bool:
    """Whether a SavedModel folder may run."""
    return os.path.realpath(path) in _allowed


def import_module(name: str, folder: str | os.PathLike):
    """Import a module of the user's, which registers layers, from a folder or from what is installed.

    Raises:
        Exception: whatever its code raises.
    """
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
    _imported[name] = str(folder)


def state() -> tuple:
    """What was allowed and imported so far, for another process."""
    return tuple(_allowed), tuple(_imported.items())


def restore(state: tuple):
    """Allow and import here what `state` of another process says."""
    allowed, modules = state
    _allowed.update(allowed)
    for name, folder in modules:
        import_module(name, folder)
