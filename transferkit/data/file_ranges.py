"""Pictures that are a part of a file: `shard.tfrecord#1234+5678:cat/1.jpg` is 5,678 bytes from byte 1,234 on.

What follows the colon is the name that the picture had before it was packed, for people to read; it may be left out.
"""

import os
import re
import stat

MOST_BYTES = 200_000_000  # of a picture's file
_RANGE = re.compile(r"(?s)(.*?\.tfrecord)#(\d+)\+(\d+)(?::(.*))?")


def spell(shard: str, offset: int, length: int, name: str) -> str:
    """The path of a range."""
    return f"{shard}#{offset}+{length}:{name}"


def is_range(path: str) -> bool:
    return _RANGE.fullmatch(path) is not None


def file_of(path: str) -> str:
    """The file that holds a picture: the shard of a range, else the path itself."""
    found = _RANGE.fullmatch(path)
    return found[1] if found else path


def name_of(path: str) -> str:
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
    _check_regular(os.stat(file))  # before it is opened: of some devices that alone does something
    number = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(number, "rb") as opened:
        facts = os.fstat(number)
        _check_regular(facts)
        size = int(found[3]) if found else facts.st_size
        if size > MOST_BYTES:
            raise OSError(f"it has {size:,} bytes, and {MOST_BYTES:,} are the most that is read")
        opened.seek(int(found[2]) if found else 0)
        return opened.read(size)  # of no size, as in /proc, nothing: they might be read without end


def _check_regular(facts: os.stat_result):
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("it is a folder" if stat.S_ISDIR(facts.st_mode) else "it is no file")
