"""Read a list of pictures: its rows as listings, and messages about rows that cannot be used."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from transferkit import atomic
from transferkit.console import quiet, say, warn
from transferkit.data.audit.quarantine import find_free_path
from transferkit.data.grouping import groups_from_pattern
from transferkit.data.listing import Listing, listing_from_names
from transferkit.data.sources import imagenet_lists
from transferkit.data.sources.csv_columns import NO_SPLIT, Columns, has_label_columns, resolve_columns
from transferkit.data.sources.csv_paths import explain_missing, find_picture_paths
from transferkit.data.sources.csv_text import Table, read_table
from transferkit.data.sources.folder_layout import SPLIT_NAMES, split_from_name
from transferkit.lookup import count_noun, look_up, suggest_nearest

MAX_MISSING = 0.2  # fraction of the rows, as of unreadable pictures
MAX_NAME = 80  # characters of a name in a message


@dataclass(frozen=True)
class Row:
    """A row that can be used: its line in the file, its cells, and the path of its picture."""

    line: int
    cells: dict[str, str]
    path: str


def read_parts(path: str | os.PathLike, requested: Columns = Columns()) -> dict[str, Listing]:  # noqa: B008, it is frozen
    """The listings of a list by its split column; without one, all is "train".

    Paths are relative to the list's folder, or found below it by their names; see `csv_paths`. Missing pictures, rows
    without a label and duplicate rows are counted, reported and skipped.

    Args:
        requested: the columns that the user asked for.

    Raises:
        FileNotFoundError: the file or folder does not exist.
        UnknownName: a column that was asked for does not exist.
        ValueError: there are no rows, or no column of pictures or labels; a row is damaged or contradicts another one;
            or more than one picture in five is missing.
    """
    table, columns = resolve_columns(_open_table(path, requested), requested)
    rows, ignored = _select_rows(table, _find_paths(table, columns), columns)
    groups = _find_groups(table, rows, columns) if requested.group_by else ()
    parts: dict[str, Listing] = {}
    for name in ("train", "val", "test"):
        chosen = [i for i, row in enumerate(rows) if _split_of(row.cells, columns) == name]
        if chosen:
            parts[name] = listing_from_names(
                [rows[i].path for i in chosen],
                [rows[i].cells[columns.label].strip() for i in chosen],
                groups=[groups[i] for i in chosen] if groups else (),
                ignored={} if parts else ignored,
            )
    return parts


def read_paths(path: str | os.PathLike, requested: Columns = Columns()) -> list[str]:  # noqa: B008, it is frozen
    """The paths of all pictures of a list, one a row, in order, missing pictures too. No other column is needed.

    Raises:
        FileNotFoundError: the file or folder does not exist.
        UnknownName: a column that was asked for does not exist.
        ValueError: there are no rows or no column of pictures, or more than one picture in five is missing.
    """
    table, columns = resolve_columns(_open_table(path, requested), requested, ("image",))
    paths = _find_paths(table, columns)
    missing = [(line, row[columns.image]) for (line, row), found in zip(table.rows, paths, strict=True)
               if not os.path.isfile(found)]  # fmt: skip
    _check_missing_fraction(table, missing, columns)
    return paths


def read_column(path: str | os.PathLike, requested: Columns, column: str) -> dict[str, str]:
    """The cell of a column for each picture: {path: cell}; of a picture with several rows, the first.

    Raises:
        UnknownName: there is no such column.
    """
    with quiet():  # what was guessed has been said when the pictures were listed
        table, columns = resolve_columns(_open_table(path, requested), requested, ("image",))
        paths = _find_paths(table, columns)
    name = look_up({name: name for name in table.header}, column, f"column of {table.path.name}")
    return dict(reversed(list(zip(paths, table.cells(name), strict=True))))


def write_relabelled(path: str | os.PathLike, requested: Columns, labels: dict[str, str]) -> Path:
    """Write a copy of a list with other labels beside it, as `pets.relabelled.csv`; an existing file is kept.

    Args:
        labels: {path of a picture as in its listing: its label}.

    Returns:
        The path of the copy: a CSV file in UTF-8.

    Raises:
        ValueError: its labels are not names in one column.
    """
    given = _open_table(path, requested)
    table, columns = resolve_columns(given, requested)
    if columns.label not in given.header or table.cells(columns.label) != given.cells(columns.label):
        raise ValueError(f"{path} has no column of class names to correct: give a list of names and classes.")
    paths = map(os.path.normpath, _find_paths(table, columns))
    cells = [labels.get(found, cell) for found, cell in zip(paths, table.cells(columns.label), strict=True)]
    copy = find_free_path(table.path.with_name(f"{table.path.stem}.relabelled.csv"))
    atomic.write(copy, [row for _, row in table.with_column(columns.label, cells).rows])
    return copy


def has_labels(path: str | os.PathLike, requested: Columns = Columns()) -> bool:  # noqa: B008, it is frozen
    """Whether a list has a column of classes: the one that is asked for, or one that looks like it."""
    return bool(requested.label) or has_label_columns(_open_table(path, requested))


def _open_table(path: str | os.PathLike, requested: Columns) -> Table:
    return imagenet_lists.add_pictures(read_table(Path(path).absolute()), requested.folder)


def _find_paths(table: Table, columns: Columns) -> list[str]:
    """The path of each row's picture; reports how pictures were found that are not at the path in the list."""
    names = table.cells(columns.image)
    paths, report = find_picture_paths(names, table.path, columns.folder, columns.suffix)
    if report:
        say(f"{table.path.name}: {report}.")
    return paths


def _split_of(cells: dict[str, str], columns: Columns) -> str:
    """The split of a row; "" if its cell is not the name of a split."""
    return split_from_name(cells[columns.split]) if columns.split else "train"


def _find_groups(table: Table, rows: list[Row], columns: Columns) -> tuple[str, ...]:
    """The group of each row: a cell, or what a pattern finds in the name of its picture."""
    if columns.group_by not in table.header:
        names = [row.cells[columns.image].replace("\\", "/") for row in rows]
        return groups_from_pattern(names, columns.group_by, columns=table.header)
    groups = tuple(row.cells[columns.group_by] for row in rows)
    empty = [row.line for row, group in zip(rows, groups, strict=True) if not group.strip()]
    if empty:
        raise ValueError(
            f"{table.path}: {count_noun(len(empty), 'row')} without {columns.group_by!r}, the first in line "
            f"{empty[0]}; fill the "
            "column, or omit --group-by."
        )
    return groups


def _select_rows(table: Table, paths: list[str], columns: Columns) -> tuple[list[Row], Counter]:
    """The rows that can be used, and the number of skipped rows of each kind.

    Raises:
        ValueError: a split is not known; one picture has two labels or is in two splits; too many are missing.
    """
    rows: list[Row] = []
    seen: dict[str, tuple] = {}
    skipped: dict[str, list] = {"row without a label": [], "duplicate row": [], "folder": [], "missing picture": []}
    if columns.split:
        _check_splits(table, columns)
    for (line, cells), path in zip(table.rows, map(os.path.normpath, paths), strict=True):
        name, label, split = cells[columns.image].strip(), cells[columns.label].strip(), _split_of(cells, columns)
        if not label:
            skipped["row without a label"].append((line, name))
        elif not name or not os.path.isfile(path):
            skipped["folder" if name and os.path.isdir(path) else "missing picture"].append((line, name))
        elif path in seen:
            first_line, first_label, first_split = seen[path]
            if (first_label, first_split) != (label, split):
                raise ValueError(
                    f"{table.path}, lines {first_line} and {line}: {name} is {first_label!r} in {first_split} and "
                    f"{label!r} in {split}; a picture has one label and one split."
                )
            skipped["duplicate row"].append((line, name))
        else:
            seen[path] = (line, label, split)
            rows.append(Row(line, cells, path))
    _report_skipped(table, skipped, columns)
    return rows, Counter({kind: len(found) for kind, found in skipped.items() if found})


def _check_splits(table: Table, columns: Columns):
    """Raise `ValueError` if a row's split is blank or not the name of a split."""
    wrong = [(line, row[columns.split].strip()) for line, row in table.rows if not _split_of(row, columns)]
    if not wrong:
        return
    blank = [line for line, cell in wrong if not cell]
    advice = f"--split-col {NO_SPLIT} takes all rows without a split"
    if len(blank) == len(wrong):
        raise ValueError(
            f"{table.path}: the split, column {columns.split!r}, is blank in {len(blank)} of "
            f"{count_noun(len(table.rows), 'row')}, "
            f"the first in line {blank[0]}: fill it with train, val or test; {advice}."
        )
    line, cell = next((line, cell) for line, cell in wrong if cell)
    raise ValueError(
        f"{table.path}, line {line}: the split is {cell!r}, expected one of {', '.join(SPLIT_NAMES)}; {advice}."
        f"{suggest_nearest(SPLIT_NAMES, cell)}"
    )


def _check_missing_fraction(table: Table, missing: list[tuple[int, str]], columns: Columns):
    if len(missing) <= MAX_MISSING * len(table.rows):
        return
    (line, name), count = missing[0], len(missing)
    reason = explain_missing(name.strip(), table.path, columns.folder)
    raise ValueError(
        f"{count} of {count_noun(len(table.rows), 'picture')} of {table.path} are missing, the first "
        f"{name[:MAX_NAME]!r} in line "
        f"{line}{f', {reason}' if reason else ''}: paths are relative to {columns.folder or table.path.parent}, and "
        "names are looked for below it; --image-dir names another folder, --image-suffix what the names lack, as .jpg."
    )


def _report_skipped(table: Table, skipped: dict[str, list[tuple[int, str]]], columns: Columns):
    """Warn of skipped rows.

    Raises:
        ValueError: too many pictures are missing, or no row is left.
    """
    total = len(table.rows)
    _check_missing_fraction(table, sorted(skipped["missing picture"] + skipped["folder"]), columns)
    for kind, found in skipped.items():
        if found:
            line, name = found[0]
            reason = explain_missing(name, table.path, columns.folder) if kind == "missing picture" else ""
            warn(
                f"{table.path.name}: {len(found)} of {count_noun(total, 'row')} skipped, {kind}; the first: "
                f"line {line}, "
                f"{name[:MAX_NAME]!r}{f', {reason}' if reason else ''}."
            )
    if sum(map(len, skipped.values())) == total:
        no_labels = len(skipped["row without a label"]) == total
        reason = "the column of labels is empty" if no_labels else "its rows lack a label or a picture, as said above"
        raise ValueError(f"{table.path} holds no row with a picture and a label: {reason}.")
