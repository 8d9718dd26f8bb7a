"""Correct the labels of pictures as an edited list says: `suspects.csv` of `check --labels`, or any of its columns.

A row names a picture in `path` and its right class in `label`; other columns are ignored. All rows are checked first.
Pictures in a folder are moved to the folder of their class; a list of pictures gets a corrected copy beside it. Nothing
is overwritten, and the moves are recorded in a file that is such a list too, so giving it back undoes them.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transferkit.console import quiet, warn
from transferkit.data.audit.quarantine import find_free_path, move_and_record, select_movable
from transferkit.data.listing import Listing
from transferkit.data.sources import csv_list, folder_layout, resolve
from transferkit.data.sources.csv_text import read_table
from transferkit.lookup import UnknownName, look_up, quote, suggest_known, suggest_nearest
from transferkit.recipe import Data

PATH, LABEL, FROM = "path", "label", "from"  # columns; `from` is the path before, in a record


@dataclass(frozen=True)
class Relabelled:
    """What `relabel` did.

    Attributes:
        changed: pictures whose label is another one now.
        same: rows with the label that their picture has already.
        file: the record that undoes the moves, or the corrected copy of a list; None if nothing was changed.
    """

    changed: int
    same: int
    file: Path | None


def relabel(source: Data, fixes: str | os.PathLike) -> Relabelled:
    """Carry out the labels of an edited list; nothing is changed unless every row is valid.

    Args:
        source: where the pictures are: a folder of class folders, or a list.
        fixes: a CSV file with columns `path` and `label`; paths are absolute, or relative to the folder.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownName: a column, a picture or a class of it is not known.
        ValueError: a row has no label, a picture has two, or the source is neither a folder nor a list.

    Example:
        >>> relabel(Data(data="pets/"), "suspects.csv")  # doctest: +SKIP
        Relabelled(changed=3, same=21, file=PosixPath('suspects.undo.csv'))
    """
    kind = resolve.source_kind(source.data)
    if kind not in ("folder", "manifest"):
        raise ValueError(f"Labels of a folder or of a list can be corrected, and {source.data} is {kind}.")
    parts = resolve.list_parts(source)
    wanted = _read_fixes(Path(fixes), parts, source.data)
    current = {
        path: part.classes[label]
        for part in parts.values()
        for path, label in zip(part.paths, part.labels, strict=True)
    }
    changes = {path: label for path, label in wanted.items() if label != current[path]}
    same = len(wanted) - len(changes)
    if not changes:
        return Relabelled(0, same, None)
    if kind == "manifest":
        return Relabelled(
            len(changes), same, csv_list.write_relabelled(source.data, resolve.columns_of(source), changes)
        )
    moved, record = _move_files(changes, current, Path(source.data).absolute(), Path(fixes))
    return Relabelled(moved, same, record)


def _read_fixes(file: Path, parts: dict[str, Listing], data: str) -> dict[str, str]:
    """{path as listed: class} of every row, all checked."""
    table = read_table(file)
    for column in (PATH, LABEL):
        look_up({name: name for name in table.header}, column, f"column of {file.name}")
    known = {path: path for part in parts.values() for path in part.paths}
    by_name = {os.path.abspath(path): path for path in known}
    classes = {name for part in parts.values() for name in part.classes}
    folder = os.path.dirname(os.path.abspath(data)) if os.path.isfile(data) else os.path.abspath(data)
    wanted: dict[str, str] = {}
    for line, row in table.rows:
        name, label, where = row[PATH].strip(), row[LABEL].strip(), f"{file.name}, line {line}"
        path = by_name.get(os.path.abspath(name)) or by_name.get(os.path.normpath(os.path.join(folder, name)))
        if path is None:
            near = suggest_nearest(
                known if os.path.isabs(name) else [os.path.relpath(path, folder) for path in known], name
            )
            raise UnknownName(f"{where}: {data} has no picture {quote(name)}.{near} Nothing was changed.")
        if not label:
            raise ValueError(
                f"{where}: {quote(name)} has no label: fill it in, or delete the row. Nothing was changed."
            )
        if label not in classes:
            raise UnknownName(
                f"{where}: no class is called {quote(label)}.{suggest_known(classes, label)} Nothing was changed."
            )
        if wanted.setdefault(path, label) != label:
            raise ValueError(
                f"{where}: {quote(name)} is {label!r} here and {wanted[path]!r} in another row. Nothing was changed."
            )
    return wanted


def _move_files(changes: dict[str, str], current: dict[str, str], root: Path, fixes: Path) -> tuple[int, Path | None]:
    """Move each picture to the folder of its class, in its split; the number of them, and the record."""
    with quiet():
        splits = folder_layout.find_layout(root).split_folders.values()
    places = {path: _place(path, splits) for path in current}
    folder_of = {(places[path][0], label): places[path][1] for path, label in current.items()}
    targets = {}
    for path, label in select_movable(changes, root, current).items():
        if os.path.islink(path) and not os.path.isabs(os.readlink(path)):
            warn(f"{path} stays: it is a relative link, which would point elsewhere.")
            continue
        split, _, rest = places[path]
        targets[path] = split / folder_of.get((split, label), label) / rest
    if not targets:
        return 0, None
    record = find_free_path(fixes.with_name(f"{fixes.stem}.undo.csv"))

    def describe(path: str, target: str) -> dict[str, str]:
        return {PATH: target, LABEL: current[path], FROM: path}

    return len(move_and_record(targets, record, (PATH, LABEL, FROM), describe)), record


def _place(path: str, splits: Iterable[Path]) -> tuple[Path, str, Path]:
    """The split's folder that a picture is in, the name of its class folder, and its path in that."""
    split = max(
        (folder for folder in splits if Path(path).is_relative_to(folder)), key=lambda folder: len(folder.parts)
    )
    folder, *rest = Path(path).relative_to(split).parts
    return split, folder, Path(*rest)
