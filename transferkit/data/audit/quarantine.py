"""Files moved out of the way: never deleted, never over another, and the way back in a list."""

import csv
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from transferkit import atomic
from transferkit.console import warn
from transferkit.data.audit.problems import Problem

LIST, COLUMNS = "moved.csv", ("from", "to", "problem", "detail")


def move_files(
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
    with open(folder / LIST, "ab", buffering=0) as file:
        if not begun:
            _append(file, dict(zip(COLUMNS, COLUMNS, strict=True)))
        for one in paths.values():
            target = find_free_path(folder / os.path.relpath(one.path, root))
            row = {"from": one.path, "to": str(target), "problem": one.kind, "detail": one.detail}
            before = _append(file, row)  # first: what is not written down is not found again
            try:
                _move(one.path, target)
            except OSError as error:
                file.truncate(before)
                warn(f"{one.path} could not be moved and stays: {error.strerror or error}.")
                continue
            moved.append(row)
    return moved


def _append(file: io.FileIO, row: dict[str, str]) -> int:
    """Add a row to the list, whole or not at all; how long the list was before.

    Raises:
        OSError: it could not be written.
    """
    text, before = io.StringIO(), file.seek(0, os.SEEK_END)
    csv.DictWriter(text, COLUMNS).writerow(row)
    left = text.getvalue().encode(**atomic.ENCODING)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        file.truncate(before)
        raise OSError(
            f"{file.name} could not be written: {error.strerror}; what it names is moved, the rest stays."
        ) from error
    return before


def _move(path: str, target: Path):
    """Move a file; where that fails, as to a full disk, no half of it is left there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    except OSError:
        if os.path.lexists(path):
            target.unlink(missing_ok=True)
        raise


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


def find_free_path(path: Path) -> Path:
    """The path, or where it is taken the same with a number that is not: `cat-2.jpg`."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while os.path.lexists(path) or path.name == LIST:
        path = next(names)
    return path
