"""The folder of `--out` for the files of a result: new, or one of the same kind that is replaced."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check(out: str | None, mark: str, *, overwrite: bool):
    """Raise `ValueError` if a result may not be written to `out`, before anything is computed.

    Args:
        mark: a file that each such folder has, and no run.
    """
    folder = Path(out or ".")
    if not out or not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise ValueError(f"{out} exists: give another --out, or --overwrite to replace it.")
    if not (folder / mark).is_file() or (folder / "recipe.toml").exists():
        raise ValueError(f"{out} is not replaced, as this command did not write it: give another --out.")


@contextmanager
def create(out: str, mark: str, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write to, which becomes `out` at the end; after an error, what was there stays."""
    from transferkit import atomic

    with atomic.new_folder(Path(out)) as partial:
        yield partial
        check(out, mark, overwrite=overwrite)  # another process may have been quicker
        shutil.rmtree(out, ignore_errors=True)
