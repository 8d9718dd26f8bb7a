"""Weight files on this machine: where they are, and whether they have the digest of the catalogue."""

import hashlib
import os
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from transferkit.cache_folder import cache_folder
from transferkit.weights.catalogue import WeightSet

NAMES = {"sha256": "SHA-256", "md5": "MD5"}


def find_weights(weight_set: WeightSet) -> Path | None:
    """Find the file of a weight set in the cache folder or in an installed package, without importing the package."""
    cached = weights_folder(weight_set) / weight_set.file
    if os.path.isfile(cached):  # `Path.is_file` raises if the folder may not be read
        return cached
    if not weight_set.package or not weight_set.path:
        return None
    spec = find_spec(weight_set.package)
    for root in (spec and spec.submodule_search_locations) or ():
        carried = Path(root) / weight_set.path
        if carried.is_file():
            return carried
    return None


def weights_folder(weight_set: WeightSet) -> Path:
    return cache_folder() / "weights" / f"{weight_set.network}.{weight_set.tag}"


def verify_weights(weight_set: WeightSet) -> tuple[str, Path | None]:
    """Compute the digest of a weight set's file, and compare it with the expected one.

    Returns:
        "right", "wrong" or "absent", and the path; "unknown" if neither the catalogue nor the stamp of the download
        states a digest.
    """
    path, stamped = find_weights(weight_set), _read_stamp(weight_set)[:1]
    if path is None:
        return "absent", None
    expected = expected_digest(weight_set) or "".join(stamped)
    if not expected:
        return "unknown", path
    return ("right" if compute_digest(path, digest_kind(weight_set)).startswith(expected) else "wrong"), path


def check_digest(path: Path, weight_set: WeightSet):
    """Check the digest of a file, unless its stamp shows that it has been checked already."""
    expected, kind = expected_digest(weight_set), digest_kind(weight_set)
    about = path.stat()
    facts = [str(fact) for fact in (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)]
    words = _read_stamp(weight_set)
    if words[1:] == facts and words[0].startswith(expected) and _is_fresh(_stamp_path(weight_set)):
        return
    found = compute_digest(path, kind)
    if not found.startswith(expected):
        raise ValueError(
            f"{path} has {NAMES[kind]} {found}, expected {expected}: put the right file there, or remove this one."
        )
    with suppress(OSError):  # a read-only cache: the file is checked every time
        stamp = _stamp_path(weight_set)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(" ".join([found, *facts]), "utf-8")


def _stamp_path(weight_set: WeightSet) -> Path:
    return weights_folder(weight_set) / f"{weight_set.file}.verified"


def _read_stamp(weight_set: WeightSet) -> list[str]:
    """Digest, size, change times and inode of a file at the time of its check."""
    return read_text(_stamp_path(weight_set)).split()


def _is_fresh(stamp: Path) -> bool:
    """Whether a stamp is at most a day from now, in either direction, as the clock may have been set back."""
    return abs(time.time() - stamp.stat().st_mtime) < 86_400


def read_text(path: Path) -> str:
    """The content of a small text file; "" if it is missing or damaged."""
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""


def digest_kind(weight_set: WeightSet) -> str:
    return "md5" if weight_set.md5 else "sha256"


def expected_digest(weight_set: WeightSet) -> str:
    """The digest or its beginning; "" if the catalogue does not state it."""
    return weight_set.md5 or weight_set.sha256 or ""


def compute_digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()
