"""Find the pictures below a folder, in natural order."""

import os
import re
from collections import Counter
from pathlib import Path

from transferkit.console import warn
from transferkit.data.formats import is_picture

SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))
SYSTEM_FOLDERS = frozenset((
    "__macosx", "__pycache__", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle",
    "#snapshot",
))  # fmt: skip


def find_pictures(folder: Path, ignored: Counter, *, deep: bool = True) -> list[str]:
    """Find the pictures below a folder, in natural order.

    Links are followed, but not to a folder that was visited before or that holds this one. A folder that cannot be read
    is warned of: a whole class may be in it.

    Args:
        ignored: the skipped files are added to it, counted by suffix or kind.
        deep: whether to search subfolders.
    """
    found, visited = [], set(map(str, folder.resolve().parents))

    def warn_closed(error):
        ignored["closed folder"] += 1
        warn(f"The folder {error.filename} is skipped: {error.strerror}.")

    for here, folders, names in os.walk(folder, followlinks=True, onerror=warn_closed):
        real = os.path.realpath(here)
        is_new = real not in visited
        visited.add(real)
        ignored.update("system folder" for name in folders if is_new and name.lower() in SYSTEM_FOLDERS)
        folders[:] = sorted((name for name in folders if is_new and deep and not is_hidden(name)), key=natural_sort_key)
        for name in sorted(names if is_new else (), key=natural_sort_key):
            path, suffix = os.path.join(here, name), os.path.splitext(name)[1].lower()
            if name.startswith(".") or name.lower() in SYSTEM_FILES:
                ignored["hidden"] += 1
            elif not is_picture(path):
                ignored[suffix or "no suffix"] += 1
            elif not os.path.isfile(path):
                ignored["pipe, device or broken link"] += 1  # opening a pipe would block
            else:
                found.append(path)
    return found


def is_hidden(name: str) -> bool:
    """Whether a folder of this name is skipped: it begins with a dot, or the operating system makes it."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS | SYSTEM_FILES


def find_picture_folders(folder: Path) -> list[Path]:
    """The folders in a folder that hold pictures at any depth, in natural order, without links to a parent."""
    inside = [entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
    with_pictures = (entry for entry in inside if not is_link_cycle(entry) and _has_pictures_below(entry, set()))
    return sorted(with_pictures, key=natural_sort_key)


def has_pictures(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder itself holds pictures; it is read only up to the first one."""
    try:
        with os.scandir(folder) as entries:
            return any(_is_picture(entry) for entry in entries)
    except OSError:
        return False


def is_link_cycle(entry: Path) -> bool:
    """Whether a folder is a link to one that holds it."""
    return entry.is_symlink() and entry.parent.resolve().is_relative_to(entry.resolve())


def common_folder(paths) -> str:
    """The folder that holds all paths; "" if they are on several drives."""
    try:
        return os.path.commonpath(list(paths))
    except ValueError:
        return ""


def relative_path(path: str, folder: str) -> str:
    """A path relative to a folder; unchanged if it is on another drive."""
    try:
        return os.path.relpath(path, folder) if folder else path
    except ValueError:
        return path


def _is_picture(entry: os.DirEntry) -> bool:
    return not entry.name.startswith(".") and entry.is_file() and is_picture(entry.path)


def _has_pictures_below(folder: str | os.PathLike[str], visited: set[str]) -> bool:
    real = os.path.realpath(folder)
    if real in visited or has_pictures(folder):
        return real not in visited
    visited.add(real)
    try:
        inside = [entry.path for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name)]
    except OSError:  # a closed folder may hold pictures; `find_pictures` warns of it
        return True
    return any(_has_pictures_below(entry, visited) for entry in inside)


def natural_sort_key(name) -> tuple:
    """Sort key that puts `class2` before `class10`."""
    name = name.name if isinstance(name, Path) else name
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
    return parts, name  # the name distinguishes "1" from "01"
