"""Where the cache folder is: weights, features and scans that can be downloaded or computed again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder: TRANSFERKIT_HOME, else `transferkit` in the system's cache folder. It need not exist yet."""
    if chosen := os.environ.get("TRANSFERKIT_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "transferkit"
