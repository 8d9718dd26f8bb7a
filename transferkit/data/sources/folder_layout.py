"""Interpret the folders of a source: splits, classes, or folders around them. Only names and positions are used.

A split is a folder with a split's name that holds class folders: beside car/ and plane/, a folder train/ that holds
pictures itself is a class.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from transferkit.console import say, warn
from transferkit.data.class_matching import match_key
from transferkit.data.sources.folder_walk import find_picture_folders, has_pictures
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
NOT_CLASSES = frozenset(("unknown", "unlabelled", "unlabeled", "all", "jpg", "jpeg", "png"))  # around pictures
YEAR = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}")
TREE = "expected DIR/class/picture.jpg, or DIR/train/class/picture.jpg beside DIR/val and DIR/test"
MAX_SHOWN = 4


@dataclass(frozen=True)
class FolderLayout:
    """How a source's folders are used.

    Attributes:
        root: the folder that holds the splits, or the class folders.
        split_folders: the folder of class folders of each split; of "all" if there are no splits.
        beside: other folders of pictures beside the splits.
    """

    root: Path
    split_folders: dict[str, Path]
    beside: tuple[Path, ...] = ()

    def check_beside(self):
        """Raise `ValueError` if class folders are beside the splits; warn of other pictures there."""
        unlabelled = [entry for entry in self.beside if not find_picture_folders(_find_innermost(entry, ()))]
        if len(unlabelled) == len(self.beside) and (len(self.split_folders) > 1 or len(self.beside) == 1):
            for entry in unlabelled:
                warn(f"{entry} holds pictures but no class folders, so it is not a split: it is skipped.")
            return
        name, splits = self.beside[0].name, " and ".join(self.split_folders)
        raise ValueError(
            f"{self.root} holds {name}/ with pictures beside {splits}: if it is a split, rename it; if it is not, move "
            f"it; if all are classes, put the pictures of each straight into its folder; names of splits are "
            f"{', '.join(SPLIT_NAMES)}.{suggest_nearest(SPLIT_NAMES, name)}"
        )


def find_layout(folder: Path, known: Collection[str] = ()) -> FolderLayout:
    """Find out what the folders below a folder are, and report what is not plain from the names.

    Args:
        known: classes; a folder of such a name is a class and not a folder around others.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: two folders are one split, or the folders may be splits or classes.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: {TREE}.")
    known = frozenset(map(match_key, known))
    root = _find_innermost(folder, known)
    entries = find_picture_folders(root)
    if not entries:  # one class, in a folder within its folder
        root, entries = folder, find_picture_folders(folder)
    if root != folder:
        say(f"{folder}: its classes are looked for in {root.relative_to(folder)}/.")
    splits = _find_splits(entries, known)
    if splits:
        return _layout_by_split(root, splits, entries)
    _check_not_splits(root, entries, known)
    return FolderLayout(root, {"all": root})


def split_from_name(name: str) -> str:
    """The split that a name states: "train" for `train`, `training_set` and `TrainImages2017`; else ""."""
    split, other_words = parse_split_name(name)
    return "" if other_words else split


def parse_split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """The split in a name ("" if there is none, or several), and the other words of the name.

    Example:
        >>> parse_split_name("cats_train")
        ('train', ('cats',))
    """
    words = re.findall(r"[a-z]+|[^\W\d_a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    words = [part for word in words for part in _divide_word(word)]
    splits = [word for word in words if word in SPLIT_NAMES]
    other_words = tuple(word for word in words if word not in SPLIT_NAMES and word not in FILLERS)
    return (SPLIT_NAMES[splits[0]], other_words) if len(splits) == 1 else ("", other_words)


def _divide_word(word: str) -> tuple[str, ...]:
    """`testset` is two words."""
    return next(((word.removesuffix(end), end) for end in FILLERS if word.removesuffix(end) in SPLIT_NAMES), (word,))


def _find_splits(entries: list[Path], known: Collection[str]) -> dict[Path, str]:
    """{folder: split}; empty if the folders are classes, some of which have names like splits."""
    parsed = {entry: parse_split_name(entry.name) for entry in entries}
    splits_with: dict[tuple[str, ...], set[str]] = {}  # the splits that have the same other words in their names
    for split, words in parsed.values():
        splits_with.setdefault(words, set()).update({split} - {""})
    # the other words of cats_train and cats_test are the same, those of train_station stand alone
    found = {
        entry: split for entry, (split, words) in parsed.items() if split and (not words or len(splits_with[words]) > 1)
    }
    if known and all(match_key(entry.name) in known for entry in entries):
        return {}
    has_train = any(split == "train" and find_picture_folders(entry) for entry, split in found.items())
    return found if has_train or len(found) == len(entries) else {}


def _layout_by_split(root: Path, splits: dict[Path, str], entries: list[Path]) -> FolderLayout:
    split_folders = {}
    classes: Collection[str] = ()
    for name in ("train", "val", "test"):
        innermost = {entry: _find_innermost(entry, classes) for entry, split in splits.items() if split == name}
        if name == "test":
            for entry in [entry for entry, folder in innermost.items() if not find_picture_folders(folder)]:
                warn(f"{entry} holds pictures but no class folders, which would name their classes: it is skipped.")
                del innermost[entry]
        if len(innermost) > 1:
            raise ValueError(f"{root} holds two folders for {name}: {' and '.join(_names(list(innermost)[:2]))}.")
        for entry, folder in innermost.items():
            split_folders[name] = folder if find_picture_folders(folder) or name != "train" else entry
            classes = classes or frozenset(map(match_key, _names(find_picture_folders(folder))))
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and split_from_name(entry.name) and entry not in entries:
            warn(f"{entry} holds no pictures: it is skipped.")
    unusual = {name: folder for name, folder in split_folders.items() if not _is_plain(folder, root)}
    if unusual:
        say(f"{root}: {', '.join(f'{folder.relative_to(root)}/ is {name}' for name, folder in unusual.items())}.")
    real = {entry.resolve() for entry in splits}
    return FolderLayout(root, split_folders, tuple(entry for entry in entries if entry.resolve() not in real))


def _is_plain(folder: Path, root: Path) -> bool:
    return folder.parent == root and folder.name.lower() in SPLIT_NAMES


def _find_innermost(folder: Path, classes: Collection[str]) -> Path:
    """Descend while a folder holds nothing but one folder, which is neither a split nor a class."""
    while not has_pictures(folder) and len(inside := find_picture_folders(folder)) == 1:
        only = inside[0]
        key, other_words = match_key(only.name), set(parse_split_name(only.name)[1])
        if split_from_name(only.name) or key in classes:
            break
        if has_pictures(only) and key != match_key(folder.name) and other_words - NOT_CLASSES:
            break  # a single class
        folder = only
    return folder


def _check_not_splits(root: Path, entries: list[Path], known: Collection[str]):
    """Raise `ValueError` if each folder holds the same folders: those may be the classes, and these the splits."""
    are_known = known and all(match_key(entry.name) in known for entry in entries)
    if are_known or len(entries) < 2 or any(map(has_pictures, entries)):
        return
    inside = [{match_key(name): name for name in _names(find_picture_folders(entry))} for entry in entries]
    shared = [name for key, name in inside[0].items() if all(key in names for names in inside)]
    if len(shared) < 2 or 2 * len(shared) < max(map(len, inside)) or all(map(YEAR.fullmatch, shared)):
        return
    shown, first = " and ".join(f"{name}/" for name in _shorten(_names(entries))), entries[0].name
    if all(map(split_from_name, shared)):
        advice = f"move the pictures to {root / shared[0] / first} and so on, the splits around the classes"
    else:
        advice = (
            f"if {shared[0]} is a class, rename {shown} to train/, val/ or test/, or give --data {entries[0]}; if "
            f"{first} is a class, move its pictures to {first}/ itself"
        )
    raise ValueError(f"{root} holds {shown}, and each of them the folders {', '.join(_shorten(shared))}: {advice}.")


def _names(paths: Iterable[Path]) -> list[str]:
    return [path.name for path in paths]


def _shorten(names: list[str]) -> list[str]:
    return names[:MAX_SHOWN] + ["..."] * (len(names) > MAX_SHOWN)
