"""Where the cache folder is: weights, features and scans that can be downloaded or computed again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder: TRANSFERKIT_HOME, else `transferkit` in the system's cache folder. It need not exist yet."""
    if chosen := os.environ.get("TRANSFERKIT_HOME"):
        return _expand_user(Path(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expand_user(Path(base, "transferkit"))


def _expand_user(path: Path) -> Path:
    """Replace `~` by the user's home folder; where the system knows none, as of a number in a container, return a path
    that cannot exist, so that everything is done without a cache."""
    try:
        return path.expanduser()
    except RuntimeError:
        return Path(os.devnull, path)
