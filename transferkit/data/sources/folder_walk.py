"""Which files below a folder are pictures, in the order of people."""

import os
import re
from collections import Counter
from pathlib import Path

from transferkit.console import warn
from transferkit.data.formats import is_picture

LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini"))
FOLDERS_OF_SYSTEMS = frozenset((
    "__macosx", "__pycache__", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle",
    "#snapshot",
))  # fmt: skip


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
        ignored.update("system folder" for name in folders if fresh and name.lower() in FOLDERS_OF_SYSTEMS)
        folders[:] = sorted((f for f in folders if fresh and deep and not is_hidden(f)), key=natural)
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


def is_hidden(name: str) -> bool:
    """Whether a folder is never looked into: its name begins with a dot, or systems make it beside people's files."""
    return name.startswith(".") or name.lower() in FOLDERS_OF_SYSTEMS | LEFT_BY_SYSTEMS


def folders_of(folder: Path) -> list[Path]:
    """The folders in a folder that hold pictures, however deep, in natural order; no links in a circle."""
    inside = [entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
    return sorted((entry for entry in inside if not is_circle(entry) and _any_below(entry, set())), key=natural)


def has_pictures(folder: str | os.PathLike) -> bool:
    """Whether pictures lie in a folder itself; it is read no further than to the first one."""
    try:
        with os.scandir(folder) as entries:
            return any(_is_picture(entry) for entry in entries)
    except OSError:
        return False


def is_circle(entry: Path) -> bool:
    """Whether a folder is a link to one that holds it."""
    return entry.is_symlink() and entry.parent.resolve().is_relative_to(entry.resolve())


def common_folder(paths) -> str:
    """The folder that all paths lie in; "" where they are on several drives."""
    try:
        return os.path.commonpath(list(paths))
    except ValueError:
        return ""


def below(path: str, folder: str) -> str:
    """A path from a folder on; as it is where there is no way from there."""
    try:
        return os.path.relpath(path, folder) if folder else path
    except ValueError:
        return path


def _is_picture(entry: os.DirEntry) -> bool:
    return not entry.name.startswith(".") and entry.is_file() and is_picture(entry.path)


def _any_below(folder: str | os.PathLike, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    if real in seen or has_pictures(folder):
        return real not in seen
    seen.add(real)
    try:
        inside = [entry.path for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name)]
    except OSError:  # a closed folder may hold pictures: listing it says so
        return True
    return any(_any_below(entry, seen) for entry in inside)


def natural(name) -> tuple:
    """Sort key that puts `class2` before `class10`."""
    name = name.name if isinstance(name, Path) else name
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
    return parts, name  # the name tells "1" from "01"
