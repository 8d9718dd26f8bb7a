"""Files written whole or not at all."""

import csv
import json
import os
from pathlib import Path


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
            with open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(name for row in content for name in row)))
                writer.writeheader()
                writer.writerows(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)
            partial.write_text(text, "utf-8", errors="surrogateescape")
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (AttributeError, NameError, TypeError):  # a fault in what is written; who goes on without a disk must see it
        raise
    except Exception as error:  # h5py, safetensors and Keras each word a full disk in a type of their own
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise OSError(f"{path} could not be written: {reason}.") from error
    finally:
        partial.unlink(missing_ok=True)
