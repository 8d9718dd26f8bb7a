"""The note in a `.keras` file: what Keras has no place for, as the member `transferkit.json` of the archive.

Plain Python reads it (`docs/models.md`), and nothing here loads Keras.
"""

import json
import math
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transferkit import __version__, untrusted_files, versions
from transferkit.pixels import Pixels

NOTE, FORMAT = "transferkit.json", 1  # the member; increased whenever an earlier version would misread it
WEIGHTS = "model.weights.h5"  # the member with the weights, by Keras
LATER_FIELDS = {
    "minimum": 1,
    "temperature": 1.0,
    "weights_sha256": "",
    versions.VERSION: "",
}  # absent from earlier files
KINDS = {"head": str, "base": str, "minimum": int, "temperature": float, "weights_sha256": str, versions.VERSION: str}
MOST_BYTES = 10_000_000  # nearly all of them the names of classes


def make_note(network, archive: Path) -> dict[str, str]:
    """The note of a `network.Network`, as members for its archive, in which Keras has written the weights.

    Returns:
        {`NOTE`: JSON} with `format`, `transferkit` (the version), `base`, `head`, `classes`, `pixels`, `minimum`,
        `temperature`, and `weights_sha256`, the digest of the member `WEIGHTS`.
    """
    note = {
        "format": FORMAT,
        versions.VERSION: __version__,
        "base": network.base,
        "head": network.head,
        "classes": network.classes,
        "pixels": asdict(network.pixels),
        "minimum": network.minimum,
        "temperature": network.temperature,
        "weights_sha256": _digest_weights(archive),
    }
    return {NOTE: json.dumps(note, ensure_ascii=False, indent=1)}


def read_note(path: Path) -> dict | None:
    """Read the note of a `.keras` file, or None where there is none.

    Returns:
        `base`, `head`, `classes`, `pixels` (a `Pixels`), and `LATER_FIELDS`.

    Raises:
        NewerVersionError: a newer transferkit wrote it, and it cannot be read.
        ValueError: it is damaged.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if NOTE not in archive.namelist():
                return None
            note = untrusted_files.from_json(untrusted_files.member(archive, NOTE, MOST_BYTES))
        with versions.reading(path, note, FORMAT):
            return _check(note)
    except versions.NewerVersionError:
        raise
    except Exception as error:  # zipfile and json raise many types on a damaged file, and Pixels on wrong values
        reason = error if isinstance(error, ValueError) else f"is damaged ({type(error).__name__})"
        raise ValueError(f"{path} cannot be used: its {NOTE} {reason}.") from error


def _check(note: dict) -> dict:
    """The fields that this version knows; raise anything where one is missing or cannot be."""
    if note["format"] != FORMAT:
        raise ValueError(f"has format {note['format']}, expected {FORMAT}")
    pixels: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in note["pixels"].items()
    }
    found = {name: note[name] for name in ("classes", "head", "base")}
    found |= {name: note.get(name, default) for name, default in LATER_FIELDS.items()}
    found |= {"pixels": Pixels(**pixels), "classes": tuple(found["classes"])}
    valid = type(note["classes"]) is list and all(type(found[name]) is kind for name, kind in KINDS.items())
    valid = valid and found["minimum"] >= 1 and 0 < found["temperature"] < math.inf
    if not valid or not all(isinstance(name, str) for name in found["classes"]):
        raise ValueError("has values of wrong types")
    if len(set(found["classes"])) < len(found["classes"]):
        raise ValueError("has a class twice")
    return found


def check_weights(path: Path, digest: str):
    """Raise `ValueError` unless a file's weights have the digest of its note; an earlier version wrote none, ""."""
    if digest and _digest_weights(path) != digest:
        raise ValueError(f"{path} cannot be used: its weights are not those that its {NOTE} was written for.")


def _digest_weights(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return untrusted_files.digest_member(archive, WEIGHTS)
