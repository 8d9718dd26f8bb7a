"""Which pictures there are, and which of them train, validate and test."""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from transferkit import atomic
from transferkit.console import warn
from transferkit.data.class_matching import matched, say_matched
from transferkit.data.grouping import hold_out, lessened
from transferkit.data.sources import folder_layout
from transferkit.data.sources.folder_layout import TREE
from transferkit.data.sources.folder_walk import find_pictures, folders_of, is_circle, is_hidden, natural

NOT_FILES = ("hidden", "system folder", "closed folder")  # what find_pictures counts besides files of people
LISTS = (".csv", ".tsv", ".txt")  # suffixes of lists of pictures
NO_LISTS = ("readme", "license", "licence", "classes", "requirements", "attribution")


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
        """The same pictures, labelled by another order of classes that holds theirs; see `matching.matched`.

        Raises:
            ValueError: it does not hold one of theirs; `where` says whose it is.
        """
        found = matched(self.classes, classes)
        extra = [name for name in self.classes if name not in found]
        if extra:
            raise ValueError(f"{where} holds pictures of {_few(extra)}; the classes known are {_few(classes)}.")
        say_matched(found, where)
        place = {name: number for number, name in enumerate(classes)}
        index = [place[found[name]] for name in self.classes]
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
    nested = {}
    for below in entries:
        circle, others = is_circle(below), Counter()
        pictures = [] if circle else find_pictures(below, others)
        ignored += others
        if circle:
            ignored["link in a circle"] += 1
        elif pictures:
            labels += [len(classes)] * len(pictures)
            paths += pictures
            classes.append(below.name)
            nested[below.name] = {os.path.relpath(place, below) for place in set(map(os.path.dirname, pictures))}
        elif others - Counter({kind: others[kind] for kind in NOT_FILES}):
            ignored[f"folder {below.name!r} without a picture"] += 1
            without.append(below.name)
        elif not others["closed folder"]:
            ignored[f"empty folder {below.name!r}"] += 1
    if not classes:
        found = f"{_count(loose)} but no class folders" if loose else "no pictures"
        raise ValueError(f"{folder} holds {found}: {TREE}{_list_beside(folder)}.")
    if len(classes) < least:
        raise ValueError(f"{folder} holds one class, {classes[0]!r}: two or more are needed to tell apart.")
    _warn_nested(folder, nested)
    ignored["outside the class folders"] += len(loose)
    return Listing(tuple(paths), tuple(labels), tuple(classes), dict(+ignored), without_pictures=tuple(without))


def _warn_nested(folder: Path, nested: dict[str, set[str]]):
    """Warn of class folders with several places of pictures.

    Args:
        nested: for each class the folders of its pictures, below its own.
    """
    several = {name: sorted(inside - {"."}, key=natural) for name, inside in nested.items() if len(inside) > 1}
    if several:
        name, inside = next(iter(several.items()))
        others = "another class" if len(several) == 2 else f"{len(several) - 1:,} more classes"
        more = f", and so for {others}" if len(several) > 1 else ""
        warn(
            f"{folder}: the pictures of {name}/{inside[0]}/{' and other folders' * (len(inside) > 1)} are counted to "
            f"class {name!r}{more}; if {inside[0]} is a class of its own, move its folder beside {name}/."
        )


def _list_beside(folder: Path) -> str:
    """The sentence's ending where a list of the pictures may lie in the folder, or beside train/ or images/."""
    is_part = not folder_layout.read_split(folder.name)[1] and os.access(folder.parent, os.R_OK | os.X_OK)
    places = (folder, folder.parent) if is_part else (folder,)
    entries = [entry for place in places for entry in sorted(place.iterdir())]
    lists = [entry for entry in entries if entry.suffix.lower() in LISTS and entry.is_file()]
    lists = [entry for entry in lists if entry.stem.lower() not in NO_LISTS]
    found = min(lists, key=lambda entry: LISTS.index(entry.suffix.lower()), default=None)
    return f"; if {found.name} lists them with their classes, give --data {found}" if found else ""


def _count(paths) -> str:
    return f"{len(paths):,} picture{'s' * (len(paths) != 1)}"


def from_names(paths, names, *, groups=(), ignored=None) -> Listing:
    """A listing of pictures whose classes are given by name, in natural order of the names."""
    classes = tuple(sorted(set(names), key=natural))
    index = {name: label for label, name in enumerate(classes)}
    return Listing(tuple(paths), tuple(index[name] for name in names), classes, dict(ignored or {}), tuple(groups))


def find_parts(folder: str | os.PathLike) -> dict[str, Listing]:
    """The listings of a folder's `train/`, `val/` and `test/`; a folder of class folders is all "train".

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: as `list_images` and `layout.find`; or another folder of pictures lies beside the splits.
    """
    found = folder_layout.find(Path(folder).absolute())
    if found.beside:
        found.check_beside()
    return _listed(found)


def find_some(folder: str | os.PathLike) -> dict[str, Listing]:
    """The same, whatever lies beside the splits."""
    return _listed(folder_layout.find(Path(folder).absolute()))


def _listed(found: folder_layout.Layout) -> dict[str, Listing]:
    return {"train" if name == "all" else name: list_images(place, least=1) for name, place in found.places.items()}


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
    places = folder_layout.find(Path(folder).absolute(), classes).places
    name = next(name for name in ("test", "val", "all", "train") if name in places)
    listing = list_images(places[name], least=1).under(classes, str(places[name]))
    return listing, "all" if name == "train" else name


def _few(names, most: int = 20) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def has_classes(folder: str | os.PathLike) -> bool:
    """Whether a folder holds folders of pictures, which may be classes or splits."""
    return bool(folders_of(Path(folder)))


def _is_class_folder(entry: Path) -> bool:
    return entry.is_dir() and not is_hidden(entry.name)


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
