"""What the folders of a source are: splits, classes, or folders around them. Only names and places are looked at.

A split is told by its name and by what it holds, class folders: beside car/ and plane/, a folder train/ that holds
pictures itself is a class.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from transferkit.console import say, warn
from transferkit.data.class_matching import loose
from transferkit.data.sources.folder_walk import folders_of, has_pictures
from transferkit.lookup import suggest_nearest

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
FILLERS = ("set", "sets", "data", "dataset", "split", "image", "images", "img", "imgs", "picture", "pictures", "pics",
           "photo", "photos", "folder", "dir")  # fmt: skip
AROUND = frozenset(("unknown", "unlabelled", "unlabeled", "all", "jpg", "jpeg", "png"))  # of pictures without a class
YEAR = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}")
TREE = "expected DIR/class/picture.jpg, or DIR/train/class/picture.jpg beside DIR/val and DIR/test"
SHOWN = 4


@dataclass(frozen=True)
class Layout:
    """Folders of class folders by split, "all" where there are no splits, and the folders of pictures beside them."""

    root: Path
    places: dict[str, Path]
    beside: tuple[Path, ...] = ()

    def check_beside(self):
        """Raise `ValueError` if class folders lie beside the splits, warn of other pictures there."""
        unlabelled = [entry for entry in self.beside if not folders_of(_innermost(entry, ()))]
        if len(unlabelled) == len(self.beside) and (len(self.places) > 1 or len(self.beside) == 1):
            for entry in unlabelled:
                warn(f"{entry} holds pictures but no class folders, so it is no split: it is left out.")
            return
        raise ValueError(
            f"{self.root} holds {self.beside[0].name}/ with pictures beside {' and '.join(self.places)}: if it is a "
            "split, rename it, if it is none, move it, and if all are classes, put the pictures of each straight into "
            f"its folder; names of splits are {', '.join(SPLIT_NAMES)}."
            f"{suggest_nearest(SPLIT_NAMES, self.beside[0].name)}"
        )


def find(folder: Path, known: Collection[str] = ()) -> Layout:
    """Tell what the folders below a folder are, and say what was not plain from the names.

    Args:
        known: classes; a folder called so is one of them and not a folder around others.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: two folders are one split, or the folders may be splits or classes.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: {TREE}.")
    known = frozenset(map(loose, known))
    root = _innermost(folder, known)
    entries = folders_of(root)
    if not entries:  # one class, in a folder within its folder
        root, entries = folder, folders_of(folder)
    if root != folder:
        say(f"{folder}: its classes are looked for in {root.relative_to(folder)}/.")
    splits = _splits(entries, known)
    if splits:
        return _by_split(root, splits, entries)
    _check_not_splits(root, entries, known)
    return Layout(root, {"all": root})


def split_of(name: str) -> str:
    """The split that a name says by itself: "train" of `train`, `training_set` and `TrainImages2017`; else ""."""
    split, rest = read_split(name)
    return "" if rest else split


def read_split(name: str) -> tuple[str, tuple[str, ...]]:
    """The split in a name, if there is one, and its other words."""
    words = re.findall(r"[a-z]+|[^\W\d_a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    words = [part for word in words for part in _parts(word)]
    splits = [word for word in words if word in SPLIT_NAMES]
    rest = tuple(word for word in words if word not in SPLIT_NAMES and word not in FILLERS)
    return (SPLIT_NAMES[splits[0]], rest) if len(splits) == 1 else ("", rest)


def _parts(word: str) -> tuple[str, ...]:
    """`testset` is two words."""
    return next(((word.removesuffix(end), end) for end in FILLERS if word.removesuffix(end) in SPLIT_NAMES), (word,))


def _splits(entries: list[Path], known: Collection[str]) -> dict[Path, str]:
    """{folder: split} of those that are one; none where they are classes, some of which are called like splits."""
    read = {entry: read_split(entry.name) for entry in entries}
    several = {rest: {split for split, other in read.values() if split and other == rest} for _, rest in read.values()}
    # the other words of cats_train and cats_test are alike, those of train_station stand alone
    found = {entry: split for entry, (split, rest) in read.items() if split and (not rest or len(several[rest]) > 1)}
    if known and all(loose(entry.name) in known for entry in entries):
        return {}
    divided = any(split == "train" and folders_of(entry) for entry, split in found.items())
    return found if divided or len(found) == len(entries) else {}


def _by_split(root: Path, splits: dict[Path, str], entries: list[Path]) -> Layout:
    places, classes = {}, frozenset()
    for name in ("train", "val", "test"):
        inner = {entry: _innermost(entry, classes) for entry, split in splits.items() if split == name}
        if name == "test":
            for entry in [entry for entry, place in inner.items() if not folders_of(place)]:
                warn(f"{entry} holds pictures but no class folders, which would say their classes: it is left out.")
                del inner[entry]
        if len(inner) > 1:
            raise ValueError(f"{root} holds two folders for {name}: {' and '.join(_names(list(inner)[:2]))}.")
        for entry, place in inner.items():
            places[name] = place if folders_of(place) or name != "train" else entry
            classes = classes or frozenset(map(loose, _names(folders_of(place))))
    empty = [e for e in sorted(root.iterdir()) if e.is_dir() and split_of(e.name) and e not in entries]
    for entry in empty:
        warn(f"{entry} holds no pictures: it is left out.")
    told = [f"{place.relative_to(root)}/ is {name}" for name, place in places.items() if not _is_plain(place, root)]
    if told:
        say(f"{root}: {', '.join(told)}.")
    real = {entry.resolve() for entry in splits}
    return Layout(root, places, tuple(entry for entry in entries if entry.resolve() not in real))


def _is_plain(place: Path, root: Path) -> bool:
    return place.parent == root and place.name.lower() in SPLIT_NAMES


def _innermost(folder: Path, classes: Collection[str]) -> Path:
    """The folder, or where it holds one folder alone that is no split and no class, what holds several, or pictures."""
    while not has_pictures(folder) and len(inside := folders_of(folder)) == 1:
        only = inside[0]
        if split_of(only.name) or loose(only.name) in classes:
            break
        if has_pictures(only) and loose(only.name) != loose(folder.name) and set(read_split(only.name)[1]) - AROUND:
            break  # a class by itself
        folder = only
    return folder


def _check_not_splits(root: Path, entries: list[Path], known: Collection[str]):
    """Raise `ValueError` if each folder holds the same folders: then those may be the classes, and these splits."""
    named = known and all(loose(entry.name) in known for entry in entries)
    if named or len(entries) < 2 or any(map(has_pictures, entries)):
        return
    inside = [{loose(name): name for name in _names(folders_of(entry))} for entry in entries]
    shared = [name for key, name in inside[0].items() if all(key in names for names in inside)]
    if len(shared) < 2 or 2 * len(shared) < max(map(len, inside)) or all(map(YEAR.fullmatch, shared)):
        return
    some, first = " and ".join(f"{name}/" for name in _few(_names(entries))), entries[0].name
    if all(map(split_of, shared)):
        way = f"move the pictures to {root / shared[0] / first} and so on, the splits around the classes"
    else:
        way = (
            f"if {shared[0]} is a class, rename {some} to train/, val/ or test/, or give --data {entries[0]}; if "
            f"{first} is a class, move its pictures to {first}/ itself"
        )
    raise ValueError(f"{root} holds {some}, and each of them the folders {', '.join(_few(shared))}: {way}.")


def _names(paths: Iterable[Path]) -> list[str]:
    return [path.name for path in paths]


def _few(names: list[str]) -> list[str]:
    return names[:SHOWN] + ["..."] * (len(names) > SHOWN)
