"""What `--data` may say, made into the listings of a job: folders, CSV files, TFDS names, packed shards."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from transferkit.data import listing
from transferkit.data.audit import duplicate_groups
from transferkit.data.class_matching import matched, say_matched, warn_alike
from transferkit.data.grouping import by_pattern, check_apart, lessened
from transferkit.data.listing import Listing, Splits
from transferkit.data.sources import csv_list, shards, tfds
from transferkit.data.sources.csv_columns import Columns
from transferkit.data.sources.folder_walk import below, common_folder
from transferkit.lookup import suggest_nearest
from transferkit.recipe import Data, Recipe

FORMS = "expected a folder of class folders, a CSV file, tfds:NAME, or a folder of `transferkit data pack`"


def find_parts(wanted: Data) -> dict[str, Listing]:
    """The listings of a job as its source splits them; a source without splits is all "train".

    With `group_by`, the listings have groups, and no group is in two of them.

    Raises:
        FileNotFoundError: there is no such folder or file.
        UnknownName: a column, or a TFDS name, is not known.
        ValueError: it holds no pictures to train on, or its splits contradict each other.
    """
    parts = listed(wanted)
    if "train" not in parts:
        raise ValueError(f"{wanted.data} holds {' and '.join(parts) or 'nothing'} but no train: name its pictures so.")
    if len(parts["train"].classes) < 2:
        only = parts["train"].classes[0]
        raise ValueError(f"{wanted.data} holds one class, {only!r}: two or more are needed to tell apart.")
    if wanted.group_by:
        check_apart(parts)
    return parts


def find_labelled(wanted: Data, classes: tuple[str, ...]) -> tuple[Listing, str]:
    """The pictures of a source to check a network with: its "test", else its "val", else all.

    Returns:
        A listing under the network's classes, and "test", "val" or "all".

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_parts`; or a class is none of the network's.
    """
    if kind_of(wanted.data) == "folder":
        _check_knobs(wanted, "folder")
        return listing.find_labelled(wanted.data, classes)
    parts = listed(wanted)
    name = next((name for name in ("test", "val", "train") if name in parts), "train")
    return parts[name].under(classes, wanted.data), "all" if name == "train" else name


def find_classes(wanted: Data) -> tuple[str, ...]:
    """The classes of a source, of all its splits together, in natural order.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_labelled`.
    """
    is_folder = kind_of(wanted.data) == "folder"
    return _classes_of(listing.find_some(wanted.data) if is_folder else listed(wanted))


def _classes_of(parts: dict[str, Listing]) -> tuple[str, ...]:
    return tuple(sorted({name for part in parts.values() for name in part.classes}, key=listing.natural))


def find_paths(wanted: Data) -> list[str]:
    """All pictures of a source, whatever their split and class, in order: what to classify.

    A file is a picture unless its suffix is a list's; of a list, rows without a label and missing pictures count too.
    In a folder, they may lie anywhere; none is an empty list.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_parts`, but for labels and splits.
    """
    is_file = os.path.exists(wanted.data) and not os.path.isdir(wanted.data)
    is_picture = is_file and Path(wanted.data).suffix.lower() not in listing.LISTS
    kind = "picture" if is_picture else kind_of(wanted.data)
    _check_knobs(wanted, kind)
    if kind == "picture":
        return [wanted.data]
    if kind == "manifest":
        return csv_list.read_paths(wanted.data, _columns(wanted))
    if kind == "folder":
        return listing.find_pictures(Path(wanted.data), Counter())
    return [path for part in listed(wanted).values() for path in part.paths]


def find_all(wanted: Data) -> tuple[Listing, list[str]]:
    """All pictures of a source, one split after the other, with their classes if it has any.

    Returns:
        A listing, without classes and with labels of -1 where the source has none, and the split of each picture:
        "train" throughout where it has no splits.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_parts`; or no pictures are there.
    """
    if not _is_labelled(wanted):
        paths = find_paths(wanted)
        if not paths:
            raise ValueError(f"{wanted.data}: no pictures are there.")
        return Listing(tuple(paths), (-1,) * len(paths), ()), ["train"] * len(paths)
    parts = listed(wanted)
    classes = _classes_of(parts)
    splits = [name for name, part in parts.items() for _ in part.paths]
    return _joined(parts.values(), classes, wanted.data), splits


def _joined(parts: Iterable[Listing], classes: tuple[str, ...], where: str) -> Listing:
    """One listing of several, one after the other, under classes that hold theirs."""
    parts = [part.under(classes, where) for part in parts]
    paths, labels, groups = (sum((getattr(one, name) for one in parts), ()) for name in ("paths", "labels", "groups"))
    ignored = sum((Counter(part.ignored) for part in parts), Counter())
    without = tuple(dict.fromkeys(name for part in parts for name in part.without_pictures))
    return Listing(paths, labels, classes, dict(ignored), groups, without_pictures=without)


def _is_labelled(wanted: Data) -> bool:
    """Whether a source says of which class its pictures are."""
    if os.path.isfile(wanted.data):
        is_list = Path(wanted.data).suffix.lower() in listing.LISTS
        return is_list and csv_list.has_labels(wanted.data, _columns(wanted))
    return kind_of(wanted.data) != "folder" or listing.has_classes(wanted.data)


def find_probed(wanted: Data, *, seed: int = 0) -> tuple[Listing, Listing | None]:
    """The pictures of a source to cross-validate on, those of "train" and "val", and its "test" if it has one.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_parts`.
    """
    parts = find_parts(wanted)
    test, classes = parts.pop("test", None), parts["train"].classes
    joined = lessened(_joined(parts.values(), classes, wanted.data), wanted.fraction, wanted.per_class, seed)
    return joined, test and test.under(classes, wanted.data)


def find_splits(data: str | os.PathLike, *, validation: float = 0.2, seed: int = 0, **knobs) -> Splits:
    """Train, val and perhaps test pictures of any source, for `tk.finetune(base, splits.train, splits.val)`.

    Where the source has no "val", its pictures are looked at, and copies and near copies go to one side.

    Args:
        data: as of `transferkit finetune --data`, or a builder of TFDS, prepared or an `ImageFolder`.
        validation: share of each class held out where the source has no "val".
        seed: of that split.
        **knobs: the others of the recipe's [data]: `group_by`, `image_col`, ...

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_parts`; or a class is too small to be split.
    """
    if hasattr(data, "as_dataset"):
        data, knobs["data_dir"] = tfds.spell(data)
    if not isinstance(data, (str, os.PathLike)):
        arrays = "; tk.list_arrays takes arrays" if hasattr(data, "__array__") else ""
        raise ValueError(f"data must be a path or a name, not of type {type(data).__name__}: {FORMS}{arrays}.")
    wanted = Recipe().override(data=os.fspath(data), validation=validation, **knobs).data
    splits = duplicate_groups.split(find_parts(wanted), validation=validation, seed=seed)
    return splits.lessened(wanted.fraction, wanted.per_class, seed)


def check_there(data: str):
    """Raise `FileNotFoundError` if `data` is neither a TFDS name nor on the disk."""
    if not data.startswith(tfds.PREFIX) and not os.path.exists(data):
        folder = Path(data).absolute().parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else ()
        raise FileNotFoundError(f"There is no {data!r}: {FORMS}.{suggest_nearest(names, Path(data).name)}")


def kind_of(data: str) -> str:
    """What a source is: "tfds", "manifest", "shards" or "folder"."""
    if data.startswith(tfds.PREFIX):
        return "tfds"
    check_there(data)
    if os.path.isfile(data):
        if Path(data).suffix.lower() in listing.LISTS:
            return "manifest"
        raise ValueError(f"{data} is a file, but no {', '.join(listing.LISTS)}: {FORMS}.")
    if not os.path.isdir(data):
        raise ValueError(f"{data} is a pipe or a device: {FORMS}.")
    return "shards" if (Path(data) / shards.INDEX).is_file() else "folder"


def listed(wanted: Data) -> dict[str, Listing]:
    """`find_parts` of a source that may have one class alone, or no "train"."""
    parts = _read(wanted)
    known = next(iter(parts.values())).classes
    for name, part in list(parts.items())[1:]:
        found = matched(part.classes, known)
        say_matched(found, f"{wanted.data}, {name}")
        parts[name] = replace(part, classes=tuple(found.get(one, one) for one in part.classes))
    warn_alike(_classes_of(parts), wanted.data)
    return parts


def _read(wanted: Data) -> dict[str, Listing]:
    kind = kind_of(wanted.data)
    _check_knobs(wanted, kind)
    if kind == "manifest":
        return csv_list.read_parts(wanted.data, _columns(wanted))
    if kind == "tfds":
        return _grouped(tfds.find_parts(wanted.data, wanted.data_dir), wanted.group_by, "")
    if kind == "shards":
        return shards.find_parts(wanted.data, wanted.group_by)
    return _grouped(listing.find_parts(wanted.data), wanted.group_by, wanted.data)


def _columns(wanted: Data) -> Columns:
    return Columns(
        wanted.image_col, wanted.label_col, wanted.split_col, wanted.group_by, wanted.image_dir, wanted.image_suffix
    )


def _check_knobs(wanted: Data, kind: str):
    """Raise `ValueError` if a knob is given that is for another kind of source."""
    of_lists = ("image_col", "label_col", "split_col", "image_dir", "image_suffix")
    meant = dict.fromkeys(of_lists, ("manifest", "a CSV file"))
    for name, (right, what) in (meant | {"data_dir": ("tfds", "tfds:NAME")}).items():
        if getattr(wanted, name) and kind != right:
            raise ValueError(f"--{name.replace('_', '-')} is for {what}, and {wanted.data} is none.")


def _grouped(parts: dict[str, Listing], pattern: str, root: str) -> dict[str, Listing]:
    """The listings with groups by a pattern on the paths below `root`."""
    if not pattern:
        return parts
    root = os.path.abspath(root) if root else common_folder(path for part in parts.values() for path in part.paths)
    return {
        name: replace(part, groups=by_pattern([below(path, root) for path in part.paths], pattern))
        for name, part in parts.items()
    }
