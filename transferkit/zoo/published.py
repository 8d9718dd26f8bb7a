"""What the papers report of the networks: errors with the data and the views, in `published.csv`.

The figures are of the authors' own training, not of ours, and not of the public weights, whose `top1` is in the
catalogue. Only figures that were read in a source are there.
"""

import csv
import functools
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class PublishedError:
    """A line of the file.

    Attributes:
        network: its name with its knobs.
        year: of the paper's first version.
        data: the labelled pictures.
        views: "one" (the centre crop), "10 crops", "dense" (the whole picture).
        top1, top5: error in percent; None if not reported.
        source: paper and table.
    """

    network: str
    year: int
    data: str
    views: str
    top1: float | None
    top5: float | None
    source: str


@functools.cache
def published_errors() -> tuple[PublishedError, ...]:
    """All lines, in the order of the file.

    Example:
        >>> next(each.top1 for each in published_errors() if each.network == "lenet5")
        0.95
    """
    text = resources.files(__package__).joinpath("published.csv").read_text("utf-8")
    return tuple(map(_parse_line, csv.DictReader(text.splitlines())))


def _parse_line(line: dict[str, str]) -> PublishedError:
    top1, top5 = (float(line[name]) if line[name] else None for name in ("top1", "top5"))
    return PublishedError(line["network"], int(line["year"]), line["data"], line["views"], top1, top5, line["source"])
