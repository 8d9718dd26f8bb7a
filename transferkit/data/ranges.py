"""Pictures that are a part of a file: `shard.tfrecord#1234+5678` is 5,678 bytes from byte 1,234 on."""

import re

_RANGE = re.compile(r"(?s)(.*\.tfrecord)#(\d+)\+(\d+)")


def spell(shard: str, offset: int, length: int) -> str:
    """The path of a range."""
    return f"{shard}#{offset}+{length}"


def is_range(path: str) -> bool:
    return _RANGE.fullmatch(path) is not None


def file_of(path: str) -> str:
    """The file that holds a picture: the shard of a range, else the path itself."""
    found = _RANGE.fullmatch(path)
    return found[1] if found else path


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
