"""A list of pictures in a CSV file: which column is what, and what is wrong with its rows."""

import csv
import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from transferkit.console import say, warn
from transferkit.data.grouping import by_pattern
from transferkit.data.layout import SPLIT_NAMES
from transferkit.data.listing import Listing, from_names
from transferkit.lookup import nearest, pick

# what columns are usually called, the likeliest first; case, spaces, dashes and underscores do not count
IMAGE_NAMES = ("image", "path", "file", "filename", "filepath", "imagepath", "imagefile", "imagename", "img", "picture")
LABEL_NAMES = ("label", "class", "category", "classname", "labelname", "target", "species", "breed")
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold")
USUAL = {"image": IMAGE_NAMES, "label": LABEL_NAMES, "split": SPLIT_COLUMNS}
SUFFIXES = (".csv", ".tsv", ".txt")
MOST_MISSING = 0.2  # as of unreadable pictures


@dataclass(frozen=True)
class Columns:
    """Names of columns; "" is recognised by its usual names. `group_by` may be a pattern on the paths instead."""

    image: str = ""
    label: str = ""
    split: str = ""
    group_by: str = ""


def read_parts(path: str | os.PathLike, wanted: Columns = Columns()) -> dict[str, Listing]:  # noqa: B008, it is frozen
    """The listings of a CSV file by its split column; without one, all is "train".

    Paths are relative to the file's folder. Missing pictures, rows without a label and rows that are there twice are
    counted, named once and left out.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownName: no column is called so.
        ValueError: it has no rows or no column for pictures or labels, a row is damaged or contradicts another one, or
            more than one picture in five is missing.
    """
    path = Path(path).absolute()
    header, rows = _table(path)
    columns = _columns(path, header, wanted)
    kept, ignored = _checked(path, rows, columns)
    groups = None
    if wanted.group_by:
        if wanted.group_by in header:
            groups = [row[wanted.group_by] or "" for _, row in kept]
            _no_empty_group(path, kept, groups, wanted.group_by)
        else:
            groups = by_pattern([row[columns.image] for _, row in kept], wanted.group_by, columns=header)
    parts = {}
    for name in ("train", "val", "test"):
        chosen = [i for i, (_, row) in enumerate(kept) if _split_of(row, columns) == name]
        if chosen:
            parts[name] = from_names(
                [_place(path, kept[i][1], columns) for i in chosen],
                [kept[i][1][columns.label].strip() for i in chosen],
                groups=[groups[i] for i in chosen] if groups else (),
                ignored={} if parts else ignored,
            )
    return parts


def read_paths(path: str | os.PathLike, image: str = "") -> list[str]:
    """The paths of all pictures of a CSV file, a row each, in order; it needs no other column.

    Those of missing pictures are among them.

    Args:
        image: name of the column; "" is recognised by its usual names.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownName: no column is called so.
        ValueError: it has no rows or no column for pictures, or more than one picture in five is missing.
    """
    path = Path(path).absolute()
    header, rows = _table(path)
    columns = _columns(path, header, Columns(image), ("image",))
    paths = [_place(path, row, columns) for _, row in rows]
    missing = [(line, row[columns.image] or "") for (line, row), place in zip(rows, paths, strict=True)
               if not os.path.isfile(place)]  # fmt: skip
    _most_are_there(path, missing, len(rows))
    return paths


def has_labels(path: str | os.PathLike, label: str = "") -> bool:
    """Whether a CSV file has a column of classes: the one that is asked for, or one by its usual name."""
    header, _ = _table(Path(path).absolute())
    return bool(label) or any(_plain(name) in LABEL_NAMES for name in header)


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict]]]:
    """Column names, and (line, row) of the rest."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: expected a CSV file with a column of pictures.")
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t|", key=first.count)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="", skipinitialspace=True)
    try:
        header = [name.strip() for name in lines.fieldnames or ()]
        lines.fieldnames = header
        rows, last = [], lines.line_num
        for row in lines:
            before, last = last, lines.line_num
            rows.append((last, row))
        if rows and last > before + 1:
            _check_quotes(path, text, before, delimiter)
    except csv.Error as error:
        _check_quotes(path, text, lines.line_num, delimiter)
        raise ValueError(f"{path}, line {lines.line_num + 1}: {error}; is it a list of pictures?") from None
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns called {twice[0]!r}: rename one of them.")
    if not rows:
        raise ValueError(f"{path} holds no rows: expected a line of column names and a line for each picture.")
    return header, rows


def _check_quotes(path: Path, text: str, done: int, delimiter: str):
    """Raise `ValueError` if the row after this many lines opens a quote that nothing closes."""
    rest = io.StringIO(text, newline="").readlines()[done:]
    first = next((place for place, line in enumerate(rest) if line.strip()), 0)
    try:
        list(csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error) or ("field limit" in str(error) and '"' in rest[first]):
            raise ValueError(
                f"{path}, line {done + first + 1}: a quote opens and is never closed: close it or take it away."
            ) from None


def _text(path: Path) -> str:
    """The file's text: UTF-8 or UTF-16 by its mark, else UTF-8, else Windows-1252, which is said."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        warn(f"{path} is no UTF-8 (line {line}) and is read as Windows-1252; save it as UTF-8 if names look wrong.")
        return data.decode("cp1252", "replace")


def _columns(path: Path, header: list[str], wanted: Columns, kinds=tuple(USUAL)) -> Columns:
    """The columns of these kinds, of which "split" need not be there."""
    table = {name: name for name in header}
    named = {kind: getattr(wanted, kind) and pick(table, getattr(wanted, kind), f"column of {path.name}")
             for kind in kinds}  # fmt: skip
    taken, guessed = {name for name in named.values() if name}, []
    for kind in kinds:
        if named[kind]:
            continue
        plain = {_plain(name): name for name in reversed(header) if name not in taken}
        named[kind] = next((plain[name] for name in USUAL[kind] if name in plain), "")
        if named[kind]:
            taken.add(named[kind])
            guessed.append(f"{kind} is {named[kind]!r}")
        elif kind != "split":
            raise ValueError(
                f"{path} has no column that looks like the {kind}s: give --{kind}-col; its columns are "
                f"{', '.join(header)}."
            )
    if guessed:
        ending = "; no split" if named.get("split") == "" else ""
        say(f"{path.name}, columns by their names: {', '.join(guessed)}{ending}.")
    return Columns(**named, group_by=wanted.group_by)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c not in " _-")


def _place(path: Path, row: dict, columns: Columns) -> str:
    return os.path.join(path.parent, (row[columns.image] or "").strip())


def _split_of(row: dict, columns: Columns) -> str | None:
    """None if the column says nothing that is known."""
    return SPLIT_NAMES.get((row[columns.split] or "").strip().lower()) if columns.split else "train"


def _checked(path: Path, rows, columns: Columns) -> tuple[list[tuple[int, dict]], Counter]:
    """The rows that can be used, and how many of the others there are of each kind.

    Raises:
        ValueError: a split is not known; one picture has two labels or is in two splits; too many are missing.
    """
    kept, seen, left = [], {}, {"row without a label": [], "duplicate row": [], "folder": [], "missing picture": []}
    for line, row in rows:
        name, label, split = (row[columns.image] or "").strip(), (row[columns.label] or "").strip(), None
        split = _split_of(row, columns)
        if split is None:
            given = row[columns.split] or ""
            raise ValueError(
                f"{path}, line {line}: the split is {given!r}, expected one of {', '.join(SPLIT_NAMES)}."
                f"{nearest(SPLIT_NAMES, given)}"
            )
        place = os.path.normpath(os.path.join(path.parent, name))
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
            kept.append((line, row))
    _complain(path, left, len(rows))
    return kept, Counter({kind: len(found) for kind, found in left.items() if found})


def _most_are_there(path: Path, missing: list[tuple[int, str]], total: int):
    if len(missing) > MOST_MISSING * total:
        (line, name), count = missing[0], len(missing)
        folder = ", a folder" if name.strip() and os.path.isdir(os.path.join(path.parent, name.strip())) else ""
        raise ValueError(
            f"{count} of {total} pictures of {path} are missing, the first {name[:80]!r} in line {line}{folder}: paths "
            f"are taken from the folder of the list, {path.parent}."
        )


def _complain(path: Path, left: dict, total: int):
    _most_are_there(path, sorted(left["missing picture"] + left["folder"]), total)
    for kind, found in left.items():
        if found:
            line, name = found[0]
            warn(f"{path.name}: {len(found)} of {total} rows left out, {kind}; the first: line {line}, {name[:80]!r}.")
    if sum(map(len, left.values())) == total:
        unlabelled = len(left["row without a label"]) == total
        why = "the column of labels is empty" if unlabelled else "its rows lack a label or a picture, as said above"
        raise ValueError(f"{path} holds no row with a picture and a label: {why}.")


def _no_empty_group(path: Path, kept, groups, column: str):
    empty = [line for (line, _), group in zip(kept, groups, strict=True) if not group.strip()]
    if empty:
        raise ValueError(
            f"{path}: {len(empty)} rows have no {column!r}, the first in line {empty[0]}; fill the column, or leave "
            "--group-by out."
        )
