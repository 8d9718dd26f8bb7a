"""Files written whole or not at all, and read back; file names in them may be of any bytes."""

import csv
import json
import os
from pathlib import Path

from transferkit.lookup import first_line

ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file name need not be UTF-8


def read(path: str | os.PathLike):
    """What `write` wrote: the rows of a `.csv` as dicts, the content of a `.json`, the text of any other file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or a row has other columns than the first line names.
    """
    kind = Path(path).suffix
    with open(path, newline="" if kind == ".csv" else None, **ENCODING) as file:
        if kind == ".csv":
            return _rows(file, path)
        return json.load(file) if kind == ".json" else file.read()


def _rows(file, path) -> list[dict[str, str]]:
    rows = csv.DictReader(file)
    try:
        found = [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}.") from None
    for line, row in found:
        if None in row or None in row.values():
            raise ValueError(f"{path}, line {line}: expected {len(rows.fieldnames)} columns.")
    return [row for _, row in found]


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
    except Exception as error:  # h5py, safetensors and Keras each word a full disk in a type of their own
        reason = getattr(error, "strerror", None) or first_line(error)
        raise OSError(f"{path} could not be written: {reason}.") from error
    finally:
        partial.unlink(missing_ok=True)
