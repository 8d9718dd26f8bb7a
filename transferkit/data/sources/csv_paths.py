"""Where the pictures of a list lie: as they are written there, or found below its folder by their names.

Ids without folder or suffix, paths of Windows or of another machine, and names in another case or Unicode form are
found if one file alone fits. What folders a name has must fit too: `dogs/1.jpg` is never taken for `cats/1.jpg`.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from transferkit.data.class_matching import normalize_unicode
from transferkit.data.formats import SUFFIXES
from transferkit.data.sources.folder_layout import parse_split_name
from transferkit.data.sources.folder_walk import find_pictures
from transferkit.lookup import nearest

Parts = tuple[str, ...]


def find_picture_paths(names: Sequence[str], path: Path, folder: str = "", suffix: str = "") -> tuple[list[str], str]:
    """The path of each name, which is no file's where it was not found, and a few words on those found by search.

    Args:
        path: of the list. Of several files that fit, those of train.csv are in a folder train/.
        folder: of the pictures, as `--image-dir` says; by default the list's.
        suffix: that the names lack, as `--image-suffix` says.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    suffix = f".{suffix}" if suffix and not suffix.startswith(".") else suffix
    base, split = find_picture_folder(path.parent, folder), parse_split_name(path.stem)[0]
    paths = [os.path.join(base, name + suffix * (not name.endswith(suffix))) for name in names]
    lost = [row for row, path in enumerate(paths) if names[row] and not os.path.isfile(path)]
    if not lost:
        return paths, ""
    files = _files(base)
    wanted = {row: _parts(names[row]) for row in lost}
    found = _searched(files, wanted, split)
    if len(lost) == len(names) and not found:
        found = _searched(files, _without_start(wanted, names[lost[0]], base, told=bool(folder)), split)
    for row, inside in found.items():
        paths[row] = os.path.join(base, *inside)
    if not found:
        return paths, ""
    first = next(iter(found))
    return paths, f"{len(found):,} pictures found by name: {names[first]!r} is {os.path.join(*found[first])}"


def explain_missing(name: str, path: Path, folder: str = "") -> str:
    """Why a name of the list at this path is no picture's, in a few words; "" if there is no more to say."""
    base = find_picture_folder(path.parent, folder)
    if name and os.path.isdir(os.path.join(base, name)):
        return "a folder"
    if "://" in name:
        return "an address and no file"
    fitting = [os.path.join(*inside) for inside in _fitting(_files(base), {0: _parts(name)}, "")[0]]
    return f"which {' and '.join(fitting[:2])} fit" if len(fitting) > 1 else ""


def find_picture_folder(root: Path, folder: str) -> Path:
    """The folder of a list's pictures; a relative one is looked for in the working folder, then beside the list."""
    places = [Path(folder).absolute(), root / folder] if folder else [root]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        names = [entry.name for entry in root.iterdir() if entry.is_dir()]
        raise FileNotFoundError(f"There is no folder {folder!r}, here or in {root}.{nearest(names, folder)}")
    return found


def _files(base: Path) -> list[Parts]:
    """The parts of the path of each picture below a folder, from there."""
    start = os.path.join(base, "")
    return [tuple(path.removeprefix(start).split(os.sep)) for path in find_pictures(base, Counter())]


def _parts(name: str) -> Parts:
    """The parts of a path of any system, without drive and root."""
    path = PureWindowsPath(name)  # it takes both kinds of slashes
    return tuple(part for part in path.parts if part not in (path.anchor, ".", ".."))


@lru_cache(maxsize=100_000)
def _folded(part: str) -> str:
    return normalize_unicode(part).casefold()


def _searched(files: list[Parts], wanted: dict[int, Parts], split: str) -> dict[int, Parts]:
    """The file of each row for which one alone fits."""
    fitting = _fitting(files, wanted, split)
    return {row: fit[0] for row, fit in fitting.items() if len(fit) == 1}


def _fitting(files: list[Parts], wanted: dict[int, Parts], split: str) -> dict[int, list[Parts]]:
    """For each row the files whose paths end so, in lower case."""
    ends = defaultdict(list)
    for length in {len(parts) for parts in wanted.values()} - {0}:
        for parts in files:
            if len(parts) >= length:
                *folders, name = map(_folded, parts[-length:])
                ends[(*folders, name), True].append(parts)
                ends[(*folders, os.path.splitext(name)[0]), False].append(parts)
    found = {row: ends.get((tuple(map(_folded, parts)), _is_whole(parts)), []) for row, parts in wanted.items()}
    return {row: _nearest(fit, wanted[row], split) if len(fit) > 1 else fit for row, fit in found.items()}


def _is_whole(parts: Parts) -> bool:
    """Whether the name has a suffix, which the file must have too."""
    return bool(parts) and os.path.splitext(parts[-1])[1].lower() in SUFFIXES


def _nearest(fit: list[Parts], wanted: Parts, split: str) -> list[Parts]:
    """Of files that fit, the one in the same case, the one that lies just there, or the one in a folder of the split;
    all of them, where that is not one alone."""
    whole = _is_whole(wanted)
    names = {parts: (*parts[:-1], parts[-1] if whole else os.path.splitext(parts[-1])[0]) for parts in fit}
    plain = tuple(map(normalize_unicode, wanted))
    fit = [parts for parts in fit if tuple(map(normalize_unicode, names[parts]))[-len(wanted) :] == plain] or fit
    there = [parts for parts in fit if len(parts) == len(wanted)]
    inside = [parts for parts in fit if split and split in [parse_split_name(part)[0] for part in parts[:-1]]]
    return next((some for some in (fit, there, inside) if len(some) == 1), fit)


def _without_start(wanted: dict[int, Parts], name: str, base: Path, *, told: bool) -> dict[int, Parts]:
    """The names without the folders that all begin with, where these are of another machine, or the list lies in them.

    Args:
        name: one of them as it is written.
        told: whether the folder of the pictures was said.
    """
    common = _common(parts[:-1] for parts in wanted.values())
    if not (PureWindowsPath(name).anchor or told):
        own = [place for place, part in enumerate(common, start=1) if _folded(part) == _folded(base.name)]
        common = common[: own[-1]] if own else ()
    return {row: parts[len(common) :] for row, parts in wanted.items()} if common else {}


def _common(folders: Iterable[Parts]) -> Parts:
    folders = list(folders)
    same = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        same += 1
    return folders[0][:same]
