"""Resolve `--data`: the listings of a folder, a CSV file, a TFDS name, or packed shards; and what Python gives for it.

What a public function takes as pictures is converted here: `as_listings` and `as_listing` for pictures with classes,
`as_pictures` for pictures without.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from transferkit import path_kinds
from transferkit.data import listing
from transferkit.data.audit import duplicate_groups
from transferkit.data.class_matching import match_classes, report_matches, warn_similar_classes
from transferkit.data.grouping import check_groups_apart, groups_from_pattern
from transferkit.data.listing import Listing, Splits
from transferkit.data.sources import csv_list, picture_values, shards, tfds
from transferkit.data.sources.csv_columns import Columns
from transferkit.data.sources.folder_walk import common_folder, find_pictures, natural_sort_key, relative_path
from transferkit.data.splitting import subsample
from transferkit.lookup import UnknownName, as_text, describe_type
from transferkit.recipe import Data, Recipe

SOURCE_KNOBS = ("data", "image_col", "label_col", "split_col", "image_dir", "image_suffix", "data_dir", "group_by")
FORMS = "expected a folder of class folders, a CSV file, tfds:NAME, or a folder of `transferkit data pack`"


def list_given_splits(source: Data) -> dict[str, Listing]:
    """The listings of a job as its source splits them; a source without splits is all "train".

    With `group_by`, the listings have groups, and no group is in two of them.

    Args:
        source: the recipe's [data].

    Raises:
        FileNotFoundError: the folder or file does not exist.
        UnknownName: a column, or a TFDS name, is not known.
        ValueError: there are no pictures to train on, or the splits contradict each other.
    """
    parts = list_parts(source)
    if "train" not in parts:
        raise ValueError(f"{source.data} holds {' and '.join(parts) or 'nothing'} but no train: name its pictures so.")
    if len(parts["train"].classes) < 2:
        only = parts["train"].classes[0]
        raise ValueError(f"{source.data} holds one class, {only!r}: two or more are needed to tell apart.")
    if source.group_by:
        check_groups_apart(parts)
    return parts


def find_labelled(source: Data, classes: tuple[str, ...]) -> tuple[Listing, str]:
    """The pictures of a source to evaluate a network on: its "test", else its "val", else all.

    Args:
        classes: of the network, in index order.

    Returns:
        A listing with labels into `classes`, and "test", "val" or "all".

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `list_given_splits`; or the network lacks a class.
    """
    if source_kind(source.data) == "folder":
        _check_options(source, "folder")
        found, split = listing.find_labelled(source.data, classes)
        return _add_groups({split: found}, source.group_by, source.data)[split], split
    parts = list_parts(source)
    name = next((name for name in ("test", "val", "train") if name in parts), "train")
    return parts[name].relabel(classes, source.data), "all" if name == "train" else name


def find_column(source: Data, column: str) -> dict[str, str]:
    """The cell of a column for each picture of a source that is a list: {path: cell}.

    Raises:
        UnknownName: there is no such column.
    """
    return csv_list.read_column(source.data, columns_of(source), column)


def as_listings(data, name: str) -> dict[str, Listing]:
    """The labelled pictures of each split, of whatever a public function takes.

    Args:
        data: a path or name as of `--data`, a builder of TFDS, a list of paths (see `listing.list_images`), a
            `Listing`, or `Splits`. Pictures without splits are all "train".
        name: of the argument, for messages.

    Raises:
        FileNotFoundError, UnknownName, ValueError: it is something else, or there are no pictures.
    """
    if isinstance(data, Splits):
        return dict(data.items())
    if hasattr(data, "as_dataset"):
        path, data_dir = tfds.source_from_builder(data)
        return list_parts(Data(data=path, data_dir=data_dir))
    if isinstance(data, (str, os.PathLike)):
        return list_parts(Data(data=as_text(data, name)))
    if not isinstance(data, (Listing, Iterable)) or isinstance(data, (bytes, Mapping)):
        raise ValueError(f"{name} is {describe_type(data)}: {FORMS}, a list of paths, or a listing.")
    found = data if isinstance(data, Listing) else listing.list_paths(data, name)
    if not len(found):
        raise ValueError(f"{name} holds no pictures.")
    return {"train": found}


def as_listing(data, name: str) -> Listing:
    """One listing of what `as_listings` takes: "train" and "val" together, or "test" if there is nothing else."""
    parts = as_listings(data, name)
    chosen = [part for split, part in parts.items() if split != "test"] or list(parts.values())
    return chosen[0] if len(chosen) == 1 else _concatenate(chosen, chosen[0].classes, name)


def as_labelled(data, classes: tuple[str, ...], name: str) -> Listing:
    """The pictures of `as_listings` to evaluate a network on, as `find_labelled` finds those of a source."""
    if isinstance(data, (str, os.PathLike)):
        return find_labelled(Data(data=as_text(data, name)), classes)[0]
    parts = as_listings(data, name)
    return next(parts[split] for split in ("test", "val", "train") if split in parts).relabel(classes, name)


def as_all_pictures(data, name: str) -> tuple[Listing, list[str]]:
    """What `find_all_pictures` returns, of what `as_listings` takes; a path may be of pictures without classes."""
    if isinstance(data, (str, os.PathLike)):
        return find_all_pictures(Data(data=as_text(data, name)))
    if isinstance(data, Listing) and len(data):
        return data, ["train"] * len(data)
    return join_parts(as_listings(data, name), name)


def as_pictures(pictures, name: str) -> list:
    """The pictures, whatever their split and class, of whatever a public function takes.

    Args:
        pictures: a path as `find_paths` takes it, a `Listing` or a list of its entries, or what
            `picture_values.check_pictures` takes.
        name: of the argument, for messages.

    Returns:
        Paths, or uint8 arrays (height, width, channels).

    Raises:
        FileNotFoundError, UnknownName, ValueError: it is something else, or a path has no pictures.
    """
    if isinstance(pictures, Listing):
        return list(pictures.paths)
    if isinstance(pictures, list):  # of (path, label), which scikit-learn makes of a part of a listing
        pictures = [entry[0] if isinstance(entry, tuple) and len(entry) == 2 else entry for entry in pictures]
    if not isinstance(pictures, (str, os.PathLike)):
        return picture_values.check_pictures(pictures, name)
    if paths := find_paths(Data(data=as_text(pictures, name))):
        return paths
    raise ValueError(f"{pictures} holds no pictures.")


def find_classes(source: Data) -> tuple[str, ...]:
    """The classes of a source, of all its splits together, in natural order.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `find_labelled`.
    """
    is_folder = source_kind(source.data) == "folder"
    return _join_classes(listing.find_parts_unchecked(source.data) if is_folder else list_parts(source))


def _join_classes(parts: dict[str, Listing]) -> tuple[str, ...]:
    return tuple(sorted({name for part in parts.values() for name in part.classes}, key=natural_sort_key))


def find_paths(source: Data) -> list[str]:
    """All pictures of a source in order, whatever their split and class: the pictures to classify.

    A file is a picture unless its suffix is a list's. In a list, rows without a label and missing pictures count too.
    In a folder, pictures may be anywhere; a folder without pictures gives an empty list.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `list_given_splits`, except about labels and splits.
    """
    is_file = os.path.exists(source.data) and not os.path.isdir(source.data)
    is_picture = is_file and Path(source.data).suffix.lower() not in listing.LIST_SUFFIXES
    kind = "picture" if is_picture else source_kind(source.data)
    _check_options(source, kind)
    if kind == "picture":
        return [source.data]
    if kind == "manifest":
        return csv_list.read_paths(source.data, columns_of(source))
    if kind == "folder":
        return find_pictures(Path(source.data), Counter())
    return [path for part in list_parts(source).values() for path in part.paths]


def find_all_pictures(source: Data) -> tuple[Listing, list[str]]:
    """All pictures of a source, one split after the other, with their classes if it has any.

    Returns:
        A listing, without classes and with labels of -1 if the source has none; and the split of each picture, "train"
        throughout if the source has no splits.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `list_given_splits`; or there are no pictures.
    """
    if not _has_labels(source):
        paths = find_paths(source)
        if not paths:
            raise ValueError(f"{source.data} holds no pictures.")
        return Listing(tuple(paths), (-1,) * len(paths), ()), ["train"] * len(paths)
    return join_parts(list_parts(source), source.data)


def join_parts(parts: dict[str, Listing], where: str) -> tuple[Listing, list[str]]:
    """One listing of all parts, and the split of each picture."""
    splits = [name for name, part in parts.items() for _ in part.paths]
    return _concatenate(parts.values(), _join_classes(parts), where), splits


def _concatenate(parts: Iterable[Listing], classes: tuple[str, ...], where: str) -> Listing:
    """One listing of several, with labels into `classes`."""
    parts = [part.relabel(classes, where) for part in parts]
    paths, labels, groups = (sum((getattr(part, name) for part in parts), ()) for name in ("paths", "labels", "groups"))
    ignored = sum((Counter(part.ignored) for part in parts), Counter())
    empty_classes = tuple(dict.fromkeys(name for part in parts for name in part.empty_classes))
    return Listing(paths, labels, classes, dict(ignored), groups, empty_classes=empty_classes)


def _has_labels(source: Data) -> bool:
    """Whether a source gives the classes of its pictures."""
    if os.path.isfile(source.data):
        is_list = Path(source.data).suffix.lower() in listing.LIST_SUFFIXES
        return is_list and csv_list.has_labels(source.data, columns_of(source))
    return source_kind(source.data) != "folder" or listing.has_class_folders(source.data)


def find_probe_listing(source: Data, *, seed: int = 0) -> tuple[Listing, Listing | None]:
    """The pictures of a source to cross-validate on, those of "train" and "val", and its "test" if it has one.

    Args:
        seed: of the subsample, for `fraction` and `per_class`.

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `list_given_splits`.
    """
    parts = list_given_splits(source)
    test, classes = parts.pop("test", None), parts["train"].classes
    pool = _concatenate(parts.values(), classes, source.data)
    pool = subsample(pool, source.fraction, source.per_class, seed)
    return pool, test and test.relabel(classes, source.data)


def find_splits(data, *, validation: float = 0.2, seed: int = 0, **knobs) -> Splits:
    """Train, val and perhaps test pictures of any source.

    If the source has no "val", the pictures are read, and duplicates and near-duplicates stay on one side.

    Args:
        data: as of `transferkit finetune --data`; a builder of TFDS, prepared or an `ImageFolder`; a list of paths,
            each picture in the folder of its class; a listing; or `Splits`, which are only subsampled.
        validation: fraction of each class that is held out if the source has no "val".
        seed: of that split.
        **knobs: the others of the recipe's [data]: `group_by`, `image_col`, ...

    Raises:
        FileNotFoundError, UnknownName, ValueError: as `list_given_splits`; or a class is too small to be split.

    Example:
        >>> splits = tk.find_splits("pets/", validation=0.1)
        >>> run = tk.finetune("resnet18", splits.train, splits.val)
    """
    if hasattr(data, "as_dataset"):
        data, knobs["data_dir"] = tfds.source_from_builder(data)
    source = Recipe().override(validation=validation, seed=seed, **knobs).data
    if isinstance(data, (str, os.PathLike)):
        parts = list_given_splits(replace(source, data=as_text(data, "data")))
    elif given := [name for name in SOURCE_KNOBS if getattr(source, name)]:
        raise UnknownName(f"{given[0]} is about a path, and data is {describe_type(data)}: omit it.")
    elif isinstance(data, Splits):
        return data.subsample(source.fraction, source.per_class, seed)
    else:
        parts = as_listings(data, "data")
    splits = duplicate_groups.make_splits(parts, validation=validation, seed=seed)
    return splits.subsample(source.fraction, source.per_class, seed)


def check_exists(data: str):
    """Raise `FileNotFoundError` if `data` is neither a TFDS name nor on the disk."""
    if not data.startswith(tfds.PREFIX) and not os.path.exists(data):
        raise FileNotFoundError(f"There is no {data!r}: {FORMS}.{path_kinds.suggest_path(data)}")


def source_kind(data: str) -> str:
    """The kind of a source: "tfds", "manifest" (a list), "shards" or "folder"."""
    if data.startswith(tfds.PREFIX):
        return "tfds"
    check_exists(data)
    if os.path.isfile(data):
        if Path(data).suffix.lower() in listing.LIST_SUFFIXES:
            return "manifest"
        raise ValueError(f"{data} is a file, but not {', '.join(listing.LIST_SUFFIXES)}: {FORMS}.")
    if not os.path.isdir(data):
        raise ValueError(f"{data} is a pipe or a device: {FORMS}.")
    return "shards" if (Path(data) / shards.INDEX).is_file() else "folder"


def list_parts(source: Data) -> dict[str, Listing]:
    """`list_given_splits` of a source that may have a single class, or no "train"."""
    parts = _read_parts(source)
    known = next(iter(parts.values())).classes
    for name, part in list(parts.items())[1:]:
        matches = match_classes(part.classes, known)
        report_matches(matches, f"{source.data}, {name}")
        parts[name] = replace(part, classes=tuple(matches.get(label, label) for label in part.classes))
    warn_similar_classes(_join_classes(parts), source.data)
    return parts


def _read_parts(source: Data) -> dict[str, Listing]:
    kind = source_kind(source.data)
    _check_options(source, kind)
    if kind == "manifest":
        return csv_list.read_parts(source.data, columns_of(source))
    if kind == "tfds":
        return _add_groups(tfds.list_tfds_splits(source.data, source.data_dir), source.group_by, "")
    if kind == "shards":
        return shards.list_shard_splits(source.data, source.group_by)
    return _add_groups(listing.list_split_folders(source.data), source.group_by, source.data)


def columns_of(source: Data) -> Columns:
    names = (source.image_col, source.label_col, source.split_col)
    return Columns(*names, source.group_by, source.image_dir, source.image_suffix)


def _check_options(source: Data, kind: str):
    """Raise `ValueError` if an option is given that is for another kind of source."""
    for_lists = ("image_col", "label_col", "split_col", "image_dir", "image_suffix")
    kind_of_option = dict.fromkeys(for_lists, ("manifest", "a CSV file")) | {"data_dir": ("tfds", "tfds:NAME")}
    for name, (right_kind, noun) in kind_of_option.items():
        if getattr(source, name) and kind != right_kind:
            raise ValueError(f"--{name.replace('_', '-')} is for {noun}, and {source.data} is not.")


def _add_groups(parts: dict[str, Listing], pattern: str, root: str) -> dict[str, Listing]:
    """The listings with groups by a pattern on the paths below `root`."""
    if not pattern:
        return parts
    root = os.path.abspath(root) if root else common_folder(path for part in parts.values() for path in part.paths)
    return {
        name: replace(part, groups=groups_from_pattern([relative_path(path, root) for path in part.paths], pattern))
        for name, part in parts.items()
    }
