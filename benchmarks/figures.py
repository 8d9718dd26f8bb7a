"""Figures of benchmarks: each script gives its own to `report`, which prints them and adds them to the record of a run.

A figure keeps the value of each round. Its ratio to a peer is the median of the ratios within the rounds, as the speed
of a shared machine changes between them. Only the standard library is needed.
"""

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

RECORD = "TRANSFERKIT_RECORD"  # the environment variable with the file that figures are added to, a line each
UNITS = {  # what more of it means
    "pictures/s": "better",
    "GFLOP/s": "better",
    "s": "worse",
    "s of a processor": "worse",
    "ms": "worse",
    "MB": "worse",
    "% correct": "better",
    "% found": "better",
    "calibration error": "worse",
    "pairs per million": "worse",
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One thing that was measured.

    Args:
        name: what it is; each is once in a report.
        rounds: the value of each round.
        unit: a key of `UNITS`.
        peer: the name of the figure that it is compared with, in the same report and with as many rounds.
        bound: what keeps it from being better.
    """

    name: str
    rounds: Sequence[float]
    unit: str
    peer: str = ""
    bound: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)


def ratios(figure: Figure, peer: Figure) -> list[float]:
    """In each round, the figure as a multiple of its peer's: above 1 is faster for a rate, slower for a time.

    Example:
        >>> ratios(Figure("ours", [2, 3], "s"), Figure("theirs", [4, 4], "s"))
        [0.5, 0.75]
    """
    return [ours / theirs for ours, theirs in zip(figure.rounds, peer.rounds, strict=True)]


def check_figures(figures: Sequence[Figure]):
    """Raise ValueError for a figure that could not be compared or recorded."""
    by_name: dict[str, Figure] = {}
    for figure in figures:
        if figure.name in by_name:
            raise ValueError(f"two figures are named {figure.name!r}")
        if figure.unit not in UNITS:
            raise ValueError(f"the unit of {figure.name!r} is {figure.unit!r}, expected one of {', '.join(UNITS)}")
        by_name[figure.name] = figure
    for figure in figures:
        if figure.peer and figure.peer not in by_name:
            raise ValueError(f"the peer of {figure.name!r} is {figure.peer!r}, expected one of {', '.join(by_name)}")
        if not figure.rounds or figure.peer and len(figure.rounds) != len(by_name[figure.peer].rounds):
            raise ValueError(
                f"{figure.name!r} has {len(figure.rounds)} rounds, expected as many as its peer, at least 1"
            )


def report(title: str, figures: Sequence[Figure]):
    """Print figures with their ratios, and add them to the record that is being made, if one is.

    Args:
        title: what was done, with its size: `check, 2,000 files`.
    """
    check_figures(figures)
    by_name = {figure.name: figure for figure in figures}
    print(f"\n{title}, on {describe_machine()}")
    for figure in figures:
        print(f"  {figure.name:58} {figure.value:9.2f} {figure.unit}", flush=True)
        if figure.peer:
            ratio = statistics.median(ratios(figure, by_name[figure.peer]))
            print(f"    {'to ' + figure.peer:56} {ratio:9.2f} times", flush=True)
    if path := os.environ.get(RECORD):
        with Path(path).open("a", encoding="utf-8") as file:
            for figure in figures:
                rounds = [float(f"{value:.4g}") for value in figure.rounds]
                given = dataclasses.asdict(figure) | {"title": title, "rounds": rounds}
                file.write(json.dumps({name: value for name, value in given.items() if value}) + "\n")


def describe_machine() -> str:
    """The processors of this machine: `2 of Intel(R) Xeon(R) Processor @ 2.80GHz, Linux`."""
    name = platform.processor() or platform.machine()
    if (facts := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in facts.read_text("utf-8").splitlines()]
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    return f"{os.cpu_count()} of {name}, {platform.system()}"


def describe_versions() -> str:
    """The versions that figures depend on: `Python 3.13.1, keras 3.15.0, tensorflow 2.21.0`."""
    found = [f"Python {platform.python_version()}"]
    for name in ("keras", "tensorflow", "pillow", "torch"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
