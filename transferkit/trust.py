"""Programs that may run because the user named them: SavedModel folders, and modules with the user's layers.

A SavedModel is a program: TensorFlow runs the operations that its author wrote, and some write files. So a SavedModel
that only a recipe, a run or the file of a classifier names is never loaded.
"""

import importlib
import os
import sys

_allowed: set[str] = set()  # real paths of SavedModels
_imported: dict[str, str] = {}  # modules, and the folder where each was searched for first


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
    """Import a module of the user's, which registers layers, from a folder or an installed package.

    Raises:
        Exception: whatever its code raises.
    """
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
    _imported[name] = str(folder)


def export_state() -> tuple:
    """The SavedModels allowed and modules imported so far, for `restore_state` in another process."""
    return tuple(_allowed), tuple(_imported.items())


def restore_state(state: tuple):
    """Allow and import what `export_state` of another process returned."""
    allowed, modules = state
    _allowed.update(allowed)
    for name, folder in modules:
        import_module(name, folder)
