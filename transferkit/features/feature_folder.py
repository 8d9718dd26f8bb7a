"""A folder of features, written in parts: each part is written whole, so an interrupted job continues where it stopped.

`features.json` says which features they are, `pictures.csv` lists the pictures, `parts/` holds the features as Parquet
files of `rows` pictures each, in order, and `errors.csv` names the pictures that cannot be read.

A part depends on the folder and its number alone. So resuming, shards on several machines and the workers of Ray
(`ray_engine`) all do the same thing: they ask which parts are missing, and write those.
"""

import functools
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from transferkit import __version__, atomic, trust, versions
from transferkit.data import resizing
from transferkit.data.audit.scan import file_key
from transferkit.data.listing import Listing
from transferkit.features.extraction import extract_block
from transferkit.features.feature_spec import FeatureSpec, find_differences

NOTE, PICTURES, ERRORS, FORMAT = "features.json", "pictures.csv", "errors.csv", 1
RESIZER = "resizer"  # that made the pictures smaller; absent in notes of earlier versions
LAYOUT = {"compression": "none", "use_dictionary": ["label", "split"], "write_statistics": False}  # floats are as noise
PART_BYTES = 64e6  # of features in a part, about


class OtherJobError(ValueError):
    """The folder holds features of another network, of other pictures or with other settings."""


@dataclass(frozen=True)
class FeatureFolder:
    """Which features of which pictures go into which part files.

    Attributes:
        path: of the folder.
        note: the content of `features.json`.
        pictures: a dict for each picture: path, label (empty if it has none) and split.
    """

    path: Path
    note: dict
    pictures: list[dict]

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec.from_dict(self.note)

    @property
    def parts(self) -> list[Path]:
        """The files of all parts, whether they are written or not."""
        count = -(-len(self.pictures) // self.note["rows"])
        return [self.path / "parts" / f"{number:05d}-of-{count:05d}.parquet" for number in range(count)]

    def part_pictures(self, number: int) -> list[dict]:
        """The pictures of one part."""
        rows = self.note["rows"]
        return self.pictures[number * rows : (number + 1) * rows]

    def missing_parts(self, shard: tuple[int, int] = (1, 1)) -> list[int]:
        """The numbers of the parts of shard i of n, (i, n), that are not written yet."""
        (i, n), parts = shard, self.parts
        return [number for number in range(i - 1, len(parts), n) if not parts[number].exists()]


def create_folder(
    path: Path, spec: FeatureSpec, shape: tuple[int, ...], listing: Listing, splits: Sequence[str]
) -> FeatureFolder:
    """Create a folder for these features, or open the one that an interrupted job left.

    Args:
        shape: of the features of one picture.
        splits: "train", "val" or "test" for each picture of the listing.

    Raises:
        OtherJobError: the folder holds other features.
        ValueError: the folder holds something that is not features.
    """
    classes = [atomic.utf8_text(name) for name in listing.classes]
    labels = [classes[label] if classes else "" for label in listing.labels]
    columns = zip(listing.paths, labels, splits, strict=True)
    pictures = [{"path": path, "label": label, "split": split} for path, label, split in columns]
    note = {
        "format": FORMAT,
        versions.VERSION: __version__,
        **spec.to_dict(),
        RESIZER: resizing.NAME,
        "shape": list(shape),
        "classes": classes,
        "count": len(pictures),
        "listing": _digest_pictures(pictures),
        "rows": 1 << min(10, max(5, int(math.log2(PART_BYTES / 4 / math.prod(shape))))),
    }
    if (path / NOTE).is_file():
        _check_same(path, _read_note(path), note)
    elif not _is_replaceable(path):
        raise ValueError(f"{path} exists and holds no features: give another --out.")
    path.mkdir(parents=True, exist_ok=True)
    if not (path / NOTE).is_file():  # first of all: a folder with this file is known to be ours
        atomic.write(path / NOTE, note)
    if not (path / PICTURES).is_file():
        atomic.write(path / PICTURES, pictures)
    (path / "parts").mkdir(exist_ok=True)
    return FeatureFolder(path, note, pictures)


def _digest_pictures(pictures: list[dict]) -> str:
    """A digest that changes with the names, labels, splits, sizes and times of the files."""
    facts = [key and key[1:3] for key in (file_key(picture["path"]) for picture in pictures)]
    return hashlib.sha256(json.dumps([pictures, facts]).encode()).hexdigest()


def _is_replaceable(path: Path) -> bool:
    """Whether a folder has our note, has nothing but a partial note of a killed process, or does not exist."""
    names = [file.name for file in path.iterdir()] if path.is_dir() else [] if not path.exists() else [path.name]
    return NOTE in names or all(re.fullmatch(rf"\.\d+\.{re.escape(NOTE)}", name) for name in names)


def _check_same(path: Path, found: dict, expected: dict):
    """Raise `OtherJobError` if the note in the folder is not the expected one."""
    other = find_differences(found, expected)
    other = other or ("" if found.get("listing") == expected["listing"] else "its pictures")
    if not other and found.get(RESIZER, expected[RESIZER]) != expected[RESIZER]:  # others round differently
        other = f"{RESIZER} ({found[RESIZER]} in place of {expected[RESIZER]})"
    if other:
        raise OtherJobError(
            f"{path} holds features that differ in {other}: give another --out, or --overwrite to replace it."
        )


def _read_note(path: Path) -> dict:
    try:
        note = atomic.read(path / NOTE)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path / NOTE} cannot be read ({error}): --overwrite replaces the folder.") from None
    with versions.reading(path / NOTE, note, FORMAT):
        if note.get("format") != FORMAT:
            raise ValueError(f"{path / NOTE} has format {note.get('format')}, not {FORMAT}: --overwrite replaces it.")
    return note


def open_folder(path: str | os.PathLike) -> FeatureFolder:
    """Read the note and the list of pictures of a folder.

    Raises:
        ValueError: it is not a folder of features.
    """
    path = Path(path)
    try:
        return FeatureFolder(path, _read_note(path), atomic.read(path / PICTURES))
    except versions.NewerVersionError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} holds no features that can be read: {error}.") from None


def write_part(
    folder: FeatureFolder, number: int, *, cache: bool = True, advance: Callable = lambda _: None
) -> tuple[int, int]:
    """Extract the features of one part and write its file, whole or not at all.

    Args:
        number: of the part, from 0.
        cache: as in `extraction.extract`.
        advance: advance(count) is called as pictures are done.

    Returns:
        The number of features in the part, and how many of them came from the cache.

    Raises:
        OSError: the file could not be written.
    """
    pictures = folder.part_pictures(number)
    block = extract_block([picture["path"] for picture in pictures], folder.spec, cache=cache, advance=advance)
    errors = [{"path": pictures[row]["path"], "reason": reason} for row, reason in sorted(block.errors.items())]
    readable = [pictures[row] for row in block.rows]
    table = pa.table(
        {
            "path": pa.array([atomic.utf8_text(picture["path"]) for picture in readable], pa.string()),
            "label": pa.array([picture["label"] or None for picture in readable], pa.string()).dictionary_encode(),
            "split": pa.array([picture["split"] for picture in readable], pa.string()).dictionary_encode(),
            "features": pa.FixedSizeListArray.from_arrays(block.features.ravel(), math.prod(folder.note["shape"])),
        }
    )
    table = table.replace_schema_metadata({"transferkit": json.dumps(folder.note), "errors": json.dumps(errors)})
    atomic.write(folder.parts[number], lambda path: parquet.write_table(table, path, **LAYOUT))
    return len(readable), block.reused


def write_part_of(path: str, number: int, *, cache: bool = True, trusted: tuple = ()) -> tuple[int, int]:
    """Do `write_part` in another process, which gets the folder's path and the first process' `trust.export_state`."""
    if trusted:
        trust.restore_state(trusted)
    facts = os.stat(Path(path) / NOTE)
    return write_part(_open_cached(path, (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)), number, cache=cache)


@functools.lru_cache(maxsize=1)
def _open_cached(path: str, _stamp: tuple[int, ...]) -> FeatureFolder:
    """Open a folder once for many parts, and again if its note is replaced."""
    return open_folder(path)


def write_errors(folder: FeatureFolder) -> tuple[int, dict[str, str]]:
    """Write `errors.csv` of a complete folder, if pictures could not be read.

    Returns:
        The number of pictures with features, and {path: reason} of those that could not be read.

    Raises:
        ValueError: a part is damaged.
    """
    metadata = [_read_metadata(part) for part in folder.parts]
    errors = [error for part in metadata for error in json.loads(part.metadata[b"errors"])]
    (folder.path / ERRORS).unlink(missing_ok=True)
    if errors:
        atomic.write(folder.path / ERRORS, errors)
    return sum(part.num_rows for part in metadata), {error["path"]: error["reason"] for error in errors}


def _read_metadata(part: Path) -> parquet.FileMetaData:
    try:
        return parquet.read_metadata(part)
    except (OSError, pa.ArrowException):
        raise ValueError(f"{part} is damaged: delete it, and the same command writes it again.") from None


def remove_folder(path: Path):
    """Delete a folder of features, and nothing else.

    Raises:
        ValueError: the folder holds something else.
    """
    if not _is_replaceable(path):
        raise ValueError(f"{path} is not replaced: it has no {NOTE}, so it may hold something else.")
    shutil.rmtree(path, ignore_errors=True)
