"""The folder of a run: made, checked before anything is read, and locked while a process trains in it."""

import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transferkit.lookup import as_text

LOCK = ".lock"
TEMPORARY = "temporary-"  # prefix of the folders of `temporary_folder`


def slug(text: str) -> str:
    """A short name for a folder: `my.keras` becomes `my`."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", Path(text).stem or Path(text).name).strip("-.")[:60] or "data"


def _make_numbered_folder(name: str) -> Path:
    for n in itertools.count(1):
        folder = Path(f"{name}-{n}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def make_run_folder(out: str | os.PathLike | None, *, overwrite: bool, name: str) -> Path:
    """Make the folder of a new run: `out`, empty except for a lock, or `<name>-<n>` with the first free n.

    Raises:
        ValueError: `out` exists and may not be replaced, is not a run, or another process trains in it.
    """
    if out is None:
        return _make_numbered_folder(name)
    check_output(out, overwrite=overwrite)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_run(folder):
        check_output(out, overwrite=overwrite)  # another process may have been quicker
        _empty(folder)
    return folder


def check_output(out: str | os.PathLike | None, *, overwrite: bool, base: str | os.PathLike = ""):
    """Raise `ValueError` if a run may not be written to `out`: it exists, or is to be replaced but is not a run, or is
    the run's own base; or if no run can be written, because of the clock."""
    if (year := time.localtime().tm_year) < 1980:
        raise ValueError(f"The clock says {year}, and a model.keras cannot be dated before 1980: set the clock first.")
    folder = Path("runs/new" if out is None else as_text(out, "out"))
    if out is None or not folder.exists() or _is_bare(folder):
        return _check_writable(folder)
    if not overwrite and (folder / "split.csv").is_file() and not (folder / "metrics.json").is_file():
        raise ValueError(
            f"{folder} exists and is not finished: --resume {folder} continues it; for a new run give another --out, "
            "or --overwrite to replace it."
        )
    if not overwrite:
        raise ValueError(f"{folder} exists: give another --out, or --overwrite to replace it.")
    if not (folder / "recipe.toml").is_file():
        raise ValueError(f"{folder} is not replaced: it is not a run folder, as it holds no recipe.toml.")
    if folder.resolve() in (Path(base).resolve(), Path(base).resolve().parent):
        raise ValueError(f"{folder} is not replaced: it is the base of the new run. Give another --out.")


def _is_bare(folder: Path) -> bool:
    """Whether a folder is empty, or holds only what `lock_run` makes: on a full disk, a run gets no further."""
    ours = (folder / "checkpoints", folder / "checkpoints" / LOCK)
    return folder.is_dir() and all(path in ours for path in folder.rglob("*"))


def _check_writable(folder: Path):
    """Raise `OSError` if the folder cannot be made: now, not after the pictures are read."""
    with suppress(FileNotFoundError):
        folder.stat()  # raises if its name is too long, or a parent is a file
    parent = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=parent))
    except OSError as error:
        raise PermissionError(
            f"The run folder {folder} cannot be made in {parent} ({error.strerror}): give another --out."
        ) from None


def _empty(folder: Path):
    """Delete everything in a run that this process has locked, except the lock."""
    for entry in (*(entry for entry in folder.iterdir() if entry.name != "checkpoints"), *folder.glob("checkpoints/*")):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Reserve a run folder for this process until it ends, and delete the partial files of a process that was killed.

    Raises:
        ValueError: another process trains in it.
    """
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    try:
        with FileLock(checkpoints / LOCK, timeout=0):
            for partial in (*folder.glob(".[0-9]*.*"), *checkpoints.glob(".[0-9]*.*")):
                partial.unlink()
            for temporary in checkpoints.glob(f"{TEMPORARY}*"):
                shutil.rmtree(temporary)
            yield
    except Timeout:
        raise ValueError(f"Another process trains in {folder}: wait until it ends, or give another --out.") from None


@contextmanager
def temporary_folder(run: Path) -> Iterator[Path]:
    """A folder in a run's `checkpoints` that exists in this context."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=run / "checkpoints") as folder:
        yield Path(folder)
