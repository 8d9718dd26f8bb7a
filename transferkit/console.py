"""Lines, tables and progress bars: on standard error, so that standard output has only the result of a command."""

import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(stderr=True, highlight=False)
_quiet_count, _log_level, _lock = 0, 0, threading.Lock()  # open contexts of `quiet`, and TensorFlow's level before
WIDTH = 500  # columns of a table in a file or pipe, so that nothing is folded


def stdout_console() -> Console:
    """A console on standard output, for results that people read."""
    return Console(width=None if sys.stdout and sys.stdout.isatty() else WIDTH, highlight=False)


def printable(text: str) -> str:
    """Escape what is not printable in a file name: line breaks, escape sequences and bytes that are not text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say(text: str, on: Console = console):
    """Print a line."""
    on.print(printable(text), markup=False, soft_wrap=True)


def say_looking(count: int, where: str = ""):
    """Say how many pictures are read now, and perhaps where they are."""
    say(f"Looking at {count:,} picture{'s' * (count != 1)}{f' in {where}' if where else ''} ...")


def warn(text: str):
    """Print a warning; within `quiet`, raise a Python warning instead."""
    if console.quiet:
        warnings.warn(printable(text), stacklevel=2)
    console.print(f"Warning: {printable(text)}", markup=False, soft_wrap=True, style="yellow")


@contextmanager
def quiet() -> Iterator[None]:
    """Print no lines and no bars, as a library does, and make each `warn` a Python warning.

    TensorFlow's logger shows errors only: during a grid search it warns of repeated compilation.
    """
    _count_quiet(1)
    try:
        yield
    finally:
        _count_quiet(-1)


def _count_quiet(change: int):
    """Count the open contexts, under a lock: a search may fit in several threads, and all must stay quiet."""
    global _quiet_count, _log_level
    logger = logging.getLogger("tensorflow")
    with _lock:
        if not _quiet_count:
            _log_level = logger.level
        _quiet_count += change
        console.quiet = _quiet_count > 0
        logger.setLevel(logging.ERROR if _quiet_count else _log_level)


@contextmanager
def silenced() -> Iterator[None]:
    """Hide standard error while TensorFlow is imported: its C++ code prints lines at any log level."""
    try:
        stderr = os.dup(2)
    except OSError:  # closed
        yield
        return
    if sys.stderr:  # none under pythonw
        sys.stderr.flush()
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable], on: Console = console):
    """Print a table without lines; columns of numbers are aligned to the right."""
    on.print(_build_table(title, columns, rows), markup=False)


def _build_table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable]) -> Table:
    cells = [[_format_cell(value) for value in row] for row in rows]
    result = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for number, name in enumerate(columns):
        numeric = all(re.fullmatch(r"[-\d.,]*( ?[%GM])?", row[number]) for row in cells)
        result.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        result.add_row(*row)
    return result


def progress(*more: TextColumn) -> Progress:
    """A progress display with more columns; it is hidden if standard error is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(items: Iterable, total: int, what: str) -> Iterator:
    """Iterate over items with a progress bar."""
    with progress() as bars:
        yield from bars.track(items, total=total, description=what)


@contextmanager
def progress_bar(total: int, what: str) -> Iterator[Callable]:
    """Show a progress bar, and yield a function: advance(count) moves the bar on."""
    with progress() as bars:
        bar = bars.add_task(what, total=total)
        yield lambda count: bars.advance(bar, count)


def _format_cell(value) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))
