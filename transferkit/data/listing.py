"""Listings: which pictures there are, with their classes, and which of them train, validate and test."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from transferkit.console import warn
from transferkit.data import display
from transferkit.data.class_matching import match_classes, report_matches
from transferkit.data.file_ranges import container_file
from transferkit.data.sources import folder_layout, picture_values
from transferkit.data.sources.folder_layout import TREE
from transferkit.data.sources.folder_walk import (
    find_picture_folders,
    find_pictures,
    is_hidden,
    is_link_cycle,
    natural_sort_key,
)
from transferkit.data.splitting import hold_out, subsample
from transferkit.lookup import as_count, as_text, count_noun, describe_type, quote, show, suggest_known, suggest_nearest

SYSTEM_KINDS = ("hidden", "system folder", "closed folder")  # kinds of skipped files that a user did not make
LIST_SUFFIXES = (".csv", ".tsv", ".txt")  # of lists of pictures
NOT_LISTS = ("readme", "license", "licence", "classes", "requirements", "attribution")


@dataclass(frozen=True, repr=False)
class Listing:
    """Pictures and their classes, in natural order.

    `listing[3]` is a path and its label, as they come in a loop over the listing. `listing[:20]`, `listing[[3, 5]]` and
    `listing[mask]` are listings.

    Attributes:
        paths: of the pictures.
        labels: index into `classes` of each picture.
        classes: names in index order.
        ignored: number of skipped files by suffix or kind.
        groups: group of each picture, which no split divides; empty unless groups were asked for.
        duplicate_sets: set of duplicates of each picture, "" for none; see `duplicate_groups.mark_duplicates`. Empty
            if no picture has a duplicate, or duplicates were not searched for.
        empty_classes: names of class folders that hold files, none of which is a picture.

    Example:
        >>> pets = tk.list_images("pets/")
        >>> cats = pets[np.array(pets.labels) == pets.classes.index("cat")]
        >>> [path for path, label in cats]
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    ignored: dict[str, int] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    duplicate_sets: tuple[str, ...] = ()
    empty_classes: tuple[str, ...] = ()

    def __post_init__(self):
        if len(self.paths) != len(self.labels):
            raise ValueError(f"A listing has a label for each path, not {len(self.labels)} for {len(self.paths)}.")

    def __len__(self):
        return len(self.paths)

    def __iter__(self):
        return zip(self.paths, self.labels, strict=True)

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            return self.take(range(len(self))[rows])
        try:
            index = np.asarray(rows)
        except ValueError:  # of lists of different lengths
            index = np.asarray(None)
        index = index if index.size else index.astype(int)  # an empty list would be of floats
        if index.dtype == bool and index.shape == (len(self),):
            return self.take(np.flatnonzero(index))
        if index.dtype.kind not in "iu" or index.ndim > 1:
            raise IndexError(
                f"Expected a position, a slice, positions, or {len(self):,} truth values, not {show(rows)}."
            )
        if index.size and not -len(self) <= index.min() <= index.max() < len(self):
            raise IndexError(f"The listing has {count_noun(len(self), 'picture')}: there is none at {show(rows)}.")
        return self.take(index) if index.ndim else (self.paths[index], self.labels[index])

    def __repr__(self):
        return f"<Listing: {display.describe_listing(self)}>"

    def _repr_html_(self):
        return display.listing_html(self)

    def counts(self) -> dict[str, int]:
        """Number of pictures of each class."""
        by_label = Counter(self.labels)
        return {name: by_label[label] for label, name in enumerate(self.classes)}

    def relabel(self, classes: tuple[str, ...], where: str) -> "Listing":
        """The same pictures with labels into `classes`, matched by name; see `class_matching.match_classes`.

        Args:
            classes: names in index order, among them all classes of this listing.
            where: the name of this listing, for messages.

        Raises:
            ValueError: `classes` lacks a class of this listing.
        """
        matches = match_classes(self.classes, classes)
        unknown = [name for name in self.classes if name not in matches]
        if unknown:
            known = suggest_known(classes, unknown[0])
            raise ValueError(f"{where} holds pictures of {_join_names(unknown)}, and no class is called so.{known}")
        report_matches(matches, where)
        index_of = {name: index for index, name in enumerate(classes)}
        new_labels = [index_of[matches[name]] for name in self.classes]
        return replace(self, labels=tuple(new_labels[label] for label in self.labels), classes=tuple(classes))

    def take(self, rows) -> "Listing":
        """The pictures at these rows, in their order."""
        rows = [int(row) for row in rows]

        def select(values: tuple) -> tuple:
            return tuple(values[row] for row in rows) if values else ()

        return replace(
            self,
            paths=select(self.paths),
            labels=select(self.labels),
            groups=select(self.groups),
            duplicate_sets=select(self.duplicate_sets),
        )

    def split(self, fraction: float, *, seed: int = 0) -> tuple["Listing", "Listing"]:
        """Hold out about `fraction` of each class, at least one picture on both sides.

        No group is divided, nor any set of duplicates if that is possible; `list_images` does not read pictures, so a
        listing of it has no such sets.

        Returns:
            The rest, and the held-out pictures.

        Raises:
            ValueError: `fraction` is not between 0 and 1, or a class has a single picture, or a single group.
        """
        held_out = hold_out(self, fraction, seed)
        rest = np.setdiff1d(np.arange(len(self)), held_out)
        return self.take(rest), replace(self.take(sorted(held_out)), ignored={})


@dataclass(frozen=True, repr=False)
class Splits:
    """The listings of a job.

    Attributes:
        train, val, test: the listings; a job may have no test pictures.
        val_from_train: whether `val` was split off `train` here.
    """

    train: Listing
    val: Listing
    test: Listing | None = None
    val_from_train: bool = False

    def __post_init__(self):
        for name in ("train", "val", "test"):
            part = getattr(self, name)
            if not isinstance(part, Listing) and (name != "test" or part is not None):
                raise ValueError(
                    f"{name} must be a listing of pictures with their labels, not {describe_type(part)}: "
                    "tk.list_arrays(images, labels) makes one of arrays, tk.find_splits(data) those of any source."
                )

    def __repr__(self):
        counts = ", ".join(f"{name} {len(part):,}" for name, part in self.items())
        return f"<Splits: {counts} pictures of {len(self.train.classes):,} classes>"

    def _repr_html_(self):
        return display.splits_html({name: part.counts() for name, part in self.items()}, repr(self))

    def items(self):
        return [(name, part) for name in ("train", "val", "test") if (part := getattr(self, name)) is not None]

    def subsample(self, fraction: float, per_class: int, seed: int) -> "Splits":
        """The same with fewer training pictures; see `splitting.subsample`."""
        return replace(self, train=subsample(self.train, fraction, per_class, seed))


def list_images(folder: "str | os.PathLike | Iterable | Listing", *, min_classes: int = 2) -> Listing:
    """List a folder of class folders.

    Pictures in folders below a class folder belong to that class. Hidden files, files that are not pictures, and
    pictures beside the class folders are counted and skipped.

    Args:
        folder: the folder; or paths of pictures, whose class is the name of the folder that each is in; or a listing,
            which is returned.
        min_classes: how many classes there must be.

    Raises:
        FileNotFoundError: the folder or a picture does not exist.
        ValueError: it holds no class folders, or too few.

    Example:
        >>> pets = list_images("pets/")
        >>> train, val = pets.split(0.2)
        >>> list_images(Path("pets").glob("*/*.jpg")).classes
        ('cat', 'dog')
    """
    as_count(min_classes, "min_classes")
    if isinstance(folder, Listing):
        return folder
    if not isinstance(folder, (str, os.PathLike)):
        return list_paths(folder, "folder", min_classes=min_classes)
    return _list_class_folders(Path(as_text(folder, "folder")).absolute(), min_classes)


def _list_class_folders(folder: Path, min_classes: int) -> Listing:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: {TREE}.")
    paths, labels = [], []
    classes: list[str] = []
    empty_classes: list[str] = []
    ignored: Counter[str] = Counter()
    entries = sorted((entry for entry in folder.iterdir() if _is_class_folder(entry)), key=natural_sort_key)
    beside = find_pictures(folder, ignored, deep=False)
    subfolders = {}
    for entry in entries:
        is_cycle = is_link_cycle(entry)
        skipped: Counter[str] = Counter()
        pictures = [] if is_cycle else find_pictures(entry, skipped)
        ignored += skipped
        if is_cycle:
            ignored["link in a circle"] += 1
        elif pictures:
            labels += [len(classes)] * len(pictures)
            paths += pictures
            classes.append(entry.name)
            subfolders[entry.name] = {os.path.relpath(path, entry) for path in set(map(os.path.dirname, pictures))}
        elif skipped - Counter({kind: skipped[kind] for kind in SYSTEM_KINDS}):
            ignored[f"folder {entry.name!r} without a picture"] += 1
            empty_classes.append(entry.name)
        elif not skipped["closed folder"]:
            ignored[f"empty folder {entry.name!r}"] += 1
    if not classes:
        found = f"{_count(beside)} but no class folders" if beside else "no pictures"
        raise ValueError(f"{folder} holds {found}: {TREE}{_suggest_list(folder)}.")
    if len(classes) < min_classes:
        raise ValueError(f"{folder} holds one class, {classes[0]!r}: two or more are needed to tell apart.")
    _warn_nested(folder, subfolders)
    ignored["outside the class folders"] += len(beside)
    return Listing(tuple(paths), tuple(labels), tuple(classes), dict(+ignored), empty_classes=tuple(empty_classes))


def list_paths(paths, name: str, *, min_classes: int = 1) -> Listing:
    """List pictures that are given as paths, each of the class that its folder is named after.

    Args:
        paths: as `picture_values.check_pictures` takes them.
        name: of the argument, for messages.
    """
    expected = "expected a folder, or paths as pets/cat/tabby.jpg in folders named after their classes"
    paths = picture_values.check_pictures(paths, name, f"{expected}; tk.list_arrays takes arrays")
    if not paths:
        raise ValueError(f"{name} is empty: {expected}.")
    if not picture_values.are_paths(paths):
        raise ValueError(f"{name} is pictures without files: {expected}; tk.list_arrays takes arrays and labels.")
    for path in paths:
        if not os.path.exists(container_file(path)):
            beside = os.path.dirname(path) or "."
            names = os.listdir(beside) if os.path.isdir(beside) else ()
            raise FileNotFoundError(
                f"There is no picture {quote(path)}.{suggest_nearest(names, os.path.basename(path))}"
            )
        if os.path.isdir(path):
            raise ValueError(f"{path} is a folder: give it alone, or a list of the pictures in it.")
    paths = list(map(os.path.abspath, paths))
    found = listing_from_names(paths, [os.path.basename(os.path.dirname(path)) for path in paths])
    if len(found.classes) < min_classes:
        raise ValueError(
            f"All pictures are in folders named {found.classes[0]!r}, which is their class: two or more are needed to "
            "tell apart."
        )
    return found


def _warn_nested(folder: Path, subfolders: dict[str, set[str]]):
    """Warn of class folders whose pictures are in several folders.

    Args:
        subfolders: the folders of each class's pictures, relative to its own folder.
    """
    several = {
        name: sorted(inside - {"."}, key=natural_sort_key) for name, inside in subfolders.items() if len(inside) > 1
    }
    if several:
        name, inside = next(iter(several.items()))
        others = "another class" if len(several) == 2 else f"{len(several) - 1:,} more classes"
        more = f", and so for {others}" if len(several) > 1 else ""
        warn(
            f"{folder}: the pictures of {name}/{inside[0]}/{' and other folders' * (len(inside) > 1)} are counted to "
            f"class {name!r}{more}; if {inside[0]} is a class of its own, move its folder beside {name}/."
        )


def _suggest_list(folder: Path) -> str:
    """The end of a message: a list of pictures in the folder, or beside train/ or images/; "" if there is none."""
    has_outer = not folder_layout.parse_split_name(folder.name)[1] and os.access(folder.parent, os.R_OK | os.X_OK)
    folders = (folder, folder.parent) if has_outer else (folder,)
    entries = [entry for where in folders for entry in sorted(where.iterdir())]
    lists = [entry for entry in entries if entry.suffix.lower() in LIST_SUFFIXES and entry.is_file()]
    lists = [entry for entry in lists if entry.stem.lower() not in NOT_LISTS]
    found = min(lists, key=lambda entry: LIST_SUFFIXES.index(entry.suffix.lower()), default=None)
    return f"; if {found.name} lists them with their classes, give --data {found}" if found else ""


def _count(paths) -> str:
    return f"{len(paths):,} picture{'s' * (len(paths) != 1)}"


def listing_from_names(paths, names, *, groups=(), ignored=None) -> Listing:
    """Make a listing of pictures and the names of their classes, which are put in natural order."""
    classes = tuple(sorted(set(names), key=natural_sort_key))
    index_of = {name: index for index, name in enumerate(classes)}
    labels = tuple(index_of[name] for name in names)
    return Listing(tuple(paths), labels, classes, dict(ignored or {}), tuple(groups))


def list_split_folders(folder: str | os.PathLike) -> dict[str, Listing]:
    """List a folder's `train/`, `val/` and `test/`; a folder of class folders is all "train".

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: as `list_images` and `folder_layout.find_layout`; or another folder of pictures is beside the
            splits.
    """
    layout = folder_layout.find_layout(Path(folder).absolute())
    if layout.beside:
        layout.check_beside()
    return _list_layout(layout)


def find_parts_unchecked(folder: str | os.PathLike) -> dict[str, Listing]:
    """`list_split_folders`, whatever is beside the splits."""
    return _list_layout(folder_layout.find_layout(Path(folder).absolute()))


def _list_layout(layout: folder_layout.FolderLayout) -> dict[str, Listing]:
    folders = layout.split_folders.items()
    return {"train" if name == "all" else name: list_images(folder, min_classes=1) for name, folder in folders}


def complete_splits(parts: dict[str, Listing], *, validation: float, seed: int) -> Splits:
    """Make splits with the classes of "train"; if "val" is missing, a fraction of "train" is split off.

    Raises:
        ValueError: a part holds a class that "train" does not have, or a class is too small to be split.
    """
    train = parts["train"]
    others = {name: part.relabel(train.classes, f"{name}/") for name, part in parts.items() if name != "train"}
    if "val" in others:
        return Splits(train, others["val"], others.get("test"))
    rest, held_out = train.split(validation, seed=seed)
    return Splits(rest, held_out, others.get("test"), val_from_train=True)


def find_labelled(folder: str | os.PathLike, classes: tuple[str, ...]) -> tuple[Listing, str]:
    """List the pictures of a folder to evaluate a network on: those of its `test/`, else of `val/`, else all.

    Returns:
        A listing with labels into the network's classes, and "test", "val" or "all".

    Raises:
        FileNotFoundError, ValueError: as `list_images`; or the network does not have one of the classes.
    """
    folders = folder_layout.find_layout(Path(folder).absolute(), classes).split_folders
    name = next(name for name in ("test", "val", "all", "train") if name in folders)
    listing = list_images(folders[name], min_classes=1).relabel(classes, str(folders[name]))
    return listing, "all" if name == "train" else name


def _join_names(names, limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def has_class_folders(folder: str | os.PathLike) -> bool:
    """Whether a folder holds folders of pictures, which may be classes or splits."""
    return bool(find_picture_folders(Path(folder)))


def _is_class_folder(entry: Path) -> bool:
    return entry.is_dir() and not is_hidden(entry.name)
