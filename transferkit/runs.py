"""A run folder: what a job leaves behind, written so that a crash never leaves half a file."""

import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from transferkit import models, recipe
from transferkit.atomic import read, write
from transferkit.data.listing import Splits, read_splits, split_rows
from transferkit.data.sources import resolve
from transferkit.evaluation import plots, predict, verification
from transferkit.network import Network

PACKAGES = ("transferkit", "tensorflow", "keras", "numpy", "scikit-learn", "pillow", "jax")
LOCK = ".lock"
TEMPORARY = "temporary-"  # how the folders of `temporary` begin


@dataclass(frozen=True)
class Run:
    """A finished or unfinished job. Its parts are read when first asked for."""

    folder: Path

    @cached_property
    def network(self) -> Network:
        return models.load_file(self.folder / "model.keras")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(read(self.folder / "classes.txt").removesuffix("\n").split("\n"))

    @cached_property
    def recipe(self) -> recipe.Recipe:
        return recipe.load(self.folder / "recipe.toml")

    @cached_property
    def splits(self) -> Splits:
        return read_splits(self.folder / "split.csv", self.classes)

    @property
    def learned(self) -> set[str]:
        """The pictures that the saved network was trained on: those held out too, where it was trained on all."""
        refit = (self.folder / "metrics.json").exists() and self.metrics.get("refit")
        parts = (self.splits.train, self.splits.val) if refit else (self.splits.train,)
        return {path for part in parts for path in part.paths}

    @cached_property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of the pictures that were left out."""
        path = self.folder / "unreadable.csv"
        return tuple((row["path"], row["reason"]) for row in read(path)) if path.exists() else ()

    @cached_property
    def metrics(self) -> dict:
        return read(self.folder / "metrics.json")

    @cached_property
    def history(self) -> list[dict]:
        """A row for each epoch, and one for the regression that the head started from: its numbers, its `phase`."""
        rows = read(self.folder / "history.csv")
        return [{name: text if name == "phase" else float(text) for name, text in row.items() if text} for row in rows]

    def predict(self, paths, *, top: int = 5) -> list[dict]:
        """Classify pictures; see `transferkit.evaluation.predict.predict`."""
        return predict.predict(self.network, paths, top=top)

    def evaluate(self, data: str | os.PathLike) -> dict:
        """Figures on the test (else val, else all) pictures of any source of `--data`; see `metrics.report`."""
        wanted = recipe.Data(data=os.fspath(data))
        return predict.evaluate(self.network, resolve.find_labelled(wanted, self.network.classes)[0])[0]


def load_run(folder: str | os.PathLike) -> Run:
    """Open a run folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no run folder {folder}.")
    if not (folder / "recipe.toml").is_file():
        raise ValueError(f"{folder} is no run folder: it holds no recipe.toml.")
    return Run(folder)


def new_folder(out: str | os.PathLike | None, *, overwrite: bool, name: str) -> Path:
    """Make the folder of a new run: `out`, but for a lock empty, or `<name>-<n>` with the first free n.

    Raises:
        ValueError: `out` is taken, and may not be overwritten or is no run, or another process trains in it.
    """
    if out is None:
        for n in range(1, 10_000):
            folder = Path(f"{name}-{n}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                continue
    check_free(out, overwrite=overwrite)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        check_free(out, overwrite=overwrite)  # another process may have been quicker
        _empty(folder)
    return folder


def _empty(folder: Path):
    """Delete all of a run that this process holds, but for the lock."""
    for entry in (*(entry for entry in folder.iterdir() if entry.name != "checkpoints"), *folder.glob("checkpoints/*")):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The run folder is this process's alone, until it ends in whatever way. What a killed one left half done goes.

    Raises:
        ValueError: another process trains in it.
    """
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    try:
        with FileLock(checkpoints / LOCK, timeout=0):
            for partial in (*folder.glob(".[0-9]*.*"), *checkpoints.glob(".[0-9]*.*")):
                partial.unlink()
            for place in checkpoints.glob(f"{TEMPORARY}*"):
                shutil.rmtree(place)
            yield
    except Timeout:
        raise ValueError(f"Another process trains in {folder}: wait until it ends, or give another --out.") from None


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """A folder in a run's `checkpoints`, for files that this process needs for a while."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder / "checkpoints") as place:
        yield Path(place)


def check_free(out: str | os.PathLike | None, *, overwrite: bool, base: str | os.PathLike = ""):
    """Raise `ValueError` if a run may not be written to `out`: it is taken, or to be overwritten but no run, or the
    run's own base; or if none can be written at all, for the clock."""
    if (year := time.localtime().tm_year) < 1980:
        raise ValueError(f"The clock says {year}, and a model.keras cannot be dated before 1980: set the clock first.")
    folder = Path("runs/new" if out is None else out)
    if out is None or not folder.exists() or _is_bare(folder):
        return _check_writable(folder)
    if not overwrite and (folder / "split.csv").is_file() and not (folder / "metrics.json").is_file():
        raise ValueError(
            f"{folder} exists and is not finished: --resume {folder} goes on with it; for a new run give another "
            "--out, or --overwrite to replace it."
        )
    if not overwrite:
        raise ValueError(f"{folder} exists: give another --out, or --overwrite to replace it.")
    if not (folder / "recipe.toml").is_file():
        raise ValueError(f"{folder} is not replaced: it is no run folder, for it holds no recipe.toml.")
    if folder.resolve() in (Path(base).resolve(), Path(base).resolve().parent):
        raise ValueError(f"{folder} is not replaced: the new run starts from it. Give another --out.")


def _is_bare(folder: Path) -> bool:
    """Whether a folder is empty, or holds only what `held` makes: on a full disk, a run gets no further."""
    ours = (folder / "checkpoints", folder / "checkpoints" / LOCK)
    return folder.is_dir() and all(path in ours for path in folder.rglob("*"))


def _check_writable(folder: Path):
    """Raise `OSError` if the folder cannot be made: now, not after the pictures are read."""
    with suppress(FileNotFoundError):
        folder.stat()  # its name is too long, or a part of it is a file
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=there))
    except OSError as error:
        raise PermissionError(
            f"The run folder {folder} cannot be made in {there} ({error.strerror}): give another --out."
        ) from None


def slug(text: str) -> str:
    """A short name for a folder: `my.keras` becomes `my`."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", Path(text).stem or Path(text).name).strip("-.")[:60] or "data"


def begin(folder: Path, job: recipe.Recipe, splits: Splits, unreadable, device: str):
    """Write what is known before training: enough to start the job again."""
    write(folder / "recipe.toml", recipe.dumps(job))
    write(folder / "classes.txt", "".join(f"{name}\n" for name in splits.train.classes))
    write(folder / "split.csv", split_rows(splits))
    write_unreadable(folder, dict(unreadable))
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if _installed(name)}
    environment = {"python": platform.python_version(), "platform": platform.platform(), "device": device}
    write(folder / "environment.json", environment | versions)


def write_unreadable(folder: Path, lost: dict[str, str]):
    """`unreadable.csv`, of `{path: reason}`; none where there are none."""
    if lost:
        write(folder / "unreadable.csv", [{"path": path, "reason": reason} for path, reason in lost.items()])


def finish(folder: Path, network: Network, history: list[dict], figures: dict, answers: list[dict], own: list[dict]):
    """Write what training found. `metrics.json` comes last: a run that has it is complete.

    Args:
        own: some answers of this very network, which its file must give too.

    Raises:
        ValueError: what was saved is not what was measured; it is deleted, and checkpoints stay.
    """
    models.save(network, folder / "model.keras")
    try:
        verification.check_saved(folder / "model.keras", network, own)
    except ValueError:
        (folder / "model.keras").unlink()
        raise
    write(folder / "predictions.csv", answers)
    if figures["confusion"]:
        write(folder / "confusion.png", lambda path: plots.confusion(figures["confusion"], network.classes, path))
    if history:
        write(folder / "curves.png", lambda path: plots.curves(history, path))
    write(folder / "metrics.json", figures)


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False
