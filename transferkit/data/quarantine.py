"""Files moved out of the way: never deleted, never over another, and the way back in a list."""

import csv
import os
import shutil
from itertools import count
from pathlib import Path

from transferkit.console import warn
from transferkit.data.problems import Problem

LIST, COLUMNS = "moved.csv", ("from", "to", "problem", "detail")


def move(found: list[Problem], root: str | os.PathLike, folder: str | os.PathLike) -> list[dict]:
    """Move the files of these problems from below `root` to the same relative paths below `folder`.

    Each is written down in `moved.csv` there as soon as it is moved; a second call adds to the list. A file that cannot
    be moved stays and is warned of.

    Returns:
        What was moved: dicts of `from`, `to`, `problem`, `detail`.

    Raises:
        ValueError: `folder` lies below `root`, where it would be taken for pictures.
    """
    root, folder = Path(root).absolute(), Path(folder).absolute()
    if folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"The quarantine {folder} lies in {root}, among the pictures: give a folder elsewhere.")
    folder.mkdir(parents=True, exist_ok=True)
    moved, begun = [], (folder / LIST).exists()
    with open(folder / LIST, "a", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictWriter(file, COLUMNS)
        if not begun:
            rows.writeheader()
        for one in {one.path: one for one in reversed(found)}.values():
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


def free(path: Path) -> Path:
    """The path, or where it is taken the same with a number that is not: `cat-2.jpg`."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while os.path.lexists(path) or path.name == LIST:
        path = next(names)
    return path
