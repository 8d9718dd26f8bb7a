"""A list of pictures in a file: its rows as listings, and what is wrong with them."""

import os
from collections import Counter
from pathlib import Path

from transferkit.console import say, warn
from transferkit.data.grouping import groups_from_pattern
from transferkit.data.listing import Listing, listing_from_names
from transferkit.data.sources import imagenet_lists
from transferkit.data.sources.csv_columns import NO_SPLIT, Columns, has_label_columns, resolve_columns
from transferkit.data.sources.csv_paths import explain_missing, find_picture_paths
from transferkit.data.sources.csv_text import Rows, read_table
from transferkit.data.sources.folder_layout import SPLIT_NAMES, split_from_name
from transferkit.lookup import nearest

MOST_MISSING = 0.2  # as of unreadable pictures


def read_parts(path: str | os.PathLike, wanted: Columns = Columns()) -> dict[str, Listing]:  # noqa: B008, it is frozen
    """The listings of a list by its split column; without one, all is "train".

    Paths are relative to the list's folder, or found below it by their names; see `places`. Missing pictures, rows
    without a label and rows that are there twice are counted, named once and left out.

    Raises:
        FileNotFoundError: there is no such file or folder.
        UnknownName: no column is called so.
        ValueError: it has no rows or no column for pictures or labels, a row is damaged or contradicts another one, or
            more than one picture in five is missing.
    """
    path = Path(path).absolute()
    header, rows = _opened(path, wanted)
    columns, header, rows = resolve_columns(path, header, rows, wanted)
    places = _places(path, rows, columns)
    kept, ignored = _checked(path, rows, places, columns)
    groups = None
    if wanted.group_by:
        if wanted.group_by in header:
            groups = [row[wanted.group_by] for _, row, _ in kept]
            _no_empty_group(path, kept, groups, wanted.group_by)
        else:
            names = [row[columns.image].replace("\\", "/") for _, row, _ in kept]
            groups = groups_from_pattern(names, wanted.group_by, columns=header)
    parts = {}
    for name in ("train", "val", "test"):
        chosen = [i for i, (_, row, _) in enumerate(kept) if _split_of(row, columns) == name]
        if chosen:
            parts[name] = listing_from_names(
                [kept[i][2] for i in chosen],
                [kept[i][1][columns.label].strip() for i in chosen],
                groups=[groups[i] for i in chosen] if groups else (),
                ignored={} if parts else ignored,
            )
    return parts


def read_paths(path: str | os.PathLike, wanted: Columns = Columns()) -> list[str]:  # noqa: B008, it is frozen
    """The paths of all pictures of a list, a row each, in order; it needs no other column.

    Those of missing pictures are among them.

    Raises:
        FileNotFoundError: there is no such file or folder.
        UnknownName: no column is called so.
        ValueError: it has no rows or no column for pictures, or more than one picture in five is missing.
    """
    path = Path(path).absolute()
    header, rows = _opened(path, wanted)
    columns, _, rows = resolve_columns(path, header, rows, wanted, ("image",))
    places = _places(path, rows, columns)
    missing = [(line, row[columns.image]) for (line, row), place in zip(rows, places, strict=True)
               if not os.path.isfile(place)]  # fmt: skip
    _most_are_there(path, missing, len(rows), columns)
    return places


def has_labels(path: str | os.PathLike, wanted: Columns = Columns()) -> bool:  # noqa: B008, it is frozen
    """Whether a list has a column of classes: the one that is asked for, or one that is known as such."""
    return bool(wanted.label) or has_label_columns(*_opened(Path(path).absolute(), wanted))


def _opened(path: Path, wanted: Columns) -> tuple[list[str], Rows]:
    """The table of a list; the ground truth of ILSVRC2012 has no pictures of its own, so they are put beside it."""
    header, rows = read_table(path)
    return imagenet_lists.add_pictures(path, header, rows, wanted.folder) or (header, rows)


def _places(path: Path, rows: Rows, columns: Columns) -> list[str]:
    """The path of each row's picture; how they were found is said where it is not as they stand in the list."""
    names = [row[columns.image].strip() for _, row in rows]
    places, words = find_picture_paths(names, path, columns.folder, columns.suffix)
    if words:
        say(f"{path.name}: {words}.")
    return places


def _split_of(row: dict, columns: Columns) -> str:
    """ "" if the column says nothing that is known."""
    return split_from_name(row[columns.split]) if columns.split else "train"


def _checked(path: Path, rows: Rows, places: list[str], columns: Columns) -> tuple[list[tuple], Counter]:
    """(line, row, path) of the rows that can be used, and how many of the others there are of each kind.

    Raises:
        ValueError: a split is not known; one picture has two labels or is in two splits; too many are missing.
    """
    kept, seen, left = [], {}, {"row without a label": [], "duplicate row": [], "folder": [], "missing picture": []}
    if columns.split:
        _check_splits(path, rows, columns)
    for (line, row), place in zip(rows, places, strict=True):
        name, label, split = row[columns.image].strip(), row[columns.label].strip(), _split_of(row, columns)
        place = os.path.normpath(place)
        if not label:
            left["row without a label"].append((line, name))
        elif not name or not os.path.isfile(place):
            left["folder" if name and os.path.isdir(place) else "missing picture"].append((line, name))
        elif place in seen:
            before, *same = seen[place]
            if same != [label, split]:
                raise ValueError(
                    f"{path}, lines {before} and {line}: {name} is {same[0]!r} in {same[1]} and {label!r} in {split}; "
                    "a picture has one label and one split."
                )
            left["duplicate row"].append((line, name))
        else:
            seen[place] = (line, label, split)
            kept.append((line, row, place))
    _complain(path, left, len(rows), columns)
    return kept, Counter({kind: len(found) for kind, found in left.items() if found})


def _check_splits(path: Path, rows: Rows, columns: Columns):
    """Raise `ValueError` if a row's split is blank or none that is known."""
    wrong = [(line, row[columns.split].strip()) for line, row in rows if not _split_of(row, columns)]
    if not wrong:
        return
    blank = [line for line, given in wrong if not given]
    ways = f"--split-col {NO_SPLIT} takes all rows without a split"
    if len(blank) == len(wrong):
        raise ValueError(
            f"{path}: the split, column {columns.split!r}, is blank in {len(blank)} of {len(rows)} rows, the first in "
            f"line {blank[0]}: fill it with train, val or test; {ways}."
        )
    line, given = next(one for one in wrong if one[1])
    raise ValueError(
        f"{path}, line {line}: the split is {given!r}, expected one of {', '.join(SPLIT_NAMES)}; {ways}."
        f"{nearest(SPLIT_NAMES, given)}"
    )


def _most_are_there(path: Path, missing: list[tuple[int, str]], total: int, columns: Columns):
    if len(missing) <= MOST_MISSING * total:
        return
    (line, name), count = missing[0], len(missing)
    why = explain_missing(name.strip(), path, columns.folder)
    folder = columns.folder or path.parent
    raise ValueError(
        f"{count} of {total} pictures of {path} are missing, the first {name[:80]!r} in line {line}"
        f"{f', {why}' if why else ''}: paths are taken from {folder} and names looked for below it; --image-dir says "
        "another folder, --image-suffix what the names lack, as .jpg."
    )


def _complain(path: Path, left: dict, total: int, columns: Columns):
    _most_are_there(path, sorted(left["missing picture"] + left["folder"]), total, columns)
    for kind, found in left.items():
        if found:
            line, name = found[0]
            why = explain_missing(name, path, columns.folder) if kind == "missing picture" else ""
            warn(
                f"{path.name}: {len(found)} of {total} rows left out, {kind}; the first: line {line}, {name[:80]!r}"
                f"{f', {why}' if why else ''}."
            )
    if sum(map(len, left.values())) == total:
        unlabelled = len(left["row without a label"]) == total
        why = "the column of labels is empty" if unlabelled else "its rows lack a label or a picture, as said above"
        raise ValueError(f"{path} holds no row with a picture and a label: {why}.")


def _no_empty_group(path: Path, kept, groups, column: str):
    empty = [line for (line, _, _), group in zip(kept, groups, strict=True) if not group.strip()]
    if empty:
        raise ValueError(
            f"{path}: {len(empty)} rows have no {column!r}, the first in line {empty[0]}; fill the column, or leave "
            "--group-by out."
        )
