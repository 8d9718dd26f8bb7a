"""Lines that break between words, and the widths of a table's columns, for a terminal of any width."""

import re
from collections.abc import Callable, Sequence

from rich.cells import cell_len, chop_cells

GAP = 2  # spaces between the columns of a table
NUMBER = re.compile(r"[-+\d.,]*( ?([%GM]|GB))?")  # a cell that is aligned to the right and not broken
# where a word that is longer than a line may be broken, the best places first: a path, then a name
BREAKS = (re.compile(r"(?<=[/\\])"), re.compile(r"(?<=[-_.,:;=|+&)])"))


def wrap(text: str, width: int) -> str:
    """Break a line into lines of at most `width` columns: at spaces, and words longer than a line after a separator.

    Example:
        >>> wrap("the run is in runs/finetune-pets-1", 18)
        'the run is in\nruns/\nfinetune-pets-1'
    """
    if cell_len(text) <= width:
        return text
    lines = [""]
    for space, word in re.findall(r"(\s*)(\S+)", text):
        for piece in _break_word(word, width, BREAKS):
            if cell_len(lines[-1] + space + piece) <= width:
                lines[-1] += space + piece
            else:
                lines.append(piece)
            space = ""
    return "\n".join(line for line in lines if line)


def _break_word(word: str, width: int, breaks: Sequence[re.Pattern]) -> list[str]:
    """The word, or pieces of it if it is longer than a line."""
    if cell_len(word) <= width:
        return [word]
    if not breaks:
        return chop_cells(word, width)
    return [piece for part in breaks[0].split(word) if part for piece in _break_word(part, width, breaks[1:])]


def fit_columns(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The width of each column of a table that has `width` columns of characters.

    The widest column is made narrower until the table fits: first as far as lines break at spaces and in paths, then
    in names, and at last anywhere.

    Args:
        rows: cells, the headings too.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    room = width - GAP * (len(widths) - 1)
    splits: tuple[Callable, ...] = (*(pattern.split for pattern in BREAKS), list)
    for split in splits:
        if sum(widths) <= room:
            break
        least = [max(_longest_piece(cell, split) for cell in column) for column in columns]
        while sum(widths) > room and (wide := [place for place, size in enumerate(widths) if size > least[place]]):
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _longest_piece(cell: str, split: Callable) -> int:
    words = [cell] if NUMBER.fullmatch(cell) else cell.split()
    return max((cell_len(piece) for word in words for piece in split(word)), default=0)
