"""Find the columns of a list: as they are asked for, by their usual names, or by their content."""

from dataclasses import dataclass, replace

from transferkit.console import say
from transferkit.data.sources import imagenet_lists, one_hot
from transferkit.data.sources.csv_text import Table, is_picture_name
from transferkit.data.sources.folder_layout import SPLIT_NAMES, split_from_name
from transferkit.lookup import look_up, suggest_nearest

# usual names of columns, the likeliest first; case, spaces, dashes and underscores do not count
IMAGE_NAMES = ("image", "path", "file", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagename",
               "img", "imgpath", "imgname", "picture", "photo", "images", "files", "paths", "filenames", "imageid",
               "imgid", "fileid", "idcode", "id", "name")  # fmt: skip
LABEL_NAMES = ("label", "class", "category", "classname", "labelname", "categoryname", "target", "species", "breed",
               "labels", "classes", "categories", "diagnosis", "dx", "predictionstring", "targets", "tag", "tags", "y",
               "labelid", "classid", "categoryid")  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "dataset")
USUAL_NAMES = {"image": IMAGE_NAMES, "label": LABEL_NAMES, "split": SPLIT_COLUMNS}
NO_SPLIT = "none"  # name of the split column that stands for no split


@dataclass(frozen=True)
class Columns:
    """Names of columns, and how a list names its pictures.

    Attributes:
        image, label, split: names of columns; "" is found by its usual names.
        group_by: name of a column, or a pattern on the paths.
        folder: of the pictures; by default the list's.
        suffix: to add to the names in the list.
    """

    image: str = ""
    label: str = ""
    split: str = ""
    group_by: str = ""
    folder: str = ""
    suffix: str = ""


def has_label_columns(table: Table) -> bool:
    """Whether a table has columns that look like classes."""
    image = _find_by_name(table.header, IMAGE_NAMES, set())
    rest = [name for name in table.header if name != image]
    known = _find_by_name(rest, LABEL_NAMES, set()) or (not table.has_column_names and len(rest) == 1)
    return bool(known) or one_hot.is_one_hot(table, one_hot.find_one_hot_columns(table, rest))


def resolve_columns(table: Table, requested: Columns, kinds=tuple(USUAL_NAMES)) -> tuple[Table, Columns]:
    """Find the columns of these kinds, and report those that were found by their names.

    Args:
        requested: what the user asked for.
        kinds: "image", "label" and "split", of which only "split" may be missing.

    Returns:
        The table, with a column of labels if it had one-hot columns, and all columns.

    Raises:
        UnknownName: a column that was asked for does not exist.
        ValueError: a column is missing, or cells hold several labels.
    """
    if "," in requested.label and requested.label not in table.header and "label" in kinds:
        table = one_hot.add_label_column(
            table, [_pick(table, "label", name.strip()) for name in requested.label.split(",")]
        )
        requested = replace(requested, label=one_hot.COLUMN)
    found = {kind: _pick(table, kind, getattr(requested, kind)) for kind in kinds}
    taken, guessed = {name for name in found.values() if name}, []
    for kind in kinds:
        if found[kind] or (kind == "split" and requested.split):
            continue
        found[kind] = _guess(table, kind, taken)
        if not found[kind] and kind == "label":
            rest = [name for name in table.header if name not in taken]
            if classes := one_hot.find_one_hot_columns(table, rest):
                table, found[kind] = one_hot.add_label_column(table, classes), one_hot.COLUMN
        if found[kind]:
            taken.add(found[kind])
            guessed.append(f"{kind} is {found[kind]!r}")
        elif kind != "split":
            raise ValueError(_missing_column_message(table, kind))
    if guessed:
        ending = "; no split" if found.get("split") == "" else ""
        say(f"{table.path.name}, columns by their names: {', '.join(guessed)}{ending}.")
    if "label" in kinds:
        table = imagenet_lists.replace_labels(table, found["image"], found["label"])
        one_hot.check_single_labels(table, found["label"])
    return table, replace(requested, **found)


def _pick(table: Table, kind: str, name: str) -> str:
    """The column of this name; "" if none was asked for, or no split is to be used.

    Raises:
        UnknownName: it does not exist.
    """
    if not name or (kind == "split" and name == NO_SPLIT and name not in table.header):
        return ""
    return look_up({name: name for name in table.header}, name, f"column of {table.path.name}")


def _guess(table: Table, kind: str, taken: set[str]) -> str:
    """The column of a kind by its usual names, or, in a table without names, by its content; "" if there is none."""
    if kind == "image":
        free = [name for name in table.header if name not in taken]
        pictures = [name for name in free if any(map(is_picture_name, table.cells(name)))]
        found = _find_by_name(pictures, IMAGE_NAMES, taken) or _find_by_name(table.header, IMAGE_NAMES, taken)
        return found or (pictures[0] if len(pictures) == 1 else "")
    if not table.has_column_names:
        return _find_by_content(table, kind, taken)
    name = _find_by_name(table.header, USUAL_NAMES[kind], taken)
    if kind == "split" and name and not _holds_splits(name, values := set(table.cells(name)) - {""}):
        shown = ", ".join(sorted(values)[:3])
        say(f"{table.path.name}: the column {name!r} holds {shown} ..., not train, val or test: it is not a split.")
        return ""
    return name


def _find_by_content(table: Table, kind: str, taken: set[str]) -> str:
    """The column of labels or splits of a table without names: all its cells are splits, or it alone is left."""
    rest = [name for name in table.header if name not in taken]
    splits = [name for name in rest if all(split_from_name(row[name]) for _, row in table.rows)]
    if kind == "split":
        return splits[0] if splits else ""
    rest = [name for name in rest if name not in splits]
    texts = [name for name in rest if not all(cell.isdecimal() for cell in table.cells(name))]
    return next((columns[0] for columns in (rest, texts) if len(columns) == 1), "")


def _holds_splits(column: str, values: set[str]) -> bool:
    """Whether cells are splits: some are, or look like misspelt ones; numbers of folds are not."""
    if not values or any(map(split_from_name, values)):
        return True
    looks_so = _plain(column) == "split" or any(suggest_nearest(SPLIT_NAMES, value) for value in values)
    return looks_so and not all(value.replace(".", "").isdecimal() for value in values)


def _find_by_name(header: list[str], usual: tuple[str, ...], taken: set[str]) -> str:
    plain = {_plain(name): name for name in reversed(header) if name not in taken}
    return next((plain[name] for name in usual if name in plain), "")


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c not in " _-.")


def _missing_column_message(table: Table, kind: str) -> str:
    if kind == "label" and len(table.header) == 1:
        return (
            f"{table.path} has one column alone, {table.header[0]!r}, so nothing says the classes: add a column label; "
            "if the folders of the pictures are their classes, give --data that folder."
        )
    return (
        f"{table.path} has no column that looks like the {kind}s: give --{kind}-col; its columns are "
        f"{', '.join(table.header)}. If its first line does not name columns, put a line above it that does."
    )
