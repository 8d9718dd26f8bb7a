"""Files moved out of the way: never deleted, never over another, and the way back in a list."""

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from transferkit.console import warn
from transferkit.data.audit.problems import Problem

LIST, COLUMNS = "moved.csv", ("from", "to", "problem", "detail")


def move(
    found: list[Problem], root: str | os.PathLike, folder: str | os.PathLike, listed: Iterable[str] = ()
) -> list[dict]:
    """Move the files of these problems from below `root` to the same relative paths below `folder`.

    Each is written down in `moved.csv` there as soon as it is moved; a second call adds to the list. Files that cannot
    be moved, that lie behind a link to a folder, or that one of the `listed` links points to stay and are warned of.

    Returns:
        What was moved: dicts of `from`, `to`, `problem`, `detail`.

    Raises:
        ValueError: `folder` lies below `root`, where it would be taken for pictures.
    """
    root, folder = Path(root).absolute(), Path(folder).absolute()
    if folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"The quarantine {folder} lies in {root}, among the pictures: give a folder elsewhere.")
    folder.mkdir(parents=True, exist_ok=True)
    paths = _free_to_move({one.path: one for one in reversed(found)}, root, listed)
    moved, begun = [], (folder / LIST).exists()
    with open(folder / LIST, "a", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictWriter(file, COLUMNS)
        if not begun:
            rows.writeheader()
        for one in paths.values():
            target = free(folder / os.path.relpath(one.path, root))
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(one.path, target)
            except OSError as error:
                warn(f"{one.path} could not be moved and stays: {error.strerror or error}.")
                continue
            moved.append({"from": one.path, "to": str(target), "problem": one.problem, "detail": one.detail})
            rows.writerow(moved[-1])
            file.flush()
    return moved


def _free_to_move(found: dict[str, Problem], root: Path, listed: Iterable[str]) -> dict[str, Problem]:
    """Those of the files that lie in `root` itself and that no link needs; the others are warned of."""
    real, needed, stay, behind = os.path.realpath(root), _pointed_to(listed), set(), Counter()
    for path in found:
        folder = os.path.dirname(path)
        if os.path.realpath(folder) != os.path.normpath(os.path.join(real, os.path.relpath(folder, root))):
            stay.add(path)  # it may belong to another data set
            behind[folder] += 1
        elif _place(path) in needed:
            stay.add(path)
            warn(f"{path} stays: a link among the pictures points to it.")
    for folder, number in behind.items():
        files = "1 file" if number == 1 else f"{number:,} files"
        warn(f"{files} of {folder} left in place: a link leads there, to {os.path.realpath(folder)}.")
    return {path: one for path, one in found.items() if path not in stay}


def _pointed_to(paths: Iterable[str]) -> set[str]:
    """What those of the paths that are links point to, link by link."""
    targets = set()
    for path in paths:
        while os.path.islink(path) and (target := _target(path)) not in targets:
            targets.add(target)
            path = target
    return targets


def _target(link: str) -> str:
    return _place(os.path.join(os.path.dirname(link), os.readlink(link)))


def _place(path: str) -> str:
    """Where a file itself is, be it a link or not."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def free(path: Path) -> Path:
    """The path, or where it is taken the same with a number that is not: `cat-2.jpg`."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while os.path.lexists(path) or path.name == LIST:
        path = next(names)
    return path
