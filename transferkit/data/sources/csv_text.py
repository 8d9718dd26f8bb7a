"""The rows of a text file: CSV of any delimiter and encoding, with or without a line of column names."""

import csv
import io
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from transferkit import bounded
from transferkit.console import say, warn
from transferkit.data.formats import SUFFIXES

Rows = list[tuple[int, dict[str, str]]]  # line number, cell by column
DELIMITERS = ",;\t|"
UNNAMED = "column"  # and its number: what a column without a name is called
LOOKED_AT = 20  # lines, to find the delimiter
MOST_CELLS = 20_000_000  # of all rows together: 4 GB of memory or so
MOST_OF_LINE = 1_000_000  # characters
# `a picture.jpg 17`: a name that ends in a picture's suffix, spaces, and a label
PAIR = re.compile(rf"\s*(?P<name>.+?(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))}))[ \t]+(?P<label>\S.*?)\s*", re.I)


def read_table(path: Path) -> tuple[list[str], Rows]:
    """Column names, and (line, row) of the rest. Columns without a name are `column 1` and so on.

    A file whose first line names a picture has no column names. Empty columns without a name are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no rows, two columns of one name, a quote that is never closed, or more cells than are read.
        OSError: it cannot be read, or is larger than a list of pictures.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: expected a CSV file with a column of pictures.")
    lines = _lines(path)
    skipped, delimiter = _start(lines)
    records = _records(path, lines, skipped, delimiter)
    if not records:
        raise ValueError(f"{path} holds no rows: expected a line of column names and a line for each picture.")
    header, rows = _header(path, records)
    width = max(len(header), *(len(cells) for _, cells in rows)) if rows else len(header)
    names = [name or f"{UNNAMED} {place}" for place, name in enumerate(header + [""] * (width - len(header)), start=1)]
    filled = {place for _, cells in rows for place, cell in enumerate(cells) if cell.strip()}
    kept = [place for place in range(width) if place in filled or (place < len(header) and header[place])]
    twice = [name for name, count in Counter(names[place] for place in kept).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns called {twice[0]!r}: rename one of them.")
    if not rows:
        raise ValueError(f"{path} holds no rows: expected a line of column names and a line for each picture.")
    _check_cells(path, len(rows) * len(kept))  # each row gets a cell for every column
    table = [(line, {names[at]: cells[at] if at < len(cells) else "" for at in kept}) for line, cells in rows]
    return [names[place] for place in kept], table


def is_picture_name(cell: str) -> bool:
    """Whether a cell is the name of a picture, by its suffix."""
    return cell.strip().lower().endswith(tuple(SUFFIXES))


def has_no_header(header: list[str]) -> bool:
    """Whether a table has no line of column names."""
    return all(re.fullmatch(rf"{UNNAMED} \d+", name) for name in header)


def _lines(path: Path) -> list[str]:
    """The file's lines, with their ends: of UTF-8 or UTF-16, by its mark or by its zeros, else of Windows-1252, which
    is said."""
    data = bounded.read_bytes(path)
    with io.TextIOWrapper(io.BytesIO(data), _encoding(path, data), "replace", newline="") as file:
        lines = list(islice(file, MOST_CELLS + 1))
    _check_cells(path, len(lines))
    longest = max(range(len(lines)), key=lambda place: len(lines[place]), default=0)
    if lines and len(lines[longest]) > MOST_OF_LINE:
        raise ValueError(
            f"{path}, line {longest + 1} has {len(lines[longest]):,} characters, and {MOST_OF_LINE:,} are the most "
            "that is read: is it a list of pictures?"
        )
    return lines


def _encoding(path: Path, data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    zeros = [data[start:2000:2].count(0) for start in (0, 1)]  # high bytes of Latin letters
    if max(zeros) > 0.4 * len(data[0:2000:2]) > 2.5 * min(zeros):
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    try:
        data.decode("utf-8-sig")
        return "utf-8-sig"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        warn(f"{path} is no UTF-8 (line {line}) and is read as Windows-1252; save it as UTF-8 if names look wrong.")
        return "cp1252"


def _check_cells(path: Path, count: int):
    if count > MOST_CELLS:
        raise ValueError(
            f"{path} has more than {MOST_CELLS:,} cells, which are the most that is read: leave out columns that are "
            "not needed, or split the list."
        )


def _start(lines: list[str]) -> tuple[int, str]:
    """How many lines come before the table, and its delimiter: "" where lines are a name, spaces and a label."""
    skipped = next((place for place, line in enumerate(lines) if line.strip(f"{DELIMITERS} \r\n")), 0)
    said = re.fullmatch(r'"?sep=(.)"?\s*', lines[skipped], re.I) if lines else None  # Excel's
    if said:
        return skipped + 1, said[1]
    first = [line for line in lines[skipped : skipped + LOOKED_AT] if line.strip()]
    spaced = first and all(PAIR.fullmatch(line) and not is_picture_name(line) for line in first)
    if spaced and not any(delimiter in line for line in first for delimiter in DELIMITERS):
        return skipped, ""
    # one that is in every line, else the commonest of the first line
    counts = {each: (min((line.count(each) for line in first), default=0), *(line.count(each) for line in first[:1]))
              for each in DELIMITERS}  # fmt: skip
    return skipped, max(DELIMITERS, key=counts.get)


def _records(path: Path, lines: list[str], skipped: int, delimiter: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of each record that is not empty.

    Raises:
        ValueError: a quote is never closed, or it is no text file.
    """
    if not delimiter:
        pairs = ((number, PAIR.fullmatch(line)) for number, line in enumerate(lines[skipped:], start=skipped + 1))
        kept = [(number, line) for number, line in pairs if lines[number - 1].strip()]
        damaged = next((number for number, line in kept if not line), None)
        if damaged:
            raise ValueError(f"{path}, line {damaged}: expected the name of a picture, a space and a label.")
        return [(number, [line["name"], line["label"]]) for number, line in kept]
    reader = csv.reader(lines[skipped:], delimiter=delimiter, skipinitialspace=True)
    records, last, count = [], 0, 0
    try:
        for cells in reader:
            before, last, count = last, reader.line_num, count + len(cells)
            _check_cells(path, count)
            if any(cell.strip() for cell in cells):
                records.append((skipped + last, cells))
        if records and last > before + 1:
            _check_quotes(path, lines, skipped + before, delimiter)
    except csv.Error as error:
        _check_quotes(path, lines, skipped + last, delimiter)
        line = skipped + last + 1
        raise ValueError(f"{path}, line {line}: {error}; is it a list of pictures?") from None
    return records


def _check_quotes(path: Path, lines: list[str], done: int, delimiter: str):
    """Raise `ValueError` if the row after this many lines opens a quote that nothing closes."""
    rest = lines[done:]
    first = next((place for place, line in enumerate(rest) if line.strip()), 0)
    try:
        list(csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error) or ("field limit" in str(error) and '"' in rest[first]):
            raise ValueError(
                f"{path}, line {done + first + 1}: a quote opens and is never closed: close it or take it away."
            ) from None


def _header(path: Path, records: list[tuple[int, list[str]]]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names in the first record and the other records; no names where it is a picture's already."""
    first = [cell.strip() for cell in records[0][1]]
    numbers = len(first) == 1 and all(re.fullmatch(r"\d+|n\d{8}", "".join(cells).strip()) for _, cells in records)
    if any(map(is_picture_name, first)) or numbers:
        say(f"{path.name} has no line of column names.")
        return [], records
    return first, records[1:]
