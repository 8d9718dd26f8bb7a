"""Whether the files of a prepared TFDS folder may be read by TFDS: they may come from anybody.

TFDS imports the module of any class that `features.json` names, waits for pipes, and TensorFlow's process ends at a
record that says it is longer than memory. So the files are looked at before.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from transferkit import bounded
from transferkit.data.file_ranges import MOST_BYTES

FACTS = ("dataset_info.json", "features.json")
MOST_OF_FACTS = 10_000_000  # bytes of a file that is none of records
MOST_BESIDE = 100_000_000  # bytes of a record beside its picture
CLASS_NAMES = ("pythonClassName", "python_class_name", "type")  # keys of features.json, in its two forms
LENGTH = struct.Struct("<Q4x")  # of a record, and the checksum of that
FOOT = 4  # bytes behind a record: its own checksum


def find_bad_metadata(folder: Path, tfds) -> str:
    """What is wrong with the files of facts of a prepared folder, in a few words; "" if nothing is."""
    for entry in sorted(folder.iterdir()):
        is_facts = "-of-" not in entry.name
        if not entry.is_dir() and (why := _wrong_file(entry, MOST_OF_FACTS if is_facts else None)):
            return f"{entry.name}: {why}"
    for name in FACTS:
        try:
            content = bounded.from_json(bounded.read_bytes(folder / name))
        except (OSError, ValueError):
            return f"its {name} is missing or damaged"
    known = _classes(tfds)
    foreign = next((name for name in _class_names(content) if name not in known), None)
    return f"its features.json names the class {foreign!r}, which is none of TFDS's features" if foreign else ""


def find_bad_records(builder, splits: list[str]) -> str:
    """What is wrong with the records of some splits of a builder, in a few words; "" if nothing is."""
    form = builder.info.file_format
    if form is None or form.value != "tfrecord":
        return f"its format is {form and form.value}, expected tfrecord"
    for split in splits:
        for path in map(Path, builder.info.splits[split].filepaths):
            if path.parent != Path(builder.data_dir):
                return f"its records of {split} lie in another folder"
            if why := _wrong_file(path, None) or _wrong_lengths(path):
                return f"{path.name}: {why}"
    return ""


def _wrong_file(path: Path, most: int | None) -> str:
    try:
        facts = os.stat(path)
        bounded.check_regular(facts)
        if most is not None:
            bounded.check_size(facts.st_size, most)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _wrong_lengths(path: Path) -> str:
    at, size = 0, path.stat().st_size
    with open(path, "rb") as file:
        while at < size:
            head = file.read(LENGTH.size)
            length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else size
            if at + LENGTH.size + length + FOOT > size:
                return "it is cut short or damaged"
            if length > MOST_BYTES + MOST_BESIDE:
                return f"it has a record of {length:,} bytes"
            at += LENGTH.size + length + FOOT
            file.seek(at)
    return ""


def _classes(tfds) -> set[str]:
    """The full names of the features that TFDS has itself."""
    found = [value for value in vars(tfds.features).values() if isinstance(value, type)]
    return {f"{one.__module__}.{one.__name__}" for one in found} | {
        alias for one in found for alias in vars(one).get("ALIASES", ())
    }


def _class_names(content) -> Iterator[str]:
    """Every text that stands for a class somewhere in `features.json`."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from (one[key] for key in CLASS_NAMES if isinstance(one.get(key), str))
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
