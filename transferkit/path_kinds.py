"""What is at a path, told by names alone: a run, a picture, a folder of pictures. Nothing is opened or imported."""

import os
from collections.abc import Iterator
from pathlib import Path

from transferkit.lookup import find_nearest

# by suffix; formats.SUFFIXES, which a test compares, has the pictures too, and needs Pillow
PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif",
    ".tiff", ".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm",
    ".pnm", ".pfm", ".heic", ".heif", ".hif",
)  # fmt: skip
SUFFIXES = {
    "picture": PICTURES,
    "list": (".csv", ".tsv"),
    "model": (".keras", ".h5", ".hdf5"),
    "weights": (".pth", ".pt", ".safetensors"),
    "pipeline": (".skops",),
    "features": (".npz",),
    "recipe": (".toml",),
}
MARKS = {  # files that tell what a folder is
    "recipe.toml": "run",
    "model.keras": "run",
    "fold-1": "run",
    "saved_model.pb": "model",
    "features.json": "features",
    "shards.json": "pictures",
}
MOST_ENTRIES = 2_000  # of a folder and the folders in it that are looked at


def find_kind(path: str | os.PathLike) -> str:
    """The kind of what is at a path.

    Returns:
        "run", "runs" (a folder of runs), "pictures" (a folder), a key of `SUFFIXES`, or "" if nothing is there, or
        nothing that is known.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            suffix = path.suffix.lower() if path.is_file() else ""
            return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), "")
        marks = [kind for name, kind in MARKS.items() if (path / name).exists()]
        if marks or _holds_only_runs(path):
            return marks[0] if marks else "runs"
        return "pictures" if any(name.lower().endswith(PICTURES) for name in _walk_names(path)) else ""
    except (OSError, ValueError):  # not permitted; a name that no file can have
        return ""


def find_runs(folder: str | os.PathLike, most: int = 3) -> list[str]:
    """The runs in a folder, the newest first; [] if there is no such folder."""
    try:
        recipes = [path / "recipe.toml" for path in _list_folders(folder)]
        dated = [(path.stat().st_mtime, str(path.parent)) for path in recipes if path.is_file()]
    except (OSError, ValueError):
        return []
    return [path for _, path in sorted(dated, reverse=True)][:most]


def _list_folders(folder: str | os.PathLike) -> list[Path]:
    with os.scandir(os.fspath(folder)) as entries:
        return [Path(entry.path) for entry, _ in zip(entries, range(MOST_ENTRIES), strict=False) if entry.is_dir()]


def suggest_path(path: str) -> str:
    """ " Did you mean 'pets/cat'?" for a path that does not exist: what is most like its first part that does not."""
    wanted = Path(path)
    for folder in wanted.parents:
        if folder.is_dir():
            missing, *rest = wanted.relative_to(folder).parts
            near = [folder.joinpath(name, *rest) for name in find_nearest(_list_names(folder), missing, 1)]
            return "".join(f" Did you mean {str(found)!r}?" for found in near if found.exists())
    return ""


def _list_names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _holds_only_runs(folder: Path) -> bool:
    runs = find_runs(folder, MOST_ENTRIES)
    return bool(runs) and len(runs) == len(_list_folders(folder))


def _walk_names(folder: Path) -> Iterator[str]:
    """The names of files below a folder, of the first `MOST_ENTRIES` entries, the upper ones first."""
    folders, count = [os.fspath(folder)], 0
    while folders and count < MOST_ENTRIES:
        with os.scandir(folders.pop(0)) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    yield entry.name
                if count >= MOST_ENTRIES:
                    return
