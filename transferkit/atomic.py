"""Write files and folders whole or not at all, and read them; file names in them may contain any bytes."""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transferkit import untrusted_files
from transferkit.lookup import count_noun, first_line

ENCODING, ERRORS = "utf-8", "surrogateescape"  # a file name may not be UTF-8
DISK_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))  # a disk, a quota, a limit on one file


def read(path: str | os.PathLike, max_bytes: int = untrusted_files.MOST_BYTES):
    """Read a file that `write` wrote: the rows of a `.csv` as dicts, the content of a `.json`, or else the text.

    Args:
        max_bytes: maximum size of the file.

    Raises:
        OSError: the file cannot be read, or is larger.
        ValueError: it is not JSON, or a row has more or fewer columns than the first line.
    """
    suffix, data = Path(path).suffix, untrusted_files.read_bytes(path, max_bytes)
    if suffix == ".json":
        return untrusted_files.from_json(data.decode(ENCODING, ERRORS))
    newline = "" if suffix == ".csv" else None
    with io.TextIOWrapper(io.BytesIO(data), ENCODING, ERRORS, newline) as file:
        return _read_rows(file, path) if suffix == ".csv" else file.read()


def _read_rows(file, path) -> list[dict[str, str]]:
    lines, rows = csv.reader(file), []
    try:
        names = next(lines, [])
        for cells in filter(None, lines):
            if len(cells) != len(names):  # before the dicts: each would get a cell for every name
                raise ValueError(f"{path}, line {lines.line_num}: expected {count_noun(len(names), 'column')}.")
            rows.append(dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.line_num}: {error}.") from None
    return rows


def utf8_text(path: str) -> str:
    """A path as valid UTF-8, for files that hold nothing else: other bytes are escaped, as `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write(path: str | os.PathLike, content):
    """Write a file under a temporary name, flush it to the disk, and rename it.

    Args:
        content: text; rows of a `.csv` (a list of dicts); a function that writes to a given path, which ends with the
            name of the file; anything else is written as JSON.

    Raises:
        OSError: the file could not be written, because the disk is full for example; an existing file is kept.

    Example:
        >>> write("rows.csv", [{"path": "tabby.jpg", "label": "cat"}])
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if callable(content):
            content(partial)
        elif path.suffix == ".csv":
            with open(partial, "w", encoding=ENCODING, errors=ERRORS, newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(name for row in content for name in row)))
                writer.writeheader()
                writer.writerows(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)
            partial.write_text(text, ENCODING, ERRORS)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (AttributeError, NameError, TypeError):  # a bug, not a disk that callers may do without
        raise
    except Exception as error:
        raise _write_error(path, error) from error
    finally:
        with suppress(OSError):  # the folder is gone or read-only
            partial.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Create a folder under a temporary folder and rename it at the end; after an error it is deleted.

    Raises:
        FileExistsError: another process has written the folder meanwhile; its files are kept.
        OSError: the folder could not be written.
    """
    partial = folder.with_name(f".{os.getpid()}.{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            raise _write_error(folder, error) from error
        try:
            yield partial
        except Exception as error:  # most come from what is read, not from the disk
            if disk_full_reason(error):
                raise _write_error(folder, error) from error
            raise
        with suppress(OSError):
            folder.rmdir()  # Windows does not replace an empty folder
        try:
            os.replace(partial, folder)
        except OSError as error:
            if folder.is_dir() and any(folder.iterdir()):
                raise FileExistsError(
                    f"{folder} was written by another process meanwhile: give another name."
                ) from None
            raise _write_error(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def disk_full_reason(error: Exception) -> str:
    """The message of an error about a full disk, as "No space left on device"; "" for any other error.

    It is searched in the text, because h5py, safetensors, Arrow and TensorFlow raise errors of their own types.
    """
    return next((message for message in DISK_FULL if message in str(error)), "")


def _write_error(path: Path, error: Exception) -> OSError:
    if message := disk_full_reason(error):
        return OSError(f"{path} could not be written: {message}; free some space there, or give another path.")
    reason = getattr(error, "strerror", None) or first_line(error)
    advice = "; give another path" if isinstance(error, OSError) else ""
    return OSError(f"{path} could not be written: {reason.rstrip('.')}{advice}.")
