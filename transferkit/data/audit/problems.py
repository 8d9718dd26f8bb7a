"""Problems of scanned pictures and of the listings they are in."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from transferkit.data.audit import duplicate_search
from transferkit.data.audit.file_scan import FileScan
from transferkit.data.file_ranges import container_file, is_range, original_name
from transferkit.data.formats import FORMATS
from transferkit.data.listing import Listing
from transferkit.data.sources.folder_walk import common_folder

KINDS = {  # the most harmful first
    "leak": "the same picture in two splits",
    "two-classes": "the same picture in two classes",
    "label": "likely wrong label",
    "unreadable": "cannot be read",
    "truncated": "cut short",
    "bomb": "declares too many pixels",
    "missing-class": "class missing from a split",
    "imbalance": "classes of unequal size",
    "duplicate": "duplicate of another file",
    "near-duplicate": "near-duplicate of another file",
    "wrong-extension": "content of another format",
    "ignored": "skipped",
    "shape": "extreme shape",
    "tiny": "tiny",
    "mode": "unusual pixels",
    "rotated": "rotated by Exif or XMP",
}
HARMLESS = ("wrong-extension", "mode", "rotated")  # training reads such pictures as it reads any
UNREADABLE = ("unreadable", "truncated", "bomb")
MODES = {
    "CMYK": "colours for print, converted to RGB",
    "P": "a palette",
    "1": "black and white only",
    "LAB": "Lab colours",
}
MAX_ASPECT = 4  # the longer side over the shorter one
MAX_IMBALANCE = 5  # the largest class over the smallest one


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        path: a file; for problems of classes and for skipped files, a folder or a list of pictures.
        kind: a key of `KINDS`.
        detail: a few words on it.
        other: the file that `path` duplicates.
        count: how many files it stands for.
    """

    path: str
    kind: str
    detail: str
    other: str = ""
    count: int = 1


def find_problems(parts: dict[str, Listing], scans: dict[str, FileScan], source: str = "") -> list[Problem]:
    """Find all problems of a job's listings, the most harmful first.

    Args:
        parts: by the name of the split, "train" first.
        scans: by path.
        source: the list that names the pictures, if they come from a list.
    """
    problems = [*_class_problems(parts, source), *_duplicate_problems(parts, scans)]
    for part in parts.values():
        for path in part.paths:
            problems += _file_problems(path, scans[path])
    return sort_problems(problems)


def sort_problems(problems: list[Problem]) -> list[Problem]:
    """The problems by kind, the most harmful first."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(problems, key=lambda problem: order[problem.kind])


def check_classes(listing: Listing, unreadable: dict[str, str], what: str):
    """Raise `ValueError` if a class would be missing because none of its pictures can be read.

    Args:
        unreadable: {path: reason} of its pictures that cannot be read.
        what: the listing's name, for the message.
    """
    readable = Counter(
        label for path, label in zip(listing.paths, listing.labels, strict=True) if path not in unreadable
    )
    for path, label in zip(listing.paths, listing.labels, strict=True):
        if listing.classes and not readable[label]:
            raise ValueError(
                f"No picture of class {listing.classes[label]!r} in {what} can be read: mend its files or remove it; "
                f"the first is {path}: {unreadable[path]}."
            )
    for name in listing.empty_classes:
        raise ValueError(
            f"The folder {name!r} in {what} holds files but no picture, so its class would be missing: convert them to "
            "JPEG or PNG, or move the folder away."
        )


def count_files(problems: list[Problem]) -> int:
    """How many files the problems stand for."""
    return sum(problem.count for problem in problems)


def count_classes(parts: dict[str, Listing]) -> dict[str, dict[str, int]]:
    """{class: {split: pictures}}, the classes of "train" first."""
    by_split = {split: part.counts() for split, part in parts.items()}
    classes = dict.fromkeys(name for counts in by_split.values() for name in counts)
    return {name: {split: counts.get(name, 0) for split, counts in by_split.items()} for name in classes}


def _class_problems(parts: dict[str, Listing], source: str) -> Iterator[Problem]:
    folders = {split: os.path.abspath(source) if source else find_listing_folder(part) for split, part in parts.items()}
    for name, counts in count_classes(parts).items():
        for split in parts:
            if not counts[split]:
                elsewhere = next(other for other, count in counts.items() if count or other != split)
                yield Problem(folders[split], "missing-class", f"no picture of class {name}, {elsewhere} has")
    for split, part in parts.items():
        for name in part.empty_classes:
            detail = "the folder holds files but no picture"
            yield Problem(os.path.join(folders[split], name), "missing-class", detail)
        sizes = {name: count for name, count in part.counts().items() if count}
        smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        if sizes[largest] >= MAX_IMBALANCE * sizes[smallest]:
            ratio = sizes[largest] / sizes[smallest]
            detail = f"{sizes[largest]:,} of class {largest}, {sizes[smallest]:,} of class {smallest}, {ratio:.0f} to 1"
            yield Problem(folders[split], "imbalance", detail)
        for what, count in part.ignored.items():
            yield Problem(folders[split], "ignored", f"{count:,} {what}", count=count)


def find_listing_folder(part: Listing) -> str:
    """The folder that holds a listing's class folders, or its shards."""
    folders = {container_file(path) if is_range(path) else os.path.dirname(path) for path in part.paths}
    return common_folder({os.path.dirname(os.path.abspath(folder)) for folder in folders})


def _duplicate_problems(parts: dict[str, Listing], scans: dict[str, FileScan]) -> Iterator[Problem]:
    """Each picture that duplicates an earlier one: at most one problem of a kind, exact duplicates first."""
    rows = [
        (path, split, part.classes[label])
        for split, part in parts.items()
        for path, label in zip(part.paths, part.labels, strict=True)
    ]
    ordered = [scans[path] for path, _, _ in rows]
    reported = set()
    groups = duplicate_search.find_exact_duplicates(ordered)
    exact_pairs = (pair for group in groups for pair in _pairs_with_first(group, rows))
    for pairs, exact in ((exact_pairs, True), (duplicate_search.find_near_duplicates(ordered), False)):
        for a, b in pairs:
            (first, split_a, class_a), (path, split_b, class_b) = rows[a], rows[b]
            where = {"leak": f", {split_a} and {split_b}"} if split_a != split_b else {}
            where |= {"two-classes": f", {class_a} and {class_b}"} if class_a != class_b else {}
            for kind, ending in (where or {"duplicate" if exact else "near-duplicate": ""}).items():
                if (b, kind) not in reported:
                    reported.add((b, kind))
                    yield Problem(path, kind, f"{'' if exact else 'nearly '}the same as {first}{ending}", first)


def _pairs_with_first(group: list[int], rows) -> Iterator[tuple[int, int]]:
    """Pairs of each row with the first of every split and class before it: a thousand duplicates are no million pairs.

    Within a split and class, files come before links: the later ones may be moved away.
    """
    firsts: dict[tuple, int] = {}
    for row in sorted(group, key=lambda row: _link_order(rows[row][0])):
        where = rows[row][1:]
        for other, first in firsts.items():
            yield (first, row) if other == where or first < row else (row, first)
        firsts.setdefault(where, row)


def _link_order(path: str) -> tuple[bool, bool]:
    """Sort key: whether a path is a link, and whether it leads through one."""
    return os.path.islink(path), os.path.realpath(path) != os.path.abspath(path)


def _file_problems(path: str, scan: FileScan) -> Iterator[Problem]:
    size = f"{scan.width:,} x {scan.height:,}"
    if scan.reason:
        is_bomb = "decompression bomb" in scan.reason
        is_truncated = "truncated" in scan.reason or "cut short" in scan.reason
        yield Problem(path, "bomb" if is_bomb else "truncated" if is_truncated else "unreadable", scan.reason)
    suffix = os.path.splitext(original_name(path))[1].lower()
    if scan.format and suffix not in FORMATS.get(scan.format, ()):
        yield Problem(path, "wrong-extension", f"{suffix or 'no suffix'}, but the content is {scan.format}")
    if scan.reason:
        return
    if max(scan.width, scan.height) > MAX_ASPECT * scan.shorter_side:
        yield Problem(path, "shape", size)
    if scan.shorter_side < duplicate_search.TINY:
        yield Problem(path, "tiny", size)
    if detail := _describe_mode(scan):
        yield Problem(path, "mode", f"{scan.mode}: {detail}")
    if scan.orientation != 1:
        yield Problem(path, "rotated", f"orientation {scan.orientation}, set upright when read")


def _describe_mode(scan: FileScan) -> str:
    """What is unusual about how a picture's pixels are stored; "" if nothing is."""
    details = []
    if scan.white_level:
        values = "floats" if scan.mode == "F" else "16 bits or more a value"
        details.append(f"{values}, 0..{scan.white_level:,} become 0..255")
    if scan.mode.endswith(("A", "a", "alpha")):
        details.append("transparent parts, on white unless the network has an alpha channel")
    return "; ".join(details) or MODES.get(scan.mode, "")
