"""`transferkit extract`: write the features of a listing to a file or folder, part by part."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from transferkit import trust
from transferkit.console import progress_bar, say
from transferkit.data.audit.problems import check_classes
from transferkit.data.listing import Listing
from transferkit.data.sources import resolve
from transferkit.features import feature_files, feature_folder, ray_engine
from transferkit.features.extraction import feature_shape
from transferkit.features.feature_folder import FeatureFolder
from transferkit.features.feature_spec import FeatureSpec
from transferkit.lookup import UnknownName, as_text, count_noun, describe_type, none_can


def extract_to(
    out: str | os.PathLike,
    spec: FeatureSpec,
    listing,
    splits: Sequence[str] = (),
    *,
    share: tuple[int, int] = (1, 1),
    workers: int = 1,
    cache: bool = True,
    overwrite: bool = False,
) -> dict:
    """Extract features into a file or folder; parts that an interrupted call has written are kept.

    Args:
        out: a file `.npz` or `.parquet`, or a folder.
        spec: which features of which network.
        listing: the pictures: a path or name as of `--data` (all its pictures, which need no classes), a list of paths
            (the folder of each is its class), a listing, or `Splits`.
        splits: "train", "val" or "test" for each picture; by default those of the pictures, else all "train".
        share: (i, n), i from 1 to n: write the i-th of n shares of a folder's parts; other machines write the others.
        workers: number of processes. More than one are run by Ray (extra `ray`), on the cluster at `RAY_ADDRESS` if it
            is set: all its machines must see `out` and the pictures under the same paths.
        cache: whether features are read from the cache folder (TRANSFERKIT_HOME) and stored there.
        overwrite: whether to replace what is at `out`.

    Returns:
        `out`, `pictures` with features, `shape` of the features, `reused` from the cache and `computed` by this call,
        `unreadable`, `parts` still missing, and `seconds`.

    Raises:
        UnknownName, FileNotFoundError, ValueError: the network, its weights, a layer or the pictures are not found, or
            `out` exists.
        OSError: the features could not be written; finished parts are kept.

    Example:
        >>> spec = tk.FeatureSpec("resnet34", layer=("stage3", "pooled"))
        >>> tk.extract_to("pets.npz", spec, "pets/")["shape"]
        [768]
    """
    started, out = time.perf_counter(), Path(as_text(out, "out"))
    path = _find_parts_folder(out, share, overwrite)
    listing, splits = _check_arguments(spec, listing, splits)
    with _lock(path, out) if path != out else nullcontext():
        if overwrite:
            feature_folder.remove_folder(path)
        shape = feature_shape(spec, cache=cache)
        folder = _create_folder(path, spec, shape, listing, splits, is_hidden=path != out)
        written, reused = _write_missing_parts(folder, share, workers, cache)
        result = {
            "out": str(out),
            "pictures": written,
            "shape": folder.note["shape"],
            "reused": reused,
            "computed": written - reused,
            "unreadable": None,
            "parts": len(folder.missing_parts()),
        }
        if not result["parts"]:
            result |= _finish(folder, out, listing)
    return result | {"seconds": round(time.perf_counter() - started, 2)}


def _check_arguments(spec, pictures, splits: Sequence[str]) -> tuple[Listing, list[str]]:
    """The listing and the split of each picture; raise `ValueError` if an argument is of a wrong type."""
    if not isinstance(spec, FeatureSpec):
        raise ValueError(f"spec must be a FeatureSpec, as tk.FeatureSpec('resnet34'), not {describe_type(spec)}.")
    listing, found = resolve.as_all_pictures(pictures, "listing")
    if len(splits or found) != len(listing):
        raise ValueError(
            f"There are {count_noun(len(listing), 'picture')} and {len(splits):,} splits: give one split a picture."
        )
    return listing, list(splits or found)


def _find_parts_folder(out: Path, shard: tuple[int, int], overwrite: bool) -> Path:
    """The folder of the parts: `out` itself, or a hidden folder beside a file; raise an error if `out` cannot be."""
    is_file = out.suffix in feature_files.SUFFIXES
    if out.suffix and not is_file and not out.is_dir():
        raise UnknownName(f"{out} must end in {' or '.join(feature_files.SUFFIXES)}, or be a folder without a suffix.")
    if not 1 <= shard[0] <= shard[1]:
        raise UnknownName(f"shard must be i/n with i from 1 to n, not {shard[0]}/{shard[1]}.")
    if is_file and shard[1] > 1:
        raise UnknownName(f"shard {shard[0]}/{shard[1]} writes some parts of a folder: give a folder, not {out}.")
    if overwrite and shard[1] > 1:
        raise UnknownName(f"--overwrite would delete what the other shards have written: delete {out} by hand.")
    if is_file and out.exists() and not overwrite:
        raise ValueError(f"{out} exists: give another --out, or --overwrite to replace it.")
    return out.with_name(f".{out.name}.parts") if is_file else out


def _create_folder(path: Path, *content, is_hidden: bool) -> FeatureFolder:
    """Do `feature_folder.create_folder`; hidden parts of another job, which nobody will finish, are replaced."""
    try:
        return feature_folder.create_folder(path, *content)
    except feature_folder.OtherJobError:
        if not is_hidden:
            raise
        feature_folder.remove_folder(path)
        return feature_folder.create_folder(path, *content)


@contextmanager
def _lock(path: Path, out: Path) -> Iterator[None]:
    """Let one process write the parts of a file `out`; the system releases the lock if the process is killed."""
    lock = path.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                with suppress(PermissionError):  # Windows deletes it when the lock is released, not before
                    lock.unlink(missing_ok=True)
    except Timeout:
        raise ValueError(f"Another process is writing {out}: wait for it, or give another --out.") from None


def _write_missing_parts(folder: FeatureFolder, shard: tuple[int, int], workers: int, cache: bool) -> tuple[int, int]:
    """Write the parts of a shard that are missing.

    Returns:
        The number of features written, and how many of them came from the cache.
    """
    numbers, counts = folder.missing_parts(shard), []
    present = len(folder.parts) - len(folder.missing_parts())
    if present:
        say(f"{present} of {len(folder.parts)} parts are there already.")
    try:
        with progress_bar(sum(len(folder.part_pictures(number)) for number in numbers), "features") as advance:
            if workers > 1:
                results = _write_with_ray(folder, numbers, workers, cache, advance)
            else:
                results = (feature_folder.write_part(folder, n, cache=cache, advance=advance) for n in numbers)
            for result in results:
                counts.append(result)
    except KeyboardInterrupt:
        done = present + len(counts)
        say(f"Interrupted: {done} of {len(folder.parts)} parts are kept; the same command continues with the others.")
        raise
    return sum(written for written, _ in counts), sum(reused for _, reused in counts)


def _write_with_ray(
    folder: FeatureFolder, numbers: list[int], workers: int, cache: bool, advance: Callable
) -> Iterator[tuple[int, int]]:
    task = partial(feature_folder.write_part_of, str(folder.path.absolute()), cache=cache, trusted=trust.export_state())
    for number, result in ray_engine.run_tasks(task, numbers, workers=workers):
        advance(len(folder.part_pictures(number)))
        yield result


def _finish(folder: FeatureFolder, out: Path, listing: Listing) -> dict[str, int]:
    """Check a complete folder and, if `out` is a file, put it together; the counts of pictures."""
    pictures, unreadable = feature_folder.write_errors(folder)
    if not pictures:
        reasons = folder.path / feature_folder.ERRORS
        raise ValueError(f"{none_can(len(listing), 'picture')} be read: {reasons} says why.")
    check_classes(listing, unreadable, "the listing")
    if folder.path != out:
        feature_files.write_feature_file(folder, out)
        feature_folder.remove_folder(folder.path)
    return {"pictures": pictures, "unreadable": len(unreadable)}
