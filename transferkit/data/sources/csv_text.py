"""Read a text file as a table: CSV of any delimiter and encoding, with or without a line of column names."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from transferkit import untrusted_files
from transferkit.console import say, warn
from transferkit.data.formats import SUFFIXES

Rows = list[tuple[int, dict[str, str]]]  # line number, cell by column
Records = list[tuple[int, list[str]]]  # line number, cells
DELIMITERS = ",;\t|"
UNNAMED = "column"  # and its number: the name of a column without a name
SAMPLE = 20  # lines in which the delimiter is searched
MAX_CELLS = 20_000_000  # of all rows together: 4 GB of memory or so
MAX_LINE = 1_000_000  # characters
# `a picture.jpg 17`: a name that ends in a picture's suffix, spaces, and a label
PAIR = re.compile(rf"\s*(?P<name>.+?(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))}))[ \t]+(?P<label>\S.*?)\s*", re.I)


@dataclass(frozen=True)
class Table:
    """The content of a list of pictures.

    Attributes:
        path: of the file.
        header: names of the columns.
        rows: (line number, cell by column) of each row.
    """

    path: Path
    header: list[str]
    rows: Rows

    def cells(self, column: str) -> list[str]:
        """The cells of a column, without spaces around them."""
        return [row[column].strip() for _, row in self.rows]

    def with_column(self, column: str, cells: list[str]) -> "Table":
        """The same with a column added, or replaced."""
        header = self.header if column in self.header else [*self.header, column]
        rows = [(line, row | {column: cell}) for (line, row), cell in zip(self.rows, cells, strict=True)]
        return replace(self, header=header, rows=rows)

    @property
    def has_column_names(self) -> bool:
        return not all(re.fullmatch(rf"{UNNAMED} \d+", name) for name in self.header)


def read_table(path: Path) -> Table:
    """Read a table. Columns without a name are called `column 1` and so on.

    A file whose first line names a picture has no column names. Empty columns without a name are skipped.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it has no rows, two columns of one name, a quote that is never closed, or more than `MAX_CELLS`.
        OSError: it cannot be read, or is larger than a list of pictures.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: expected a CSV file with a column of pictures.")
    lines = _read_lines(path)
    skipped, delimiter = _find_start(lines)
    records = _parse_records(path, lines, skipped, delimiter)
    if not records:
        raise ValueError(f"{path} holds no rows: expected a line of column names and a line for each picture.")
    header, records = _split_header(path, records)
    width = max(len(header), *(len(cells) for _, cells in records)) if records else len(header)
    names = [name or f"{UNNAMED} {i}" for i, name in enumerate(header + [""] * (width - len(header)), start=1)]
    filled = {i for _, cells in records for i, cell in enumerate(cells) if cell.strip()}
    used = [i for i in range(width) if i in filled or (i < len(header) and header[i])]
    twice = [name for name, count in Counter(names[i] for i in used).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns called {twice[0]!r}: rename one of them.")
    if not records:
        raise ValueError(f"{path} holds no rows: expected a line of column names and a line for each picture.")
    _check_cells(path, len(records) * len(used))  # each row gets a cell for every column
    rows = [(line, {names[i]: cells[i] if i < len(cells) else "" for i in used}) for line, cells in records]
    return Table(path, [names[i] for i in used], rows)


def is_picture_name(cell: str) -> bool:
    """Whether a cell is the name of a picture, by its suffix."""
    return cell.strip().lower().endswith(tuple(SUFFIXES))


def _read_lines(path: Path) -> list[str]:
    """The file's lines with their ends, decoded from UTF-8, UTF-16 or Windows-1252."""
    data = untrusted_files.read_bytes(path)
    with io.TextIOWrapper(io.BytesIO(data), _find_encoding(path, data), "replace", newline="") as file:
        lines = list(islice(file, MAX_CELLS + 1))
    _check_cells(path, len(lines))
    longest = max(range(len(lines)), key=lambda i: len(lines[i]), default=0)
    if lines and len(lines[longest]) > MAX_LINE:
        raise ValueError(
            f"{path}, line {longest + 1} has {len(lines[longest]):,} characters, and {MAX_LINE:,} are the most "
            "that is read: is it a list of pictures?"
        )
    return lines


def _find_encoding(path: Path, data: bytes) -> str:
    """By the byte order mark, or by the zeros in UTF-16; what is not UTF-8 is read as Windows-1252, with a warning."""
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
        warn(f"{path} is not UTF-8 (line {line}) and is read as Windows-1252; save it as UTF-8 if names look wrong.")
        return "cp1252"


def _check_cells(path: Path, count: int):
    if count > MAX_CELLS:
        raise ValueError(
            f"{path} has more than {MAX_CELLS:,} cells, which are the most that is read: remove columns that are not "
            "needed, or split the list."
        )


def _find_start(lines: list[str]) -> tuple[int, str]:
    """How many lines come before the table, and its delimiter: "" where lines are a name, spaces and a label."""
    skipped = next((i for i, line in enumerate(lines) if line.strip(f"{DELIMITERS} \r\n")), 0)
    declared = re.fullmatch(r'"?sep=(.)"?\s*', lines[skipped], re.I) if lines else None  # Excel's
    if declared:
        return skipped + 1, declared[1]
    sample = [line for line in lines[skipped : skipped + SAMPLE] if line.strip()]
    are_pairs = sample and all(PAIR.fullmatch(line) and not is_picture_name(line) for line in sample)
    if are_pairs and not any(delimiter in line for line in sample for delimiter in DELIMITERS):
        return skipped, ""
    # one that is in every line, else the most frequent one of the first line
    counts = {each: (min((line.count(each) for line in sample), default=0), *(line.count(each) for line in sample[:1]))
              for each in DELIMITERS}  # fmt: skip
    return skipped, max(DELIMITERS, key=counts.__getitem__)


def _parse_pairs(path: Path, lines: list[str], skipped: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines[skipped:], start=skipped + 1):
        if pair := PAIR.fullmatch(line):
            yield number, [pair["name"], pair["label"]]
        elif line.strip():
            raise ValueError(f"{path}, line {number}: expected the name of a picture, a space and a label.")


def _parse_records(path: Path, lines: list[str], skipped: int, delimiter: str) -> Records:
    """(line, cells) of each record that is not empty.

    Raises:
        ValueError: a quote is never closed, or the file is not text.
    """
    if not delimiter:
        return list(_parse_pairs(path, lines, skipped))
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
    """Raise `ValueError` if the row after the first `done` lines opens a quote that is never closed."""
    rest = lines[done:]
    first = next((i for i, line in enumerate(rest) if line.strip()), 0)
    try:
        list(csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error) or ("field limit" in str(error) and '"' in rest[first]):
            raise ValueError(
                f"{path}, line {done + first + 1}: a quote opens and is never closed: close it or take it away."
            ) from None


def _split_header(path: Path, records: Records) -> tuple[list[str], Records]:
    """The column names and the other records; no names if the first record is a picture's."""
    first = [cell.strip() for cell in records[0][1]]
    are_labels = len(first) == 1 and all(re.fullmatch(r"\d+|n\d{8}", "".join(cells).strip()) for _, cells in records)
    if any(map(is_picture_name, first)) or are_labels:
        say(f"{path.name} has no line of column names.")
        return [], records
    return first, records[1:]
