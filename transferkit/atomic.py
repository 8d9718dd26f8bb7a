"""Files and folders written whole or not at all, and read back; file names in them may be of any bytes."""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transferkit import bounded

ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file name need not be UTF-8
FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))  # a disk, a quota, a limit on one file


def read(path: str | os.PathLike, most: int = bounded.MOST_BYTES):
    """What `write` wrote: the rows of a `.csv` as dicts, the content of a `.json`, the text of any other file.

    Args:
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, or is larger.
        ValueError: it is no JSON, or a row has other columns than the first line names.
    """
    kind, data = Path(path).suffix, bounded.read_bytes(path, most)
    if kind == ".json":
        return bounded.from_json(data.decode(**ENCODING))
    with io.TextIOWrapper(io.BytesIO(data), newline="" if kind == ".csv" else None, **ENCODING) as file:
        return _rows(file, path) if kind == ".csv" else file.read()


def _rows(file, path) -> list[dict[str, str]]:
    lines, rows = csv.reader(file), []
    try:
        names = next(lines, [])
        for cells in filter(None, lines):
            if len(cells) != len(names):  # said at once: each row would get a cell for every name
                raise ValueError(f"{path}, line {lines.line_num}: expected {len(names)} columns.")
            rows.append(dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.line_num}: {error}.") from None
    return rows


def utf8(path: str) -> str:
    """A path as text that is UTF-8, for files that hold nothing else: other bytes in it are spelled out, as `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write(path: str | os.PathLike, content):
    """Write a file under a temporary name, flush it to the disk, and rename it.

    Args:
        content: text; rows of a `.csv` (a list of dicts); a function that writes to the path it is given, which ends
            in the file's own name; anything else is written as JSON.

    Raises:
        OSError: it could not be written, the disk being full perhaps; a file of that name is then as it was.
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if callable(content):
            content(partial)
        elif path.suffix == ".csv":
            with open(partial, "w", newline="", **ENCODING) as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(name for row in content for name in row)))
                writer.writeheader()
                writer.writerows(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)
            partial.write_text(text, **ENCODING)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (AttributeError, NameError, TypeError):  # a fault in what is written; who goes on without a disk must see it
        raise
    except Exception as error:
        raise _unwritten(path, error) from error
    finally:
        with suppress(OSError):  # of a folder that is no longer there, or can only be read
            partial.unlink()


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Write a folder whole or not at all: its files go into a temporary folder, which is renamed at the end.

    Yields:
        The temporary folder. If an error occurs, it is deleted.

    Raises:
        FileExistsError: another process has written the folder meanwhile; its files stay.
        OSError: it could not be written.
    """
    partial = folder.with_name(f".{os.getpid()}.{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            raise _unwritten(folder, error) from error
        try:
            yield partial
        except Exception as error:  # most are of what is read, not of the disk
            if full(error):
                raise _unwritten(folder, error) from error
            raise
        with suppress(OSError):
            folder.rmdir()  # an empty one, which Windows replaces by none
        try:
            os.replace(partial, folder)
        except OSError as error:
            if folder.is_dir() and any(folder.iterdir()):
                raise FileExistsError(
                    f"{folder} was written by another process meanwhile: give another name."
                ) from None
            raise _unwritten(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def full(error: Exception) -> str:
    """What an error says of a disk without room, as "No space left on device"; nothing where it is another error.

    It is looked for in the text, as h5py, safetensors, Arrow and TensorFlow have types of their own for it.
    """
    return next((words for words in FULL if words in str(error)), "")


def _unwritten(path: Path, error: Exception) -> OSError:
    if words := full(error):
        return OSError(f"{path} could not be written: {words}; make room there, or name another place.")
    reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    advice = "; name another place" if isinstance(error, OSError) else ""
    return OSError(f"{path} could not be written: {reason.rstrip('.')}{advice}.")
