"""Which files below a folder are pictures, in the order of people."""

import os
import re
from collections import Counter
from pathlib import Path

from transferkit.console import warn
from transferkit.data.formats import is_picture

LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini"))


def find_pictures(folder: Path, ignored: Counter, *, deep: bool = True) -> list[str]:
    """Paths of the pictures below a folder in natural order; counts other files by suffix into `ignored`.

    Links are followed, but not to a folder that was seen already or holds this one. A folder that may not be read is
    warned of: a whole class may be in it.
    """
    found, seen = [], set(map(str, folder.resolve().parents))

    def closed(error):
        ignored["closed folder"] += 1
        warn(f"The folder {error.filename} is left out: {error.strerror}.")

    for here, folders, names in os.walk(folder, followlinks=True, onerror=closed):
        real = os.path.realpath(here)
        fresh = real not in seen
        seen.add(real)
        folders[:] = sorted((f for f in folders if fresh and deep and not f.startswith(".")), key=natural)
        for name in sorted(names if fresh else (), key=natural):
            path, suffix = os.path.join(here, name), os.path.splitext(name)[1].lower()
            if name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS:
                ignored["hidden"] += 1
            elif not is_picture(path):
                ignored[suffix or "no suffix"] += 1
            elif not os.path.isfile(path):
                ignored["pipe, device or broken link"] += 1  # opening a pipe would wait for ever
            else:
                found.append(path)
    return found


def natural(name) -> tuple:
    """Sort key that puts `class2` before `class10`."""
    name = name.name if isinstance(name, Path) else name
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
    return parts, name  # the name tells "1" from "01"
