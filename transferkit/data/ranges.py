"""Pictures that are a part of a file: `shard.tfrecord#1234+5678:cat/1.jpg` is 5,678 bytes from byte 1,234 on.

What follows the colon is the name that the picture had before it was packed, for people to read; it may be left out.
"""

import re

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
    """The bytes of a picture, of a file or a range.

    Raises:
        OSError: the file cannot be read.
    """
    found = _RANGE.fullmatch(path)
    with open(found[1] if found else path, "rb") as file:
        if not found:
            return file.read()
        file.seek(int(found[2]))
        return file.read(int(found[3]))
