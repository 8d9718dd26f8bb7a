"""Put the figures of a record into the published one and into the tables of docs/benchmarks.md.

    python benchmarks/publish.py [RECORD.json]

An entry takes the place of the one with the same command line. Without a record, the tables alone are written again; a
test fails if they differ from `benchmarks/records/published.json`.
"""

import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from records import PUBLISHED, list_rows, read_record, write_record

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
COLUMNS = ("figure", "peer", "ratio", "bounded by")


def write_tables(entry: dict) -> str:
    """The command line of an entry and a table for each of its reports, in Markdown."""
    head = (
        f"`python benchmarks/{entry['command']}`, {entry['started'][:10]}:\n{entry['machine']};\n{entry['versions']}."
    )
    parts = [head]
    for title, rows in groupby(list_rows(entry), itemgetter(0)):
        cells = [(title, *COLUMNS), ("---",) * (1 + len(COLUMNS)), *(row[1:] for row in rows)]
        # a bar in a cell, as in the steps of an augmentation, would begin another one
        escaped = [[cell.replace("|", r"\|") for cell in row] for row in cells]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in escaped))
    return "\n\n".join(parts)


def fill_in(page: str, entries: list[dict]) -> str:
    """The page with a table for each entry, in the place of its subject."""
    for subject in dict.fromkeys(entry["subject"] for entry in entries):
        tables = "\n\n".join(write_tables(entry) for entry in entries if entry["subject"] == subject)
        begin, end = f"<!-- {subject}: benchmarks/publish.py -->\n", f"<!-- end of {subject} -->"
        before, found, rest = page.partition(begin)
        if not found or end not in rest:
            raise ValueError(f"{PAGE.name} has no place {begin.strip()} with an end for the figures of {subject}")
        page = f"{before}{begin}\n{tables}\n\n{end}{rest.partition(end)[2]}"
    return page


def main(path: str = ""):
    published = read_record(PUBLISHED) if PUBLISHED.is_file() else []
    newer = [entry for entry in read_record(Path(path)) if entry["figures"] and "error" not in entry] if path else []
    entries = {entry["command"]: entry for entry in [*published, *newer]}
    write_record(PUBLISHED, list(entries.values()))
    PAGE.write_text(fill_in(PAGE.read_text("utf-8"), list(entries.values())), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
