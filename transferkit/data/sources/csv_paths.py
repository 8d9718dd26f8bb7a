"""Find the pictures of a list: at their paths as written, or below its folder by their names.

Ids without folder or suffix, paths of Windows or of another machine, and names in another case or Unicode form are
found if exactly one file fits. The folders in a name must fit too: `dogs/1.jpg` is never `cats/1.jpg`.
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
from transferkit.lookup import count_noun, suggest_nearest

Parts = tuple[str, ...]  # of a path


def find_picture_paths(
    names: Sequence[str], list_path: Path, folder: str = "", suffix: str = ""
) -> tuple[list[str], str]:
    """Find the path of each picture of a list.

    Args:
        names: of the pictures, as written in the list.
        list_path: of the list. If several files fit, those in a folder train/ are preferred for train.csv.
        folder: of the pictures, as `--image-dir` gives it; by default the list's.
        suffix: to add to the names, as `--image-suffix` gives it.

    Returns:
        The paths; that of a missing picture does not exist. And a few words on those found by name, "" if there are
        none.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    suffix = f".{suffix}" if suffix and not suffix.startswith(".") else suffix
    base, split = find_picture_folder(list_path.parent, folder), parse_split_name(list_path.stem)[0]
    paths = [os.path.join(base, name + suffix * (not name.endswith(suffix))) for name in names]
    missing = [row for row, path in enumerate(paths) if names[row] and not os.path.isfile(path)]
    if not missing:
        return paths, ""
    files = _list_files(base)
    parts_by_row = {row: _path_parts(names[row]) for row in missing}
    found = _search(files, parts_by_row, split)
    if len(missing) == len(names) and not found:
        is_foreign = bool(PureWindowsPath(names[missing[0]]).anchor) or bool(folder)
        found = _search(files, _strip_common_start(parts_by_row, base, is_foreign=is_foreign), split)
    for row, parts in found.items():
        paths[row] = os.path.join(base, *parts)
    if not found:
        return paths, ""
    first = next(iter(found))
    return (
        paths,
        f"{count_noun(len(found), 'picture')} found by name: {names[first]!r} is {os.path.join(*found[first])}",
    )


def explain_missing(name: str, list_path: Path, folder: str = "") -> str:
    """Why the picture of a name was not found, in a few words; "" if there is no more to say."""
    base = find_picture_folder(list_path.parent, folder)
    if name and os.path.isdir(os.path.join(base, name)):
        return "a folder"
    if "://" in name:
        return "a web address, not a file"
    fitting = [os.path.join(*parts) for parts in _find_fitting(_list_files(base), {0: _path_parts(name)}, "")[0]]
    return f"which {' and '.join(fitting[:2])} fit" if len(fitting) > 1 else ""


def find_picture_folder(root: Path, folder: str) -> Path:
    """The folder of a list's pictures; a relative one is looked for in the working directory, then beside the list.

    Args:
        root: the list's folder.
        folder: as `--image-dir` gives it; "" is `root`.

    Raises:
        FileNotFoundError: it does not exist.
    """
    candidates = [Path(folder).absolute(), root / folder] if folder else [root]
    found = next((path for path in candidates if path.is_dir()), None)
    if found is None:
        names = [entry.name for entry in root.iterdir() if entry.is_dir()]
        raise FileNotFoundError(f"There is no folder {folder!r}, here or in {root}.{suggest_nearest(names, folder)}")
    return found


def _list_files(base: Path) -> list[Parts]:
    """The path of each picture below a folder, relative to it."""
    start = os.path.join(base, "")
    return [tuple(path.removeprefix(start).split(os.sep)) for path in find_pictures(base, Counter())]


def _path_parts(name: str) -> Parts:
    """The parts of a path of any system, without drive and root."""
    path = PureWindowsPath(name)  # it takes both kinds of slashes
    return tuple(part for part in path.parts if part not in (path.anchor, ".", ".."))


@lru_cache(maxsize=100_000)
def _fold(part: str) -> str:
    return normalize_unicode(part).casefold()


def _search(files: list[Parts], parts_by_row: dict[int, Parts], split: str) -> dict[int, Parts]:
    """The file of each row for which exactly one fits."""
    fitting = _find_fitting(files, parts_by_row, split)
    return {row: fit[0] for row, fit in fitting.items() if len(fit) == 1}


def _find_fitting(files: list[Parts], parts_by_row: dict[int, Parts], split: str) -> dict[int, list[Parts]]:
    """The files whose paths end with the parts of each row, in any case; with or without the suffix."""
    by_end = defaultdict(list)
    for length in {len(parts) for parts in parts_by_row.values()} - {0}:
        for parts in files:
            if len(parts) >= length:
                *folders, name = map(_fold, parts[-length:])
                by_end[(*folders, name), True].append(parts)
                by_end[(*folders, os.path.splitext(name)[0]), False].append(parts)
    found = {row: by_end.get((tuple(map(_fold, parts)), _has_suffix(parts)), []) for row, parts in parts_by_row.items()}
    return {row: _prefer(fit, parts_by_row[row], split) if len(fit) > 1 else fit for row, fit in found.items()}


def _has_suffix(parts: Parts) -> bool:
    """Whether the name has a picture's suffix, which the file must have too."""
    return bool(parts) and os.path.splitext(parts[-1])[1].lower() in SUFFIXES


def _prefer(fitting: list[Parts], wanted: Parts, split: str) -> list[Parts]:
    """Of several files that fit, the one in the same case, else the one without more folders, else the one in a folder
    of the split; all of them if no rule leaves exactly one."""
    has_suffix = _has_suffix(wanted)
    names = {parts: (*parts[:-1], parts[-1] if has_suffix else os.path.splitext(parts[-1])[0]) for parts in fitting}
    exact = tuple(map(normalize_unicode, wanted))
    same_case = [parts for parts in fitting if tuple(map(normalize_unicode, names[parts]))[-len(wanted) :] == exact]
    fitting = same_case or fitting
    same_place = [parts for parts in fitting if len(parts) == len(wanted)]
    in_split = [parts for parts in fitting if split and split in [parse_split_name(part)[0] for part in parts[:-1]]]
    return next((some for some in (fitting, same_place, in_split) if len(some) == 1), fitting)


def _strip_common_start(parts_by_row: dict[int, Parts], base: Path, *, is_foreign: bool) -> dict[int, Parts]:
    """The names without their common first folders: all of them, or those up to the list's own folder.

    Args:
        is_foreign: whether the paths are of another machine, or the user named the folder of the pictures.
    """
    common = _common_start(parts[:-1] for parts in parts_by_row.values())
    if not is_foreign:
        own = [count for count, part in enumerate(common, start=1) if _fold(part) == _fold(base.name)]
        common = common[: own[-1]] if own else ()
    return {row: parts[len(common) :] for row, parts in parts_by_row.items()} if common else {}


def _common_start(folders: Iterable[Parts]) -> Parts:
    folders = list(folders)
    same = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        same += 1
    return folders[0][:same]
