"""Read pictures that are part of a file: `shard.tfrecord#1234+5678:cat/1.jpg` is 5,678 bytes from byte 1,234 on.

After the colon is the original name of the picture, for people to read; it is optional.
"""

import os
import re

from transferkit.untrusted_files import check_regular, check_size, open_at_once

MAX_BYTES = 200_000_000  # of a picture's file
SUFFIX = ".tfrecord"
_RANGE = re.compile(rf"(?s)(.*?{re.escape(SUFFIX)})#(\d+)\+(\d+)(?::(.*))?")


def range_path(shard: str, offset: int, length: int, name: str) -> str:
    """Make the path of a range."""
    return f"{shard}#{offset}+{length}:{name}"


def is_range(path: str) -> bool:
    return _RANGE.fullmatch(path) is not None


def is_shard(name: str) -> bool:
    """Whether a file of this name can have ranges: a name with the suffix twice would be cut at the first."""
    return name.endswith(SUFFIX) and name.count(SUFFIX) == 1


def container_file(path: str) -> str:
    """The file that holds a picture: the shard of a range, else the path itself."""
    found = _RANGE.fullmatch(path)
    return found[1] if found else path


def original_name(path: str) -> str:
    """The name of a picture before it was packed; the path itself for a file, or a range without a name."""
    found = _RANGE.fullmatch(path)
    return found[4] if found and found[4] else path


def read_bytes(path: str) -> bytes:
    """Read the bytes of a picture, of a file or a range. All pictures are read here, except in training.

    Raises:
        OSError: it cannot be read, is not a regular file (a pipe or a device may never end), or has more than
            `MAX_BYTES`.
    """
    found = _RANGE.fullmatch(path)
    file = found[1] if found else path
    check_regular(os.stat(file))  # before opening it, which has an effect on some devices
    descriptor = open_at_once(file)
    try:
        status = os.fstat(descriptor)
        check_regular(status)
        size = int(found[3]) if found else status.st_size
        check_size(size, MAX_BYTES)
        if found:
            os.lseek(descriptor, int(found[2]), os.SEEK_SET)
        data = os.read(descriptor, size)  # a file without a size, as in /proc, is not read, as it may never end
        while len(data) < size and (rest := os.read(descriptor, size - len(data))):  # network file systems give parts
            data += rest
        return data
    finally:
        os.close(descriptor)
