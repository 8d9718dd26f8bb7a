"""Move problem files to a quarantine folder: nothing is deleted or overwritten, and a list names the way back."""

import csv
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

from transferkit import atomic
from transferkit.console import warn
from transferkit.data.audit.problems import Problem

Value = TypeVar("Value")
LIST, COLUMNS = "moved.csv", ("from", "to", "problem", "detail")


def move_files(
    problems: list[Problem], root: str | os.PathLike, folder: str | os.PathLike, listed: Iterable[str] = ()
) -> list[dict]:
    """Move the files of these problems from below `root` to the same relative paths below `folder`.

    Each move is recorded in `moved.csv` there; a second call adds to the list. A warning names files that stay: those
    that cannot be moved, that are reached by a link to a folder, or that one of the `listed` links points to.

    Returns:
        The moved files: dicts of `from`, `to`, `problem`, `detail`.

    Raises:
        ValueError: `folder` is below `root`, where its files would be listed as pictures.
    """
    root, folder = Path(root).absolute(), Path(folder).absolute()
    if folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"The quarantine {folder} lies in {root}, among the pictures: give a folder elsewhere.")
    folder.mkdir(parents=True, exist_ok=True)
    movable = select_movable({problem.path: problem for problem in reversed(problems)}, root, listed)
    targets = {path: folder / os.path.relpath(path, root) for path in movable}

    def describe(path: str, target: str) -> dict[str, str]:
        return {"from": path, "to": target, "problem": movable[path].kind, "detail": movable[path].detail}

    return move_and_record(targets, folder / LIST, COLUMNS, describe)


def move_and_record(targets: dict[str, Path], record: Path, columns: Sequence[str], describe: Callable) -> list[dict]:
    """Move files and append a row for each to a CSV file; a file that exists is not overwritten.

    Args:
        targets: {path: new path}, which gets a number if it exists.
        columns: of the record.
        describe: describe(path, new path) is the row.

    Returns:
        The rows of the files that were moved; a warning names the others.
    """
    moved, has_list = [], record.exists()
    with open(record, "ab", buffering=0) as file:
        if not has_list:
            _append_row(file, dict(zip(columns, columns, strict=True)))
        for path, wanted in targets.items():
            target = find_free_path(wanted)
            row = describe(path, str(target))
            before = _append_row(file, row)  # before the move, as a file that is not listed is hard to find
            try:
                _move_file(path, target)
            except OSError as error:
                file.truncate(before)
                warn(f"{path} could not be moved and stays: {error.strerror or error}.")
                continue
            moved.append(row)
    return moved


def _append_row(file: io.FileIO, row: dict[str, str]) -> int:
    """Append a row to the list, whole or not at all.

    Returns:
        The size of the list before, in bytes.

    Raises:
        OSError: the row could not be written.
    """
    text, before = io.StringIO(), file.seek(0, os.SEEK_END)
    csv.DictWriter(text, list(row)).writerow(row)
    left = text.getvalue().encode(atomic.ENCODING, atomic.ERRORS)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        file.truncate(before)
        raise OSError(
            f"{file.name} could not be written: {error.strerror}; what it names is moved, the rest stays."
        ) from error
    return before


def _move_file(path: str, target: Path):
    """Move a file; if that fails, as with a full disk, no part of it is left at the target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    except OSError:
        if os.path.lexists(path):
            target.unlink(missing_ok=True)
        raise


def select_movable(values: dict[str, Value], root: Path, listed: Iterable[str]) -> dict[str, Value]:
    """Those of {path: value} that are in `root` itself and that no link points to; warns of the others."""
    real, targets, stay = os.path.realpath(root), _link_targets(listed), set()
    by_folder: Counter[str] = Counter()
    for path in values:
        folder = os.path.dirname(path)
        if os.path.realpath(folder) != os.path.normpath(os.path.join(real, os.path.relpath(folder, root))):
            stay.add(path)  # it may belong to another data set
            by_folder[folder] += 1
        elif _real_path(path) in targets:
            stay.add(path)
            warn(f"{path} stays: a link among the pictures points to it.")
    for folder, number in by_folder.items():
        files = "1 file" if number == 1 else f"{number:,} files"
        warn(f"{files} of {folder} left in place: a link leads there, to {os.path.realpath(folder)}.")
    return {path: value for path, value in values.items() if path not in stay}


def _link_targets(paths: Iterable[str]) -> set[str]:
    """The files that links among the paths point to, link by link."""
    targets = set()
    for path in paths:
        while os.path.islink(path) and (target := _target(path)) not in targets:
            targets.add(target)
            path = target
    return targets


def _target(link: str) -> str:
    return _real_path(os.path.join(os.path.dirname(link), os.readlink(link)))


def _real_path(path: str) -> str:
    """The real path of a file's folder, joined with its name: the file itself may be a link."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def find_free_path(path: Path) -> Path:
    """The path, or if it exists, a free one with a number: `cat-2.jpg`."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while os.path.lexists(path) or path.name == LIST:
        path = next(names)
    return path
