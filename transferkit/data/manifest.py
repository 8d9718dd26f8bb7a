"""A list of pictures in a file: which column is what, and what is wrong with its rows."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from transferkit.console import say, warn
from transferkit.data import ilsvrc, onelabel
from transferkit.data.grouping import by_pattern
from transferkit.data.layout import SPLIT_NAMES, split_of
from transferkit.data.listing import LISTS, Listing, from_names
from transferkit.data.places import find_places, why_lost
from transferkit.data.table import Rows, is_picture, read_table, unnamed
from transferkit.lookup import nearest, pick

# what columns are usually called, the likeliest first; case, spaces, dashes and underscores do not count
IMAGE_NAMES = ("image", "path", "file", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagename",
               "img", "imgpath", "imgname", "picture", "photo", "images", "files", "paths", "filenames", "imageid",
               "imgid", "fileid", "id", "name")  # fmt: skip
LABEL_NAMES = ("label", "class", "category", "classname", "labelname", "categoryname", "target", "species", "breed",
               "labels", "classes", "categories", "diagnosis", "dx", "predictionstring", "targets", "tag", "tags", "y",
               "labelid", "classid", "categoryid")  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "dataset")
USUAL = {"image": IMAGE_NAMES, "label": LABEL_NAMES, "split": SPLIT_COLUMNS}
SUFFIXES = LISTS
MOST_MISSING = 0.2  # as of unreadable pictures
NO_SPLIT = "none"  # as name of the split column


@dataclass(frozen=True)
class Columns:
    """Names of columns; "" is recognised by its usual names. `group_by` may be a pattern on the paths instead.

    `folder` is that of the pictures, by default the list's, `suffix` what the names in the list lack.
    """

    image: str = ""
    label: str = ""
    split: str = ""
    group_by: str = ""
    folder: str = ""
    suffix: str = ""


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
    columns, header, rows = _columns(path, header, rows, wanted)
    places = _places(path, rows, columns)
    kept, ignored = _checked(path, rows, places, columns)
    groups = None
    if wanted.group_by:
        if wanted.group_by in header:
            groups = [row[wanted.group_by] for _, row, _ in kept]
            _no_empty_group(path, kept, groups, wanted.group_by)
        else:
            names = [row[columns.image].replace("\\", "/") for _, row, _ in kept]
            groups = by_pattern(names, wanted.group_by, columns=header)
    parts = {}
    for name in ("train", "val", "test"):
        chosen = [i for i, (_, row, _) in enumerate(kept) if _split_of(row, columns) == name]
        if chosen:
            parts[name] = from_names(
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
    columns, _, rows = _columns(path, header, rows, wanted, ("image",))
    places = _places(path, rows, columns)
    missing = [(line, row[columns.image]) for (line, row), place in zip(rows, places, strict=True)
               if not os.path.isfile(place)]  # fmt: skip
    _most_are_there(path, missing, len(rows), columns)
    return places


def has_labels(path: str | os.PathLike, label: str = "") -> bool:
    """Whether a list has a column of classes: the one that is asked for, or one that is known as such."""
    path = Path(path).absolute()
    header, rows = _opened(path, Columns())
    image = _known(header, IMAGE_NAMES, set())
    rest = [name for name in header if name != image]
    known = label or _known(rest, LABEL_NAMES, set()) or (unnamed(header) and len(rest) == 1)
    return bool(known) or onelabel.are_classes(onelabel.one_hot(rest, rows), rows)


def _opened(path: Path, wanted: Columns) -> tuple[list[str], Rows]:
    """The table of a list; the ground truth of ILSVRC2012 has no pictures of its own, so they are put beside it."""
    header, rows = read_table(path)
    return ilsvrc.with_pictures(path, header, rows, wanted.folder) or (header, rows)


def _columns(path: Path, header: list[str], rows: Rows, wanted: Columns, kinds=tuple(USUAL)):
    """The columns of these kinds, of which "split" need not be there, and the table, which may have got a label."""
    if "," in wanted.label and wanted.label not in header and "label" in kinds:
        classes = [_asked(path, header, "label", name.strip()) for name in wanted.label.split(",")]
        header, rows, label = onelabel.joined(path, header, rows, classes)
        wanted = replace(wanted, label=label)
    named = {kind: _asked(path, header, kind, getattr(wanted, kind)) for kind in kinds}
    taken, guessed = {name for name in named.values() if name}, []
    for kind in kinds:
        if named[kind] or (kind == "split" and wanted.split):
            continue
        named[kind] = _guessed(path, header, rows, kind, taken)
        if not named[kind] and kind == "label":
            classes = onelabel.one_hot([name for name in header if name not in taken], rows)
            header, rows, named[kind] = onelabel.joined(path, header, rows, classes) if classes else (header, rows, "")
        if named[kind]:
            taken.add(named[kind])
            guessed.append(f"{kind} is {named[kind]!r}")
        elif kind != "split":
            raise ValueError(_no_column(path, header, kind))
    if guessed:
        ending = "; no split" if named.get("split") == "" else ""
        say(f"{path.name}, columns by their names: {', '.join(guessed)}{ending}.")
    if "label" in kinds:
        rows = ilsvrc.with_names(path, rows, named["image"], named["label"])
        onelabel.check(path, rows, named["label"])
    return replace(wanted, **named), header, rows


def _asked(path: Path, header: list[str], kind: str, name: str) -> str:
    """The column that was asked for; "" where none was, or no split is wanted.

    Raises:
        UnknownName: there is none of that name.
    """
    if not name or (kind == "split" and name == NO_SPLIT and name not in header):
        return ""
    return pick({name: name for name in header}, name, f"column of {path.name}")


def _guessed(path: Path, header: list[str], rows: Rows, kind: str, taken: set[str]) -> str:
    """The column of a kind by its usual names, or, in a table without names, by what is in it."""
    if kind == "image":
        pictures = [name for name in header if name not in taken and any(is_picture(row[name]) for _, row in rows)]
        return _known([name for name in header if name in pictures], IMAGE_NAMES, taken) or _known(
            header, IMAGE_NAMES, taken) or (pictures[0] if len(pictures) == 1 else "")  # fmt: skip
    name = _known(header, USUAL[kind], taken)
    if kind == "label" and unnamed(header):
        rest = [name for name in header if name not in taken]
        return rest[0] if len(rest) == 1 else ""
    if kind == "split" and name and not _says_splits(name, given := {row[name].strip() for _, row in rows} - {""}):
        some = ", ".join(sorted(given)[:3])
        say(f"{path.name}: the column {name!r} holds {some} ..., not train, val or test, and is taken for no split.")
        return ""
    return name


def _says_splits(column: str, given: set[str]) -> bool:
    """Whether cells are meant as splits: some are, or look like misspelt ones; numbers of folds are not."""
    if not given or any(map(split_of, given)):
        return True
    named = _plain(column) == "split" or any(nearest(SPLIT_NAMES, one) for one in given)
    return named and not all(one.replace(".", "").isdecimal() for one in given)


def _known(header: list[str], usual: tuple[str, ...], taken: set[str]) -> str:
    plain = {_plain(name): name for name in reversed(header) if name not in taken}
    return next((plain[name] for name in usual if name in plain), "")


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c not in " _-.")


def _no_column(path: Path, header: list[str], kind: str) -> str:
    if kind == "label" and len(header) == 1:
        return (
            f"{path} has one column alone, {header[0]!r}, so nothing says the classes: add a column label; if the "
            "folders of the pictures are their classes, give --data that folder."
        )
    return (
        f"{path} has no column that looks like the {kind}s: give --{kind}-col; its columns are {', '.join(header)}. "
        "If its first line is no line of column names, put one above it."
    )


def _places(path: Path, rows: Rows, columns: Columns) -> list[str]:
    """The path of each row's picture; how they were found is said where it is not as they stand in the list."""
    names = [row[columns.image].strip() for _, row in rows]
    places, words = find_places(names, path.parent, columns.folder, columns.suffix)
    if words:
        say(f"{path.name}: {words}.")
    return places


def _split_of(row: dict, columns: Columns) -> str:
    """ "" if the column says nothing that is known."""
    return split_of(row[columns.split]) if columns.split else "train"


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
    why = why_lost(name.strip(), path.parent, columns.folder)
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
            warn(f"{path.name}: {len(found)} of {total} rows left out, {kind}; the first: line {line}, {name[:80]!r}.")
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
