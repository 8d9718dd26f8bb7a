"""Files that anybody may have written, read up to a bound.

A device has no end, a pipe may never say anything, and a sparse or packed file of a few bytes may stand for terabytes.
"""

import hashlib
import json
import os
import stat
import zipfile

MOST_BYTES = 300_000_000  # of a list, or of a file with text or JSON: two million rows, and 6 GB of memory at the worst


def check_regular(facts: os.stat_result, *, pipe: bool = False):
    """Raise `OSError` unless it is a regular file, or a pipe where that will do."""
    if not (stat.S_ISREG(facts.st_mode) or (pipe and stat.S_ISFIFO(facts.st_mode))):
        raise OSError("it is a folder" if stat.S_ISDIR(facts.st_mode) else "it is no file")


def check_size(size: int, most: int):
    """Raise `OSError` if a file is larger than what is read of its kind."""
    if size > most:
        raise OSError(f"it has {size:,} bytes, and {most:,} are the most that is read")


def open_at_once(path: str | os.PathLike) -> int:
    """A descriptor of a file. Opening a pipe to which nobody writes does not wait."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))


def read_bytes(path: str | os.PathLike, most: int = MOST_BYTES) -> bytes:
    """All bytes of a file, or of a pipe that somebody writes to, such as the shell's `<(ls)`.

    Raises:
        OSError: there is none, it is a folder or a device, or it has more bytes than `most`.
    """
    try:
        check_regular(os.stat(path), pipe=True)  # before it is opened: of some devices that alone does something
        with open(open_at_once(path), "rb") as file:
            facts = os.fstat(file.fileno())
            check_regular(facts, pipe=True)
            if stat.S_ISREG(facts.st_mode):
                check_size(facts.st_size, most)
                return file.read(facts.st_size)
            os.set_blocking(file.fileno(), True)
            return read_stream(file, most)
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path} cannot be read: {error}.") from None
        raise


def read_stream(stream, most: int = MOST_BYTES) -> bytes:
    """All bytes of a stream.

    Raises:
        OSError: it has more than `most`.
    """
    pieces, size = [], 0
    while piece := stream.read(1 << 20):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise OSError(f"it has more than {most:,} bytes, which are the most that is read")
    return b"".join(pieces)


def from_json(text: str | bytes):
    """What JSON says.

    Raises:
        ValueError: it is no JSON, or deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def member(archive: zipfile.ZipFile, name: str, most: int = MOST_BYTES) -> bytes:
    """The bytes of a member of a zip archive.

    Raises:
        ValueError: it has more than `most`.
        KeyError: there is none.
    """
    size = archive.getinfo(name).file_size  # no more than this is unpacked, whatever is packed
    if size > most:
        raise ValueError(f"has {size:,} bytes, and {most:,} are the most that is read")
    return archive.read(name)


def digest_member(archive: zipfile.ZipFile, name: str) -> str:
    """The SHA-256 of a member of a zip archive, a piece at a time; `KeyError` if there is none."""
    digest = hashlib.sha256()
    with archive.open(name) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def check_unpacked(path: str | os.PathLike, times: int, more: int = 0):
    """Raise `ValueError` if a zip archive unpacks to more than so many times its size and `more` bytes."""
    with zipfile.ZipFile(path) as archive:
        size = sum(one.file_size for one in archive.infolist())
    if size > times * os.path.getsize(path) + more:
        raise ValueError(f"it unpacks to {size:,} bytes, out of proportion to its own length")
