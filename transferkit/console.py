"""What a person sees while a job runs: always on standard error, so that standard output is the answer alone."""

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
_quiets, _level, _lock = 0, 0, threading.Lock()  # contexts of `quiet` that are open, and what was before them
WIDE = 500  # columns of a table that goes into a file or a pipe


def answers() -> Console:
    """Standard output, for an answer that people read; nothing is folded in a file or a pipe."""
    return Console(width=None if sys.stdout and sys.stdout.isatty() else WIDE, highlight=False)


def plain(text: str) -> str:
    """Any file name on a terminal: a line break, an escape sequence or a lone byte is shown as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say(text: str, on: Console = console):
    """One line."""
    on.print(plain(text), markup=False, soft_wrap=True)


def warn(text: str):
    """One line that stands out; where lines are muted, a warning of Python's."""
    if console.quiet:
        warnings.warn(plain(text), stacklevel=2)
    console.print(f"Warning: {plain(text)}", markup=False, soft_wrap=True, style="yellow")


@contextmanager
def quiet() -> Iterator[None]:
    """Around a job that is part of another's: no lines and no bars, and each `warn` is a warning of Python's.

    TensorFlow's Python side says errors alone: of a search, it warns that much is compiled anew.
    """
    _count_quiet(1)
    try:
        yield
    finally:
        _count_quiet(-1)


def _count_quiet(more: int):
    """Counted, and under a lock: a search may fit in several threads, and one that ends must not unmute the others."""
    global _quiets, _level
    logger = logging.getLogger("tensorflow")
    with _lock:
        if not _quiets:
            _level = logger.level
        _quiets += more
        console.quiet = _quiets > 0
        logger.setLevel(logging.ERROR if _quiets else _level)


@contextmanager
def silenced() -> Iterator[None]:
    """Around an import of TensorFlow: its C++ side prints lines whatever the log level."""
    try:
        shown = os.dup(2)
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
        os.dup2(shown, 2)
        os.close(shown)


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable], on: Console = console):
    """A table; numbers to the right, and no lines."""
    on.print(_sheet(title, columns, rows), markup=False)


def _sheet(title: str | None, columns: Iterable[str], rows: Iterable[Iterable]) -> Table:
    rows = [[_cell(value) for value in row] for row in rows]
    sheet = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        numeric = all(re.fullmatch(r"[-\d.,]*( ?[%GM])?", row[number]) for row in rows)
        sheet.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        sheet.add_row(*row)
    return sheet


def progress(*more: TextColumn) -> Progress:
    """A progress display; it shows nothing where standard error is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(items: Iterable, total: int, what: str) -> Iterator:
    """Go through items behind a progress bar."""
    with progress() as bars:
        yield from bars.track(items, total=total, description=what)


@contextmanager
def counted(total: int, what: str) -> Iterator[Callable]:
    """A bar that goes on by `count` with each call of what is given: tick(count)."""
    with progress() as bars:
        bar = bars.add_task(what, total=total)
        yield lambda count: bars.advance(bar, count)


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else plain(str(value))
