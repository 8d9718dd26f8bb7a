"""Check that TFDS can safely read a prepared folder, which may come from anybody.

TFDS imports the module of any class that `features.json` names, and blocks on pipes; TensorFlow crashes at a record
whose declared length exceeds the memory. So the files are checked before.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from transferkit import untrusted_files
from transferkit.data.file_ranges import MAX_BYTES

METADATA = ("dataset_info.json", "features.json")
MAX_METADATA_BYTES = 10_000_000  # of a file that does not hold records
MAX_OTHER_BYTES = 100_000_000  # of a record, besides its picture
CLASS_NAMES = ("pythonClassName", "python_class_name", "type")  # keys of features.json, in its two forms
LENGTH = struct.Struct("<Q4x")  # length of a record and its checksum
FOOTER_SIZE = 4  # bytes after a record: its checksum


def find_bad_metadata(folder: Path, tfds) -> str:
    """What is wrong with the metadata files of a prepared folder, in a few words; "" if nothing is."""
    for entry in sorted(folder.iterdir()):
        is_metadata = "-of-" not in entry.name
        if not entry.is_dir() and (reason := _check_file(entry, MAX_METADATA_BYTES if is_metadata else None)):
            return f"{entry.name}: {reason}"
    for name in METADATA:
        try:
            content = untrusted_files.from_json(untrusted_files.read_bytes(folder / name))
        except (OSError, ValueError):
            return f"its {name} is missing or damaged"
    known = _tfds_features(tfds)
    foreign = next((name for name in _find_class_names(content) if name not in known), None)
    return f"its features.json names the class {foreign!r}, which is not one of TFDS's features" if foreign else ""


def find_bad_records(builder, splits: list[str]) -> str:
    """What is wrong with the records of some splits of a builder, in a few words; "" if nothing is."""
    form = builder.info.file_format
    if form is None or form.value != "tfrecord":
        return f"its format is {form and form.value}, expected tfrecord"
    for split in splits:
        for path in map(Path, builder.info.splits[split].filepaths):
            if path.parent != Path(builder.data_dir):
                return f"its records of {split} are in another folder"
            if reason := _check_file(path, None) or _check_lengths(path):
                return f"{path.name}: {reason}"
    return ""


def _check_file(path: Path, max_size: int | None) -> str:
    try:
        status = os.stat(path)
        untrusted_files.check_regular(status)
        if max_size is not None:
            untrusted_files.check_size(status.st_size, max_size)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _check_lengths(path: Path) -> str:
    position, size = 0, path.stat().st_size
    with open(path, "rb") as file:
        while position < size:
            head = file.read(LENGTH.size)
            length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else size
            if position + LENGTH.size + length + FOOTER_SIZE > size:
                return "it is cut short or damaged"
            if length > MAX_BYTES + MAX_OTHER_BYTES:
                return f"it has a record of {length:,} bytes"
            position += LENGTH.size + length + FOOTER_SIZE
            file.seek(position)
    return ""


def _tfds_features(tfds) -> set[str]:
    """The full names of the feature classes of TFDS itself."""
    found = [value for value in vars(tfds.features).values() if isinstance(value, type)]
    return {f"{one.__module__}.{one.__name__}" for one in found} | {
        alias for one in found for alias in vars(one).get("ALIASES", ())
    }


def _find_class_names(content) -> Iterator[str]:
    """Every text that stands for a class somewhere in `features.json`."""
    stack = [content]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield from (value[key] for key in CLASS_NAMES if isinstance(value.get(key), str))
        stack += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
