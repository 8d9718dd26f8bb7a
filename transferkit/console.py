"""Lines, tables and progress bars: on standard error, so that standard output has only the result of a command."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from transferkit.text_layout import GAP, NUMBER, fit_columns, wrap

UNLIMITED = 1_000_000  # columns of a file or pipe, where no line is broken


class _StandardStream(Console):
    """A standard stream, in a pipe or file as wide as the text.

    With `NO_COLOR` in the environment, there are no escape codes in a terminal either, so no progress bars.
    """

    @property
    def is_terminal(self) -> bool:
        return super().is_terminal and not os.environ.get("NO_COLOR")

    @property
    def size(self) -> ConsoleDimensions:
        size = super().size
        return size if self.file.isatty() or self.is_jupyter else ConsoleDimensions(UNLIMITED, size.height)


console = _StandardStream(stderr=True, highlight=False, emoji=False)
REPORTS = _StandardStream(
    stderr=True, highlight=False, emoji=False
)  # for lines that the user asked for, within `quiet` too
_quiet_count, _log_level, _lock = 0, 0, threading.Lock()  # open contexts of `quiet`, and TensorFlow's level before


def stdout_console() -> Console:
    """A console on standard output, for results that people read."""
    return _StandardStream(highlight=False, emoji=False)


def printable(text: str) -> str:
    """Escape what is not printable in a file name: line breaks, escape sequences and bytes that are not text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say(text: str, on: Console = console):
    """Print a line, in a terminal broken between words."""
    on.print(wrap(printable(text), on.width), markup=False, soft_wrap=True)


def say_looking(count: int, where: str = ""):
    """Say how many pictures are read now, and perhaps where they are."""
    say(f"Looking at {count:,} picture{'s' * (count != 1)}{f' in {where}' if where else ''} ...")


def warn(text: str):
    """Print a warning; within `quiet`, raise a Python warning instead."""
    if console.quiet:
        warnings.warn(printable(text), stacklevel=2)
    line = wrap(f"Warning: {printable(text)}", console.width)
    console.print(line, markup=False, soft_wrap=True, style="yellow")


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
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable], on: Console = console):
    """Print a table without lines, in a terminal as wide as that; columns of numbers are aligned to the right."""
    if title:
        on.print(wrap(title, on.width), markup=False, soft_wrap=True, style="bold")
    on.print(_build_table(list(columns), rows, on.width), markup=False)


def _build_table(columns: list[str], rows: Iterable[Iterable], width: int) -> Table:
    cells = [[_format_cell(value) for value in row] for row in rows]
    result, widths = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0)), fit_columns([columns, *cells], width)
    for number, (name, size) in enumerate(zip(columns, widths, strict=True)):
        numeric = all(NUMBER.fullmatch(row[number]) for row in cells)
        result.add_column(wrap(name, size), justify="right" if numeric else "left", width=size, no_wrap=True)
    for row in cells:
        result.add_row(*map(wrap, row, widths))
    return result


def shows_bars() -> bool:
    """Whether bars can be shown: in a terminal, or a notebook that has ipywidgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def progress(*last: ProgressColumn) -> Progress:
    """A progress display that ends with the given columns, by default the time that remains; it is hidden where bars
    cannot be shown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24 if console.width >= 100 else 10),
        MofNCompleteColumn(),
        *(last or (TimeRemainingColumn(),)),
    )
    return Progress(*columns, console=console, transient=True, disable=not shows_bars())


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
