"""Records of benchmark runs: a JSON file with an entry for each command line, and a line for each figure.

An entry has `command`, `subject` (a section of docs/benchmarks.md), `machine`, `versions`, `started`, `seconds`,
`figures` (the fields of `figures.Figure`, with the `title` of their report), and an `error` if the command failed.
"""

import json
import statistics
from pathlib import Path

from figures import Figure, ratios

FOLDER = Path(__file__).parent / "records"  # of each run; only the published record is in the repository
PUBLISHED = FOLDER / "published.json"


def read_record(path: Path) -> list[dict]:
    """The entries of a record."""
    return json.loads(path.read_text("utf-8"))["entries"]


def write_record(path: Path, entries: list[dict]):
    """Write entries, a figure a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = []
    for entry in entries:
        head = json.dumps({name: value for name, value in entry.items() if name != "figures"}, ensure_ascii=False)
        figures = ",\n  ".join(json.dumps(figure, ensure_ascii=False) for figure in entry["figures"])
        texts.append(f'{head[:-1]}, "figures": [\n  {figures}\n ]}}')
    path.write_text('{"entries": [\n ' + ",\n ".join(texts) + "\n]}\n", "utf-8")


def as_figures(entry: dict) -> dict[tuple[str, str], Figure]:
    """The figures of an entry, by the title of their report and their name."""
    return {
        (row["title"], row["name"]): Figure(**{name: value for name, value in row.items() if name != "title"})
        for row in entry["figures"]
    }


def peers(figures: dict[tuple[str, str], Figure]) -> set[tuple[str, str]]:
    """The figures that others are compared with."""
    return {(title, each.peer) for (title, _), each in figures.items() if each.peer}


def list_rows(entry: dict) -> list[tuple[str, str, str, str, str, str]]:
    """The title of the report, what was measured, its figure, its peer with that one's figure, the ratio and the bound.

    What is a peer of others and has none of its own is in their rows.
    """
    rows, figures = [], as_figures(entry)
    for (title, name), figure in figures.items():
        if not figure.peer and (title, name) in peers(figures):
            continue
        peer, ratio = "", ""
        if figure.peer:
            other = figures[title, figure.peer]
            peer, ratio = f"{figure.peer}: {format_value(other)}", format_ratio(ratios(figure, other))
        rows.append((title, name, format_value(figure), peer, ratio, figure.bound))
    return rows


def format_ratio(rounds: list[float]) -> str:
    """The median, and the quartiles if there are at least three rounds: `1.04 (0.98 to 1.07)`."""
    if len(rounds) < 3:
        return f"{statistics.median(rounds):.2f}"
    low, middle, high = statistics.quantiles(rounds, method="inclusive")
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def format_value(figure: Figure) -> str:
    """Three digits, or all before the point: `1,099 pictures/s`, `0.98 s`."""
    digits = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3g}"
    return f"{digits}{'' if figure.unit.startswith('%') else ' '}{figure.unit}"
