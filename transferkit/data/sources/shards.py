"""Pack pictures into TFRecord shards, with an index by which each picture is read in place."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import __version__, atomic, versions
from transferkit.console import track
from transferkit.data import file_ranges
from transferkit.data.grouping import groups_from_pattern
from transferkit.data.listing import Listing, listing_from_names
from transferkit.data.sources.folder_walk import common_folder, relative_path
from transferkit.lookup import count_noun, quote

INDEX = "shards.json"
FORMAT, NUMBER = "transferkit shards 1", 1
HEADER_SIZE, FOOTER_SIZE = 12, 4  # bytes around a TFRecord: its length and two checksums


def pack_shards(parts: dict[str, Listing], out: str | os.PathLike, *, shard_mb: float = 100) -> dict[str, int]:
    """Write listings as TFRecord shards `train-00000-of-00003.tfrecord` and their index, whole or not at all.

    A record is a `tf.train.Example` with `image/encoded` (the unchanged file), `image/class/label`, `image/class/text`
    and `image/filename`. Pictures are shuffled in the shards and in order in the index.

    Args:
        shard_mb: size of a shard in MB (10**6 bytes); a larger picture gets its own shard.

    Returns:
        The number of pictures of each part.

    Raises:
        ValueError: `out` exists and is not empty.
        OSError: a picture cannot be read, or the shards cannot be written.
    """
    out = Path(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not empty: give another --out.")
    with atomic.new_folder(out) as partial:
        columns = {name: _write_part(name, part, partial, shard_mb * 1e6) for name, part in parts.items()}
        sizes = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
        index = {"format": FORMAT, versions.VERSION: __version__, "parts": columns, "sizes": sizes}
        atomic.write(partial / INDEX, json.dumps(index))  # in ASCII, which keeps names of any bytes
    return {name: len(part) for name, part in parts.items()}


def _write_part(name: str, part: Listing, folder: Path, max_size: float) -> dict:
    """Write the shards of a part.

    Returns:
        The columns of the index, with a value for each picture: shard, offset, length, class, name.
    """
    import tensorflow as tf

    order = np.random.default_rng(0).permutation(len(part))
    sizes = np.array(
        [len(file_ranges.read_bytes(p)) if file_ranges.is_range(p) else os.path.getsize(p) for p in part.paths]
    )
    shard_of, filled = np.zeros(len(part), int), 0.0
    for before, row in zip([None, *order[:-1]], order, strict=True):
        new = filled and filled + sizes[row] > max_size
        shard_of[row] = 0 if before is None else shard_of[before] + bool(new)
        filled = sizes[row] + (0 if new else filled)
    count = int(shard_of.max()) + 1
    shards, names = [f"{name}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)], _original_names(part.paths)
    offsets, lengths = np.zeros(len(part), int), np.zeros(len(part), int)
    writer: Any = None
    current, position = None, 0
    for row in track(order, len(part), f"packing {name}"):
        if shard_of[row] != current:
            if writer:
                writer.close()
            current, position = shard_of[row], 0
            writer = tf.io.TFRecordWriter(str(folder / shards[current]))
        data = file_ranges.read_bytes(part.paths[row])
        record = _example(tf, data, part, row, names[row])
        offsets[row], lengths[row] = position + HEADER_SIZE + record.index(data), len(data)
        writer.write(record)
        position += HEADER_SIZE + len(record) + FOOTER_SIZE
    writer.close()
    return {
        "shard": [shards[i] for i in shard_of],
        "offset": offsets.tolist(),
        "length": lengths.tolist(),
        "class": [part.classes[label] for label in part.labels],
        "name": names,
    }


def _original_names(paths) -> list[str]:
    """Names relative to the common folder; of pictures that were packed before, their names in that pack."""
    if any(map(file_ranges.is_range, paths)):
        return [file_ranges.original_name(path) for path in paths]
    root = common_folder(os.path.dirname(path) for path in paths)
    return [relative_path(path, root) for path in paths]


def _example(tf, data: bytes, part: Listing, row: int, name: str) -> bytes:
    def bytes_feature(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image/encoded": bytes_feature(data),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[part.labels[row]])),
        "image/class/text": bytes_feature(os.fsencode(part.classes[part.labels[row]])),
        "image/filename": bytes_feature(os.fsencode(name)),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def list_shard_splits(folder: str | os.PathLike, group_by: str = "") -> dict[str, Listing]:
    """The listings of a folder of shards. Their paths are ranges of the shards; see `file_ranges`.

    Args:
        group_by: a pattern on the original names of the pictures.

    Raises:
        ValueError: the index is damaged, a newer transferkit wrote it, or a shard is missing or of another size.
    """
    folder = Path(folder).absolute()
    try:
        index = atomic.read(folder / INDEX)
        with versions.reading(folder / INDEX, index, NUMBER):
            if index["format"] != FORMAT:
                raise ValueError(f"its format is {index['format']!r}, not {FORMAT!r}")
            sizes, columns = index["sizes"], index["parts"]
            names = [name for name in ("train", "val", "test") if name in columns]
            parts = {name: _listing(folder, columns[name], sizes) for name in names}
    except versions.NewerVersionError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).rstrip(".") if isinstance(error, ValueError) else "it is not an index of transferkit"
        raise ValueError(f"{folder / INDEX} cannot be used ({reason}): pack the pictures again.") from None
    for name, size in sizes.items():
        actual = (folder / name).stat().st_size if (folder / name).is_file() else None
        if actual != size:
            what = "is missing" if actual is None else f"has {count_noun(actual, 'byte')}, not {size:,}"
            raise ValueError(f"{folder / name} {what}: copy the whole folder again, or pack the pictures again.")
    if not group_by:
        return parts
    return {
        name: replace(part, groups=groups_from_pattern(columns[name]["name"], group_by)) for name, part in parts.items()
    }  # fmt: skip


def _listing(folder: Path, columns: dict, sizes: dict[str, int]) -> Listing:
    """The pictures of a part; `ValueError` unless each is in a shard of the folder: an index may come from anybody."""
    _check_columns(columns, sizes)
    ranges = zip(columns["shard"], columns["offset"], columns["length"], columns["name"], strict=True)
    return listing_from_names(
        [file_ranges.range_path(str(folder / shard), *rest) for shard, *rest in ranges], columns["class"]
    )


def _check_columns(columns: dict, sizes: dict[str, int]):
    """Raise `ValueError` at the first invalid value."""
    for shard, size in sizes.items():
        if os.path.basename(shard) != shard or not file_ranges.is_shard(shard) or type(size) is not int:
            raise ValueError(f"it names a shard {quote(shard)} of {quote(str(size))} bytes")
    kinds = {"shard": str, "offset": int, "length": int, "class": str, "name": str}
    for row, values in enumerate(zip(*(columns[name] for name in kinds), strict=True), start=1):
        for (name, kind), value in zip(kinds.items(), values, strict=True):
            if type(value) is not kind:  # True would do for a number
                raise ValueError(f"picture {row:,} has the {name} {quote(str(value))}")
        shard, offset, length = values[:3]
        if offset < 0 or length < 0 or offset + length > sizes.get(shard, -1):
            raise ValueError(f"picture {row:,} is not in its shard {quote(shard)}")
