"""Many looks at once: what is known already from the cache, the rest in threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from itertools import islice

from transferkit.console import track
from transferkit.cpus import available_cpus
from transferkit.data.audit import scan_cache
from transferkit.data.audit.file_scan import Look, look

PIECE = 256  # looks between two writes to the cache: what an interrupt loses at most


def scan(paths: Sequence[str], *, what: str = "pictures") -> list[Look]:
    """One look at each file, in order; a file of the same path, size and time is looked at once in its life.

    Threads are enough: Pillow decodes outside Python's lock.
    """
    store = scan_cache.open_store()
    with closing(store) if store else nullcontext():
        keys = [scan_cache.key_of(path) for path in paths]
        looks = list(scan_cache.recall(store, keys))
        new = [place for place, one in enumerate(looks) if one is None]
        with ThreadPoolExecutor(available_cpus() + 1) as threads:
            fresh = track(_in_order(threads, [paths[place] for place in new]), len(new), f"checking {what}")
            piece = []
            for place, one in zip(new, fresh, strict=True):
                looks[place] = one
                piece.append(place)
                if len(piece) == PIECE:
                    scan_cache.remember(store, [(keys[place], looks[place]) for place in piece])
                    piece = []
            scan_cache.remember(store, [(keys[place], looks[place]) for place in piece])
    return looks


def _in_order(threads: ThreadPoolExecutor, paths: list[str]) -> Iterator[Look]:
    """`threads.map` that holds a few pieces at a time, not all."""
    todo, running = iter(paths), []
    running = [threads.submit(_several, piece) for piece in islice(_pieces(todo), 8)]
    while running:
        yield from running.pop(0).result()
        running += [threads.submit(_several, piece) for piece in islice(_pieces(todo), 1)]


def _pieces(paths: Iterator[str], size: int = 16) -> Iterator[list[str]]:
    while piece := list(islice(paths, size)):
        yield piece


def _several(paths: list[str]) -> list[Look]:
    return [look(path) for path in paths]
