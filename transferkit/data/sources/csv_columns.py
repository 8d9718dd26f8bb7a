"""Which column of a list is what: by its usual names, by what is in it, or as it was asked for."""

from dataclasses import dataclass, replace
from pathlib import Path

from transferkit.console import say
from transferkit.data.sources import imagenet_lists, one_hot
from transferkit.data.sources.csv_text import Rows, has_no_header, is_picture_name
from transferkit.data.sources.folder_layout import SPLIT_NAMES, split_from_name
from transferkit.lookup import nearest, pick

# what columns are usually called, the likeliest first; case, spaces, dashes and underscores do not count
IMAGE_NAMES = ("image", "path", "file", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagename",
               "img", "imgpath", "imgname", "picture", "photo", "images", "files", "paths", "filenames", "imageid",
               "imgid", "fileid", "idcode", "id", "name")  # fmt: skip
LABEL_NAMES = ("label", "class", "category", "classname", "labelname", "categoryname", "target", "species", "breed",
               "labels", "classes", "categories", "diagnosis", "dx", "predictionstring", "targets", "tag", "tags", "y",
               "labelid", "classid", "categoryid")  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "dataset")
USUAL = {"image": IMAGE_NAMES, "label": LABEL_NAMES, "split": SPLIT_COLUMNS}
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


def has_label_columns(header: list[str], rows: Rows) -> bool:
    """Whether a table has columns of classes that are known as such."""
    image = _known(header, IMAGE_NAMES, set())
    rest = [name for name in header if name != image]
    known = _known(rest, LABEL_NAMES, set()) or (has_no_header(header) and len(rest) == 1)
    return bool(known) or one_hot.is_one_hot(one_hot.find_one_hot_columns(rest, rows), rows)


def resolve_columns(path: Path, header: list[str], rows: Rows, wanted: Columns, kinds=tuple(USUAL)):
    """The columns of these kinds, of which "split" need not be there, and the table, which may have got a label."""
    if "," in wanted.label and wanted.label not in header and "label" in kinds:
        classes = [_asked(path, header, "label", name.strip()) for name in wanted.label.split(",")]
        header, rows, label = one_hot.add_label_column(path, header, rows, classes)
        wanted = replace(wanted, label=label)
    named = {kind: _asked(path, header, kind, getattr(wanted, kind)) for kind in kinds}
    taken, guessed = {name for name in named.values() if name}, []
    for kind in kinds:
        if named[kind] or (kind == "split" and wanted.split):
            continue
        named[kind] = _guessed(path, header, rows, kind, taken)
        if not named[kind] and kind == "label":
            classes = one_hot.find_one_hot_columns([name for name in header if name not in taken], rows)
            header, rows, named[kind] = (
                one_hot.add_label_column(path, header, rows, classes) if classes else (header, rows, "")
            )
        if named[kind]:
            taken.add(named[kind])
            guessed.append(f"{kind} is {named[kind]!r}")
        elif kind != "split":
            raise ValueError(_no_column(path, header, kind))
    if guessed:
        ending = "; no split" if named.get("split") == "" else ""
        say(f"{path.name}, columns by their names: {', '.join(guessed)}{ending}.")
    if "label" in kinds:
        rows = imagenet_lists.replace_labels(path, rows, named["image"], named["label"])
        one_hot.check_single_labels(path, rows, named["label"])
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
        pictures = [name for name in header if name not in taken and any(is_picture_name(row[name]) for _, row in rows)]
        return _known([name for name in header if name in pictures], IMAGE_NAMES, taken) or _known(
            header, IMAGE_NAMES, taken) or (pictures[0] if len(pictures) == 1 else "")  # fmt: skip
    if has_no_header(header):
        return _by_content(header, rows, kind, taken)
    name = _known(header, USUAL[kind], taken)
    if kind == "split" and name and not _says_splits(name, given := {row[name].strip() for _, row in rows} - {""}):
        some = ", ".join(sorted(given)[:3])
        say(f"{path.name}: the column {name!r} holds {some} ..., not train, val or test, and is taken for no split.")
        return ""
    return name


def _by_content(header: list[str], rows: Rows, kind: str, taken: set[str]) -> str:
    """The column of labels or splits of a table without names: all its cells are splits, or it alone is left."""
    rest = [name for name in header if name not in taken]
    splits = [name for name in rest if all(split_from_name(row[name]) for _, row in rows)]
    if kind == "split":
        return splits[0] if splits else ""
    rest = [name for name in rest if name not in splits]
    words = [name for name in rest if not all(row[name].strip().isdecimal() for _, row in rows)]
    return next((some[0] for some in (rest, words) if len(some) == 1), "")


def _says_splits(column: str, given: set[str]) -> bool:
    """Whether cells are meant as splits: some are, or look like misspelt ones; numbers of folds are not."""
    if not given or any(map(split_from_name, given)):
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
