"""What is wrong with pictures that were looked at, or worth knowing of them."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from transferkit.data.audit import near_duplicates
from transferkit.data.audit.file_scan import Look
from transferkit.data.file_ranges import file_of, is_range, name_of
from transferkit.data.formats import FORMATS
from transferkit.data.listing import Listing
from transferkit.data.sources.folder_walk import common_folder

KINDS = {  # in the order of what they cost
    "leak": "the same picture in two splits",
    "two-classes": "the same picture in two classes",
    "unreadable": "cannot be read",
    "truncated": "cut short",
    "bomb": "declares too many pixels",
    "missing-class": "class missing from a split",
    "imbalance": "classes of unequal size",
    "duplicate": "copy of another file",
    "near-duplicate": "nearly the same as another",
    "wrong-extension": "content of another format",
    "ignored": "passed over",
    "shape": "extreme shape",
    "tiny": "tiny",
    "mode": "unusual pixels",
    "rotated": "turned by Exif or XMP",
}
UNREADABLE = ("unreadable", "truncated", "bomb")
MODES = {
    "CMYK": "the colours of print, brought to RGB",
    "P": "a palette",
    "1": "black and white alone",
    "LAB": "Lab colours",
}
EXTREME = 4  # the longer side over the shorter one
UNEQUAL = 5  # the largest class over the smallest one


@dataclass(frozen=True)
class Problem:
    """One thing found: `path` is a file or, for classes and files passed over, a folder or a list of pictures.

    `other` is the file it equals, `count` how many files it stands for.
    """

    path: str
    problem: str
    detail: str
    other: str = ""
    count: int = 1


def find(parts: dict[str, Listing], looks: dict[str, Look], source: str = "") -> list[Problem]:
    """All problems of the listings of a job, what costs most first.

    Args:
        parts: by the name of the split, "train" first.
        looks: one for each path of theirs.
        source: the list that names the pictures, where it is one.
    """
    found = [*_of_classes(parts, source), *_same(parts, looks)]
    for part in parts.values():
        for path in part.paths:
            found += _of_file(path, looks[path])
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(found, key=lambda one: order[one.problem])


def check_classes(listing: Listing, unreadable: dict[str, str], what: str):
    """Raise `ValueError` if a class would be missing because nothing of it can be read.

    Args:
        unreadable: {path: why} of its pictures that cannot be read.
        what: the listing is, for the sentence.
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
    for name in listing.without_pictures:
        raise ValueError(
            f"The folder {name!r} in {what} holds files but no picture, so its class would be missing: convert them to "
            "JPEG or PNG, or move the folder away."
        )


def total(found: list[Problem]) -> int:
    """How many files the problems stand for."""
    return sum(one.count for one in found)


def counts(parts: dict[str, Listing]) -> dict[str, dict[str, int]]:
    """{class: {split: pictures}}, the classes of "train" first."""
    by_part = {name: part.counts() for name, part in parts.items()}
    classes = dict.fromkeys(name for part in by_part.values() for name in part)
    return {one: {name: part.get(one, 0) for name, part in by_part.items()} for one in classes}


def _of_classes(parts: dict[str, Listing], source: str) -> Iterator[Problem]:
    places = {name: os.path.abspath(source) if source else place(part) for name, part in parts.items()}
    for one, by_part in counts(parts).items():
        for name in parts:
            if not by_part[name]:
                elsewhere = next(other for other, count in by_part.items() if count or other != name)
                yield Problem(places[name], "missing-class", f"no picture of class {one}, {elsewhere} has")
    for name, part in parts.items():
        for one in part.without_pictures:
            yield Problem(os.path.join(places[name], one), "missing-class", "the folder holds files but no picture")
        sizes = {one: count for one, count in part.counts().items() if count}
        least, most = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
        if sizes[most] >= UNEQUAL * sizes[least]:
            ratio = sizes[most] / sizes[least]
            detail = f"{sizes[most]:,} of class {most}, {sizes[least]:,} of class {least}, {ratio:.0f} to 1"
            yield Problem(places[name], "imbalance", detail)
        for what, count in part.ignored.items():
            yield Problem(places[name], "ignored", f"{count:,} {what}", count=count)


def place(part: Listing) -> str:
    """The folder of a listing's class folders, or of its shards."""
    below = {file_of(path) if is_range(path) else os.path.dirname(path) for path in part.paths}
    return common_folder({os.path.dirname(os.path.abspath(path)) for path in below})


def _same(parts: dict[str, Listing], looks: dict[str, Look]) -> Iterator[Problem]:
    """Each picture that is an earlier one: at most one line of each kind for it, equal bytes before near ones."""
    rows = [
        (path, name, part.classes[label])
        for name, part in parts.items()
        for path, label in zip(part.paths, part.labels, strict=True)
    ]
    ordered = [looks[path] for path, _, _ in rows]
    seen = set()
    exact = ((a, b) for group in near_duplicates.copies(ordered) for a, b in _firsts(group, rows))
    for pairs, close in ((exact, False), (near_duplicates.near(ordered), True)):
        for a, b in pairs:
            (first, split, label), (path, split_b, label_b) = rows[a], rows[b]
            kinds = [kind for kind, differ in (("leak", split != split_b), ("two-classes", label != label_b)) if differ]
            for kind in kinds or ["near-duplicate" if close else "duplicate"]:
                if (b, kind) not in seen:
                    seen.add((b, kind))
                    where = {"leak": f", {split} and {split_b}", "two-classes": f", {label} and {label_b}"}.get(
                        kind, ""
                    )
                    yield Problem(path, kind, f"{'nearly ' if close else ''}the same as {first}{where}", first)


def _firsts(group: list[int], rows) -> Iterator[tuple[int, int]]:
    """Each of a group with the first of every split and class before it: a thousand copies are no million pairs.

    Within a split and class, files come before links: the later ones may be moved away.
    """
    firsts = {}
    for row in sorted(group, key=lambda row: _linked(rows[row][0])):
        where = rows[row][1:]
        yield from ((first, row) if other == where else sorted((first, row)) for other, first in firsts.items())
        firsts.setdefault(where, row)


def _linked(path: str) -> tuple[bool, bool]:
    """Whether a path is a link, and whether it leads through one."""
    return os.path.islink(path), os.path.realpath(path) != os.path.abspath(path)


def _of_file(path: str, one: Look) -> Iterator[Problem]:
    why = one.reason
    size = f"{one.width:,} x {one.height:,}"
    if why:
        bomb, cut = "decompression bomb" in why, "truncated" in why or "cut short" in why
        kind = "bomb" if bomb else "truncated" if cut else "unreadable"
        yield Problem(path, kind, why)
    suffix = os.path.splitext(name_of(path))[1].lower()
    if one.form and suffix not in FORMATS.get(one.form, ()):
        yield Problem(path, "wrong-extension", f"{suffix or 'no suffix'}, but the content is {one.form}")
    if why:
        return
    if max(one.width, one.height) > EXTREME * one.side:
        yield Problem(path, "shape", size)
    if one.side < near_duplicates.TINY:
        yield Problem(path, "tiny", size)
    if what := _mode(one):
        yield Problem(path, "mode", f"{one.mode}: {what}")
    if one.turn != 1:
        yield Problem(path, "rotated", f"orientation {one.turn}, set upright when read")


def _mode(one: Look) -> str:
    found = []
    if one.white:
        found.append(f"{'floats' if one.mode == 'F' else '16 bits or more a value'}, 0..{one.white:,} become 0..255")
    if one.mode.endswith(("A", "a", "alpha")):
        found.append("transparent parts, on white unless the network has an alpha channel")
    return "; ".join(found) or MODES.get(one.mode, "")
