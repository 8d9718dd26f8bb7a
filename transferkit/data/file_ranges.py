"""Pictures that are a part of a file: `shard.tfrecord#1234+5678:cat/1.jpg` is 5,678 bytes from byte 1,234 on.

What follows the colon is the name that the picture had before it was packed, for people to read; it may be left out.
"""

import os
import re

from transferkit.bounded import check_regular, check_size, open_at_once

MOST_BYTES = 200_000_000  # of a picture's file
SUFFIX = ".tfrecord"
_RANGE = re.compile(rf"(?s)(.*?{re.escape(SUFFIX)})#(\d+)\+(\d+)(?::(.*))?")


def range_path(shard: str, offset: int, length: int, name: str) -> str:
    """The path of a range."""
    return f"{shard}#{offset}+{length}:{name}"


def is_range(path: str) -> bool:
    return _RANGE.fullmatch(path) is not None


def is_shard(name: str) -> bool:
    """Whether a range of a file of this name can be spelled: one of two suffixes would be cut at the first."""
    return name.endswith(SUFFIX) and name.count(SUFFIX) == 1


def container_file(path: str) -> str:
    """The file that holds a picture: the shard of a range, else the path itself."""
    found = _RANGE.fullmatch(path)
    return found[1] if found else path


def original_name(path: str) -> str:
    """The name a picture had before it was packed; the path itself of one that is a file, or has none."""
    found = _RANGE.fullmatch(path)
    return found[4] if found and found[4] else path


def read_bytes(path: str) -> bytes:
    """The bytes of a picture, of a file or a range. Everything that reads a picture reads it here.

    Raises:
        OSError: it cannot be read, is no regular file, for a pipe or a device may never end, or has more than
            `MOST_BYTES`.
    """
    found = _RANGE.fullmatch(path)
    file = found[1] if found else path
    check_regular(os.stat(file))  # before it is opened: of some devices that alone does something
    with open(open_at_once(file), "rb") as opened:
        facts = os.fstat(opened.fileno())
        check_regular(facts)
        size = int(found[3]) if found else facts.st_size
        check_size(size, MOST_BYTES)
        opened.seek(int(found[2]) if found else 0)
        return opened.read(size)  # of no size, as in /proc, nothing: they might be read without end
