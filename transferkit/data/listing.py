"""Which pictures there are, and which of them train, validate and test."""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from transferkit import atomic
from transferkit.data.grouping import hold_out, lessened
from transferkit.data.walk import find_pictures, natural
from transferkit.lookup import nearest

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
NOT_FILES = ("hidden", "closed folder")  # what find_pictures counts besides files of people
TREE = "expected DIR/class/picture.jpg, or DIR/train/class/picture.jpg beside DIR/val and DIR/test"


@dataclass(frozen=True)
class Listing:
    """Pictures and their classes, in natural order.

    Attributes:
        paths: of the pictures.
        labels: index into `classes`, one a path.
        classes: names in index order.
        ignored: how many files of each suffix were passed over.
        groups: what each picture belongs together with, one a path, where that is asked for.
        copies: the set of copies and near copies that each picture is in, one a path, "" for none; see `copies.mark`.
            Empty where no picture has any, or nobody looked.
        without_pictures: names of class folders that hold files, none of which is a picture.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    ignored: dict[str, int] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    without_pictures: tuple[str, ...] = ()

    def __len__(self):
        return len(self.paths)

    def counts(self) -> dict[str, int]:
        """Pictures of each class."""
        by_label = Counter(self.labels)
        return {name: by_label[label] for label, name in enumerate(self.classes)}

    def under(self, classes: tuple[str, ...], where: str) -> "Listing":
        """The same pictures, labelled by another order of classes that holds theirs.

        Raises:
            ValueError: it does not hold one of theirs; `where` says whose it is.
        """
        extra = [name for name in self.classes if name not in classes]
        if extra:
            raise ValueError(f"{where} holds pictures of {_few(extra)}; the classes known are {_few(classes)}.")
        index = [classes.index(name) for name in self.classes]
        return replace(self, labels=tuple(index[label] for label in self.labels), classes=tuple(classes))

    def take(self, rows) -> "Listing":
        """The pictures at these positions."""
        rows = [int(row) for row in rows]
        columns = {name: getattr(self, name) for name in ("paths", "labels", "groups", "copies")}
        return replace(self, **{name: tuple(all_[i] for i in rows) if all_ else () for name, all_ in columns.items()})

    def split(self, fraction: float, *, seed: int = 0) -> tuple["Listing", "Listing"]:
        """Two listings: the rest, and about `fraction` of each class, at least one picture on both sides.

        A listing with groups is split between them: no group is on both sides. Nor is a set of copies, where that can
        be: `list_images` has not looked at the pictures, so it knows of none.

        Raises:
            ValueError: `fraction` is not between 0 and 1, or a class has a single picture, or a single group.
        """
        held = hold_out(self, fraction, seed)
        kept = np.setdiff1d(np.arange(len(self)), held)
        return self.take(kept), replace(self.take(sorted(held)), ignored={})


@dataclass(frozen=True)
class Splits:
    """The listings of a job. `made` says that `val` was split off `train` here."""

    train: Listing
    val: Listing
    test: Listing | None = None
    made: bool = False

    def __post_init__(self):
        for name in ("train", "val", "test"):
            part = getattr(self, name)
            if not isinstance(part, Listing) and (name != "test" or part is not None):
                raise ValueError(
                    f"{name} must be a listing of pictures with their labels, not of type {type(part).__name__}: "
                    "tk.list_arrays(images, labels) makes one of arrays, tk.find_splits(data) those of any source."
                )

    def items(self):
        return [(name, part) for name in ("train", "val", "test") if (part := getattr(self, name)) is not None]

    def lessened(self, fraction: float, per_class: int, seed: int) -> "Splits":
        """The same with fewer training pictures; see `grouping.lessened`."""
        return replace(self, train=lessened(self.train, fraction, per_class, seed))


def list_images(folder: str | os.PathLike, *, least: int = 2) -> Listing:
    """List a folder of class folders.

    Hidden files, files that are not pictures, and pictures beside the class folders are counted and passed
    over. Pictures in folders below a class folder belong to that class.

    Args:
        least: how many classes there must be.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no class folders, or too few.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: {TREE}.")
    paths, labels, classes, ignored, without = [], [], [], Counter(), []
    entries = sorted((entry for entry in folder.iterdir() if _is_class_folder(entry)), key=natural)
    loose = find_pictures(folder, ignored, deep=False)
    for below in entries:
        circle, others = _circle(below), Counter()
        pictures = [] if circle else find_pictures(below, others)
        ignored += others
        if circle:
            ignored["link in a circle"] += 1
        elif pictures:
            labels += [len(classes)] * len(pictures)
            paths += pictures
            classes.append(below.name)
        elif others - Counter({kind: others[kind] for kind in NOT_FILES}):
            ignored[f"folder {below.name!r} without a picture"] += 1
            without.append(below.name)
        elif not others["closed folder"]:
            ignored[f"empty folder {below.name!r}"] += 1
    if not classes:
        found = f"{len(loose)} pictures but no class folders" if loose else "no pictures"
        raise ValueError(f"{folder} holds {found}: {TREE}.")
    if len(classes) < least:
        raise ValueError(f"{folder} holds one class, {classes[0]!r}: two or more are needed to tell apart.")
    ignored["outside the class folders"] += len(loose)
    return Listing(tuple(paths), tuple(labels), tuple(classes), dict(+ignored), without_pictures=tuple(without))


def from_names(paths, names, *, groups=(), ignored=None) -> Listing:
    """A listing of pictures whose classes are given by name, in natural order of the names."""
    classes = tuple(sorted(set(names), key=natural))
    index = {name: label for label, name in enumerate(classes)}
    return Listing(tuple(paths), tuple(index[name] for name in names), classes, dict(ignored or {}), tuple(groups))


def find_parts(folder: str | os.PathLike) -> dict[str, Listing]:
    """The listings of a folder's `train/`, `val/` and `test/`; a folder of class folders is all "train".

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: as `list_images`; or there is val/ or test/ but no train/, or another folder of pictures beside it.
    """
    folders = _split_folders(folder)
    if folders and "train" not in folders:
        raise ValueError(f"{folder} holds {' and '.join(folders)} but no train: {TREE}.")
    if folders:
        _nothing_lost_beside(Path(folder), folders)
    folders = folders or {"train": Path(folder)}
    names = [name for name in ("train", "val", "test") if name in folders]
    return {name: list_images(folders[name], least=1) for name in names}


def _nothing_lost_beside(folder: Path, splits: dict[str, Path]):
    """Raise `ValueError` if a folder beside train/ is no split and holds pictures."""
    known = {split.resolve() for split in splits.values()}
    others = (e for e in folder.iterdir() if _is_class_folder(e) and e.resolve() not in known and not _circle(e))
    for entry in sorted(others, key=natural):
        if count := len(find_pictures(entry, Counter())):
            raise ValueError(
                f"{folder} holds {entry.name}/ with {count:,} picture{'s' * (count > 1)} beside train: rename or "
                f"move it; names of splits are {', '.join(SPLIT_NAMES)}.{nearest(SPLIT_NAMES, entry.name)}"
            )


def complete(parts: dict[str, Listing], *, validation: float, seed: int) -> Splits:
    """Splits under the classes of "train"; where "val" is missing, a share of "train" is split off.

    Raises:
        ValueError: a part holds a class that "train" has not, or a class is too small to be split.
    """
    train = parts["train"]
    others = {name: part.under(train.classes, f"{name}/") for name, part in parts.items() if name != "train"}
    if "val" in others:
        return Splits(train, **others)
    kept, held = train.split(validation, seed=seed)
    return Splits(kept, held, **others, made=True)


def find_labelled(folder: str | os.PathLike, classes: tuple[str, ...]) -> tuple[Listing, str]:
    """The pictures of a folder to check a network with: those of its `test/`, else of `val/`, else all.

    Returns:
        A listing under the network's classes, and "test", "val" or "all".

    Raises:
        FileNotFoundError, ValueError: as `list_images`; or a class is none of the network's.
    """
    folders = _split_folders(folder)
    split = next((name for name in ("test", "val") if name in folders), "all")
    chosen = folders.get(split, Path(folder))
    return list_images(chosen, least=1).under(classes, str(chosen)), split


def find_some(folder: str | os.PathLike) -> dict[str, Listing]:
    """The listings of whichever of `train/`, `val/` and `test/` a folder has; one of class folders is all "train"."""
    folders = _split_folders(folder) or {"train": Path(folder)}
    return {name: list_images(place, least=1) for name, place in folders.items()}


def _split_folders(folder: str | os.PathLike) -> dict[str, Path]:
    """`{"train": ..., "val": ..., "test": ...}`, those that a folder has, by their usual names.

    A folder test/ among others is a class of that name, unless there is a train/.
    """
    folder, found = Path(folder), {}
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: {TREE}.")
    entries = sorted(entry for entry in folder.iterdir() if _is_class_folder(entry))
    for entry in entries:
        name = SPLIT_NAMES.get(entry.name.lower())
        if name in found:
            raise ValueError(f"{folder} holds two folders for {name}: {found[name].name} and {entry.name}.")
        if name:
            found[name] = entry
    return found if "train" in found or len(found) == len(entries) else {}


def _few(names, most: int = 20) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def has_classes(folder: str | os.PathLike) -> bool:
    """Whether a folder holds folders, which may be classes or splits."""
    return any(map(_is_class_folder, Path(folder).iterdir()))


def _is_class_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _circle(entry: Path) -> bool:
    """Whether a folder is a link to one that holds it."""
    return entry.is_symlink() and entry.parent.resolve().is_relative_to(entry.resolve())


def split_rows(splits: Splits) -> list[dict]:
    """The rows of `split.csv`: path, label, split, and the group and the set of copies where there are any."""
    rows = []
    for name, part in splits.items():
        more = {"group": part.groups, "copies": part.copies}
        columns = {"path": part.paths, "label": [part.classes[label] for label in part.labels]}
        columns |= {"split": [name] * len(part)} | {column: values for column, values in more.items() if values}
        rows += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows


def read_splits(path: Path, classes: tuple[str, ...]) -> Splits:
    """Read a `split.csv`.

    Raises:
        ValueError: a row is damaged, or its label is none of the classes.
    """
    rows = {"train": [], "val": [], "test": []}
    for number, row in enumerate(atomic.read(path), start=2):
        if row.get("split") not in rows or row.get("label") not in classes:
            raise ValueError(f"{path}, line {number}: expected a path, a label and train, val or test, not {row}.")
        label = classes.index(row["label"])
        rows[row["split"]].append((row["path"], label, row.get("group"), row.get("copies") or ""))
    parts = {}
    for name, part in rows.items():
        if part:
            paths, labels, groups, copies = zip(*part, strict=True)
            known = {"groups": () if None in groups else groups, "copies": copies if any(copies) else ()}
            parts[name] = Listing(paths, labels, classes, **known)
    return Splits(parts["train"], parts["val"], parts.get("test"))
