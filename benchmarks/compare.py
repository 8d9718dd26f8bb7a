"""Say which figures became worse than in an earlier record by more than their noise.

    python benchmarks/compare.py [NEW.json [OLD.json]]

NEW is by default the newest record of `benchmarks/records/`. Each of its command lines is compared with the last record
before it that has it, or with the published one. A figure with a peer is compared by its ratio, which a busy or another
machine changes little; others by their value, on the same machine only; what is a peer alone, not at all. The noise is
the interquartile range of the rounds, in the noisier record, but at least `LEAST` of their median; fewer than three
rounds have no such range, and `FEW` is taken.

The exit status is 1 if a figure became worse.
"""

import statistics
import sys
from collections import Counter
from pathlib import Path

from figures import UNITS, Figure, ratios
from records import FOLDER, PUBLISHED, as_figures, peers, read_record

from transferkit.console import say, stdout_console, table

# of the median; ratios of one program differed by up to 14% between two runs on two shared cores
LEAST, FEW = 0.15, 0.3
VERDICTS = ("worse", "missing", "better", "new", "same")
COLUMNS = ("became", "what", "before", "now", "change", "noise", "command")


def spread(rounds: list[float]) -> float:
    """The interquartile range as a fraction of the median, or what is assumed of it.

    Example:
        >>> spread([1.0, 1.5, 2.0, 2.5, 3.0])
        0.5
    """
    if len(rounds) < 3 or not statistics.median(rounds):
        return FEW
    low, _, high = statistics.quantiles(rounds, method="inclusive")
    return max(LEAST, (high - low) / statistics.median(rounds))


def compare_rounds(before: list[float], now: list[float], more_is: str) -> tuple[str, float, float]:
    """The verdict (`worse`, `better` or `same`), the change as a fraction of what was before, and the noise."""
    noise = max(spread(before), spread(now))
    change = statistics.median(now) / statistics.median(before) - 1 if statistics.median(before) else 0.0
    worse = change if more_is == "worse" else -change / (1 + change)  # half the rate is twice the time
    return ("worse" if worse > noise else "better" if worse < -noise else "same"), change, noise


def compare_figures(figures: dict[tuple[str, str], Figure], others: dict, same_machine: bool) -> list[tuple]:
    """A row of `COLUMNS`, without the command, of each figure of one command line that can be compared.

    Args:
        figures: by title and name, of the earlier record.
        others: of the later record.
        same_machine: whether both were measured on the same.
    """
    rows = []
    never = peers(figures) | peers(others)
    for key in dict.fromkeys([*figures, *others]):
        title, name = key
        what = f"{title}: {name}"
        if key not in figures or key not in others:
            rows.append(("new" if key in others else "missing", what, "", "", "", ""))
            continue
        was, now = figures[key], others[key]
        if now.peer and now.peer == was.peer:
            pairs = [ratios(each, group[title, each.peer]) for each, group in ((was, figures), (now, others))]
            unit = "times"
        elif same_machine and key not in never:
            pairs, unit = [list(was.rounds), list(now.rounds)], now.unit
        else:
            continue
        verdict, change, noise = compare_rounds(*pairs, UNITS[now.unit])
        medians = (f"{statistics.median(rounds):,.4g} {unit}" for rounds in pairs)
        rows.append((verdict, what, *medians, f"{change:+.0%}", f"{noise:.0%}"))
    return rows


def compare_entries(earlier: dict[str, dict], entries: list[dict]) -> list[tuple]:
    """Rows of `COLUMNS` for the entries whose command line is among the earlier ones, the worst first."""
    rows = []
    for entry in entries:
        if old := earlier.get(entry["command"]):
            found = compare_figures(as_figures(old), as_figures(entry), old["machine"] == entry["machine"])
            rows += [(*row, entry["command"]) for row in found]
    return sorted(rows, key=lambda row: VERDICTS.index(row[0]))


def last_entries(paths: list[Path]) -> dict[str, dict]:
    """The last entry with figures of each command line, in records from the oldest to the newest."""
    return {entry["command"]: entry for path in paths for entry in read_record(path) if entry["figures"]}


def find_records(given: list[str]) -> tuple[Path, list[Path]]:
    """The record to be judged, and the earlier ones from the oldest to the newest."""
    known = sorted(path for path in FOLDER.glob("*.json") if path != PUBLISHED)
    if not given and not known:
        sys.exit(f"there is no record in {FOLDER}; make bench makes one")
    new = Path(given[0]) if given else known[-1]
    old = [Path(given[1])] if given[1:] else [path for path in known if path.resolve() < new.resolve()]
    if not given[1:] and PUBLISHED.is_file():
        old.insert(0, PUBLISHED)
    for path in (new, *old):
        if not path.is_file():
            sys.exit(f"there is no record {path}")
    return new, old


def main(*given: str) -> int:
    new, old = find_records(list(given))
    entries = read_record(new)
    rows = compare_entries(last_entries(old), entries)
    say(f"{new}, compared with {', '.join(map(str, old[-1:])) or 'nothing'}")
    for entry in entries:
        if "error" in entry:
            say(f"{entry['command']}: {entry['error']}")
    counts = Counter(row[0] for row in rows)
    if shown := [row for row in rows if row[0] != "same"]:
        table(None, COLUMNS, shown, stdout_console())
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    say(summary or "no earlier record has one of its command lines")
    return int("worse" in counts)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
