"""`transferkit extract`: from a listing to a file of features, part by part."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from transferkit import trust
from transferkit.console import counted, say
from transferkit.data.audit.problems import check_classes
from transferkit.data.listing import Listing
from transferkit.features import feature_files, part_files, ray_engine
from transferkit.features.extraction import shapes_of
from transferkit.features.spec import FeatureSpec
from transferkit.lookup import UnknownName


def extract_to(
    out: str | os.PathLike,
    spec: FeatureSpec,
    listing: Listing,
    splits: Sequence[str] = (),
    *,
    share: tuple[int, int] = (1, 1),
    workers: int = 1,
    cache: bool = True,
    overwrite: bool = False,
) -> dict:
    """Extract features into a file or folder; what an earlier, interrupted call has written is not done again.

    Args:
        out: `.npz` or `.parquet`, or a folder.
        splits: of each picture: "train", "val" or "test"; all "train" if not given.
        share: (i, n): of the parts of a folder, write only the i-th of n shares, i from 1 on: the others are for other
            machines.
        workers: processes that write parts; more than one are Ray's (extra `ray`), of the cluster at `RAY_ADDRESS` if
            there is one: all its machines must see `out` and the pictures under the same paths.
        cache: whether features are taken from the cache folder (TRANSFERKIT_HOME) and kept there.
        overwrite: replace what is there.

    Returns:
        `out`, `pictures` with features, `shape` of these, `reused` from the cache and `computed` by this call,
        `unreadable`, `parts` still missing, and `seconds`.

    Raises:
        UnknownName, FileNotFoundError, ValueError: network, weights or layer cannot be had, or `out` is taken.
        OSError: it could not be written; finished parts stay.
    """
    out, started = Path(out), time.perf_counter()
    folder = _check_out(out, share, overwrite)
    if not len(listing):
        raise ValueError("There are no pictures to extract features of.")
    with _alone(folder) if folder != out else nullcontext():
        if overwrite:
            part_files.remove(folder)
        (shape, *more) = shapes_of(spec, cache=cache)
        shape = (sum(width for (width,) in (shape, *more)),) if more else shape
        todo = _begun(folder, out, spec, shape, listing, splits or ["train"] * len(listing))
        written, reused = _written(todo, share, workers, cache)
        missing, told = len(todo.missing()), {"out": str(out), "pictures": written, "shape": todo.note["shape"]}
        told |= {"reused": reused, "computed": written - reused, "unreadable": None, "parts": missing}
        if not missing:
            told["pictures"], unreadable = part_files.finish(todo)
            told["unreadable"] = len(unreadable)
            if not told["pictures"]:
                raise ValueError(
                    f"None of the {len(listing):,} pictures can be read: {folder / part_files.ERRORS} says why."
                )
            check_classes(listing, unreadable, "the listing")
            if folder != out:
                feature_files.write_file(todo, out)
                part_files.remove(folder)
    return told | {"seconds": round(time.perf_counter() - started, 2)}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of several processes that write the same file, the first; the system lets go of the lock if it is killed."""
    lock = folder.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                with suppress(PermissionError):  # Windows deletes it as it is let go of, not before
                    lock.unlink(missing_ok=True)
    except Timeout:
        raise ValueError(
            f"Another process is writing what {folder} becomes: wait for it, or give another --out."
        ) from None


def _check_out(out: Path, share: tuple[int, int], overwrite: bool) -> Path:
    """The folder of the parts: `out` itself, or a hidden one beside a file."""
    is_file = out.suffix in feature_files.SUFFIXES
    if out.suffix and not is_file and not out.is_dir():
        raise UnknownName(f"{out} must end in {' or '.join(feature_files.SUFFIXES)}, or be a folder without a suffix.")
    if not 1 <= share[0] <= share[1]:
        raise UnknownName(f"shard must be i/n with i from 1 to n, not {share[0]}/{share[1]}.")
    if is_file and share[1] > 1:
        raise UnknownName(f"shard {share[0]}/{share[1]} writes a part of a folder: give one in place of {out}.")
    if overwrite and share[1] > 1:
        raise UnknownName(f"--overwrite would delete what the other shards of {out} have written: delete it by hand.")
    if is_file and out.exists() and not overwrite:
        raise ValueError(f"{out} exists: give another --out, or --overwrite to replace it.")
    return out.with_name(f".{out.name}.parts") if is_file else out


def _begun(folder: Path, out: Path, *wanted) -> part_files.Job:
    """The job in its folder; hidden parts of another job are nobody's, and go."""
    try:
        return part_files.begin(folder, *wanted)
    except part_files.OtherJob:
        if folder == out:
            raise
        part_files.remove(folder)
        return part_files.begin(folder, *wanted)


def _written(todo: part_files.Job, share: tuple[int, int], workers: int, cache: bool) -> tuple[int, int]:
    """Write what is missing; how many pictures were extracted, and how many of them came from the cache."""
    numbers, done = todo.missing(share), []
    there = len(todo.parts) - len(todo.missing())
    if there:
        say(f"{there} of {len(todo.parts)} parts are there already.")
    try:
        with counted(sum(map(todo.size, numbers)), "features") as tick:
            for one in (_by_engine if workers > 1 else _here)(todo, numbers, workers, cache, tick):
                done.append(one)
    except KeyboardInterrupt:
        say(f"Interrupted: {there + len(done)} of {len(todo.parts)} parts are kept, and the same command goes on.")
        raise
    return sum(written for written, _ in done), sum(reused for _, reused in done)


def _here(todo: part_files.Job, numbers, _workers, cache, tick) -> Iterator[tuple[int, int]]:
    for number in numbers:
        yield part_files.write_part(todo, number, cache=cache, tick=tick)


def _by_engine(todo: part_files.Job, numbers, workers, cache, tick) -> Iterator[tuple[int, int]]:
    task = partial(part_files.write_part_in, str(todo.folder.absolute()), cache=cache, trusted=trust.export_state())
    for number, result in ray_engine.run(task, numbers, workers=workers):
        tick(todo.size(number))
        yield result
