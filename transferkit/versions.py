"""Files that a newer transferkit wrote: read if that is possible, else refused in a sentence that names both versions.

Every file that we read again states the version that wrote it, under the key `VERSION`, and most state a `format`, a
number that is raised when an earlier version would misread it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from transferkit import __version__, untrusted_files

VERSION = "transferkit"  # the key
RUN_FORMAT = 1  # of a run folder; raised when earlier versions would misread one of its files
RUN_STAMP = {VERSION: __version__, "format": RUN_FORMAT}  # in its environment.json
SPELLING = re.compile(r"(\d{1,6}(?:\.\d{1,6}){0,3})[\w.+-]{0,30}")


class NewerVersionError(ValueError):
    """A newer transferkit wrote the file, and this one cannot read it."""


@contextmanager
def reading(path: str | PathLike, content, known_format: int = 1) -> Iterator[None]:
    """Read the content of a file in this context, which explains why that fails if a newer version wrote it.

    Args:
        path: of the file, for the message.
        content: of the file or of its note: a dict with `transferkit` and `format`, where it has them.
        known_format: the newest format that this version reads; one ends with its number, as "transferkit shards 1".

    Raises:
        NewerVersionError: the format is newer, or anything was raised and the version is newer.

    Example:
        >>> with reading("a.json", {"transferkit": "99.0", "format": 2}):
        ...     pass
        Traceback (most recent call last):
        transferkit.versions.NewerVersionError: a.json was written by transferkit 99.0, ...
    """
    facts = content if isinstance(content, dict) else {}
    version, number = facts.get(VERSION), re.search(r"\d{1,9}$", str(facts.get("format", "")))
    if number and int(number[0]) > known_format:
        raise _error(path, version)
    try:
        yield
    except Exception as error:
        if is_newer(version):
            raise _error(path, version) from error
        raise


def check_run(folder: Path):
    """Raise `NewerVersionError` if a newer version wrote a run folder in a form that is not known here."""
    content = None
    with suppress(OSError, ValueError):  # missing or damaged: no other file needs it
        content = untrusted_files.from_json(untrusted_files.read_bytes(folder / "environment.json", 100_000))
    with reading(folder, content, RUN_FORMAT):
        pass


def refuse_newer(path: str | PathLike, version):
    """Raise `NewerVersionError` if a newer version wrote the file, whatever is in it."""
    if is_newer(version):
        raise _error(path, version)


def is_newer(version) -> bool:
    """Whether a version, as a file states it, is newer than this one; False for what is no version.

    Example:
        >>> is_newer("99.0"), is_newer("0.0.9"), is_newer(None)
        (True, False, False)
    """
    return isinstance(version, str) and _numbers(version) > _numbers(__version__)


def _numbers(version: str) -> list[int]:
    match = SPELLING.fullmatch(version)
    return [int(number) for number in match[1].split(".")] if match else []


def _error(path, version) -> NewerVersionError:
    known = isinstance(version, str) and SPELLING.fullmatch(version)
    writer, wanted = (
        (f"transferkit {version}", f"{version} or later") if known else ("a newer transferkit", "a later one")
    )
    return NewerVersionError(
        f"{path} was written by {writer}, and this is transferkit {__version__}, which cannot read it: "
        f"install {wanted} (pip install --upgrade transferkit)."
    )
