"""A folder of features in the making: parts, each written whole, so that a job cut short goes on where it was.

`features.json` says what is extracted, `pictures.csv` of which pictures, `parts/` holds the features, a Parquet file
for so many pictures in order, and `errors.csv` names those that cannot be read.
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

from transferkit import atomic, trust
from transferkit.data.audit.scan import file_key
from transferkit.data.listing import Listing
from transferkit.features.extraction import extract_block
from transferkit.features.spec import FeatureSpec, other_features

NOTE, PICTURES, ERRORS, FORMAT = "features.json", "pictures.csv", "errors.csv", 1
LAYOUT = {"compression": "none", "use_dictionary": ["label", "split"], "write_statistics": False}  # floats are as noise
ROOM = 64e6  # bytes of features in a part, about


class OtherJob(ValueError):
    """A folder is of another job."""


@dataclass(frozen=True)
class Job:
    """What is extracted, of which pictures, into which parts.

    Attributes:
        folder: of the job.
        note: what `features.json` says.
        pictures: path, label (empty where there is none) and split of each.
    """

    folder: Path
    note: dict
    pictures: list[dict]

    @property
    def parts(self) -> list[Path]:
        """The files of all parts, written or not."""
        count = -(-len(self.pictures) // self.note["rows"])
        return [self.folder / "parts" / f"{number:05d}-of-{count:05d}.parquet" for number in range(count)]

    def size(self, number: int) -> int:
        """Pictures of a part."""
        rows = self.note["rows"]
        return min(rows, len(self.pictures) - number * rows)

    def missing(self, share: tuple[int, int] = (1, 1)) -> list[int]:
        """Numbers of the parts that are not written yet, of the i-th of n shares."""
        (i, n), parts = share, self.parts
        return [number for number in range(i - 1, len(parts), n) if not parts[number].exists()]


def begin(folder: Path, spec: FeatureSpec, shape: tuple[int, ...], listing: Listing, splits: Sequence[str]) -> Job:
    """Write down what there is to do, or find it there from before.

    Args:
        shape: of the features of one picture.
        splits: of each picture of the listing: "train", "val" or "test".

    Raises:
        ValueError: the folder holds something else.
    """
    classes = [atomic.utf8(name) for name in listing.classes]
    names = [classes[label] if classes else "" for label in listing.labels]
    columns = zip(listing.paths, names, splits, strict=True)
    pictures = [{"path": path, "label": label, "split": split} for path, label, split in columns]
    note = {
        "format": FORMAT,
        **spec.told(),
        "shape": list(shape),
        "classes": classes,
        "count": len(pictures),
        "listing": _digest(pictures),
        "rows": 1 << min(10, max(5, int(math.log2(ROOM / 4 / math.prod(shape))))),
    }
    if (folder / NOTE).is_file():
        _check_same(folder, _read_note(folder), note)
    elif not _is_ours(folder):
        raise ValueError(f"{folder} exists and holds no features: give another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / NOTE).is_file():  # before all else: by it a folder is known to be a job's
        atomic.write(folder / NOTE, note)
    if not (folder / PICTURES).is_file():
        atomic.write(folder / PICTURES, pictures)
    (folder / "parts").mkdir(exist_ok=True)
    return Job(folder, note, pictures)


def _digest(pictures: list[dict]) -> str:
    """Of what is extracted: a file that is changed or replaced makes it another job; that of a copy is the same."""
    facts = [key and key[1:3] for key in (file_key(picture["path"]) for picture in pictures)]
    return hashlib.sha256(json.dumps([pictures, facts]).encode()).hexdigest()


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a job's, or nothing but what a kill left of its note, or not there."""
    names = (
        [path.name for path in folder.iterdir()] if folder.is_dir() else [] if not folder.exists() else [folder.name]
    )
    return NOTE in names or all(re.fullmatch(rf"\.\d+\.{re.escape(NOTE)}", name) for name in names)


def _check_same(folder: Path, there: dict, wanted: dict):
    """Raise `OtherJob` if the folder is of another job."""
    other = other_features(there, wanted) or ("" if there.get("listing") == wanted["listing"] else "its pictures")
    if other:
        raise OtherJob(
            f"{folder} holds features that differ in {other}: give another --out, or --overwrite to replace it."
        )


def _read_note(folder: Path) -> dict:
    try:
        note = atomic.read(folder / NOTE)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / NOTE} cannot be read ({error}): --overwrite replaces the folder.") from None
    if note.get("format") != FORMAT:
        raise ValueError(
            f"{folder / NOTE} has format {note.get('format')}, not {FORMAT}: another transferkit wrote it."
        )
    return note


def open_job(folder: str | os.PathLike) -> Job:
    """Read a job back from its folder.

    Raises:
        ValueError: it is no such folder.
    """
    folder = Path(folder)
    try:
        return Job(folder, _read_note(folder), atomic.read(folder / PICTURES))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder} holds no features that can be read: {error}.") from None


def write_part_in(folder: str, number: int, *, cache: bool = True, trusted: tuple = ()) -> tuple[int, int]:
    """`write_part` in a process that knows the folder alone, and the `trust.state` of the process that began."""
    if trusted:
        trust.restore(trusted)
    facts = os.stat(Path(folder) / NOTE)
    return write_part(_job(folder, (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)), number, cache=cache)


@functools.lru_cache(maxsize=1)
def _job(folder: str, _facts: tuple[int, ...]) -> Job:
    """Opened once for many parts, and again if another job comes in its place."""
    return open_job(folder)


def write_part(job: Job, number: int, *, cache: bool = True, tick: Callable = lambda _: None) -> tuple[int, int]:
    """Extract one part of a job and write it, whole or not at all.

    Returns:
        How many features it holds, and how many of them came from the cache.

    Raises:
        OSError: it could not be written.
    """
    start = number * job.note["rows"]
    pictures = job.pictures[start : start + job.note["rows"]]
    found = extract_block([picture["path"] for picture in pictures], FeatureSpec.of(job.note), cache=cache, tick=tick)
    errors = [{"path": pictures[row]["path"], "reason": why} for row, why in sorted(found.errors.items())]
    kept = [pictures[row] for row in found.rows]
    table = pa.table(
        {
            "path": pa.array([atomic.utf8(picture["path"]) for picture in kept], pa.string()),
            "label": pa.array([picture["label"] or None for picture in kept], pa.string()).dictionary_encode(),
            "split": pa.array([picture["split"] for picture in kept], pa.string()).dictionary_encode(),
            "features": pa.FixedSizeListArray.from_arrays(found.features.ravel(), math.prod(job.note["shape"])),
        }
    )
    table = table.replace_schema_metadata({"transferkit": json.dumps(job.note), "errors": json.dumps(errors)})
    atomic.write(job.parts[number], lambda path: parquet.write_table(table, path, **LAYOUT))
    return len(kept), found.reused


def finish(job: Job) -> tuple[int, dict[str, str]]:
    """Write `errors.csv` of a job whose parts are all there, where pictures could not be read.

    Returns:
        How many pictures have features, and {path: why} of those that could not be read.

    Raises:
        ValueError: a part is damaged.
    """
    facts = [_facts(part) for part in job.parts]
    errors = [error for fact in facts for error in json.loads(fact.metadata[b"errors"])]
    (job.folder / ERRORS).unlink(missing_ok=True)
    if errors:
        atomic.write(job.folder / ERRORS, errors)
    return sum(fact.num_rows for fact in facts), {error["path"]: error["reason"] for error in errors}


def _facts(part: Path) -> parquet.FileMetaData:
    try:
        return parquet.read_metadata(part)
    except (OSError, pa.ArrowException):
        raise ValueError(f"{part} is damaged: delete it, and the same command writes it anew.") from None


def remove(folder: Path):
    """Delete a job's folder, and nothing that is not one.

    Raises:
        ValueError: it holds something else.
    """
    if not _is_ours(folder):
        raise ValueError(f"{folder} is not replaced: it holds no {NOTE}, so it may be something else.")
    shutil.rmtree(folder, ignore_errors=True)
