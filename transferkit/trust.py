"""SavedModel folders that may run: those that the user has named for it, as long as this process lives.

A SavedModel is a program: TensorFlow runs the operations that its author wrote, and some write files. So one that a
recipe, a classifier's file or a run names as its base is never loaded for that.
"""

import os

_allowed: set[str] = set()


def allow(*paths: str | os.PathLike):
    """Let this process run the programs in SavedModel folders.

    Example:
        trust.allow("served/")
    """
    _allowed.update(map(os.path.realpath, paths))


def allowed() -> tuple[str, ...]:
    """The folders that may run, as real paths."""
    return tuple(_allowed)


def is_allowed(path: str | os.PathLike) -> bool:
    return os.path.realpath(path) in _allowed
