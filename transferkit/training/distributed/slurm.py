"""Parsing of Slurm's host lists, as `gpu[07-09,12],login1`."""

import re
import shutil
import subprocess
from itertools import product

from transferkit.lookup import UnknownName, quote

RANGES = r"\[\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*\]"
HOST = rf"(?:[^\s,\[\]]|{RANGES})+"
MAX_HOSTS = 65_536  # in a range, as in Slurm
TIMEOUT = 20  # seconds; scontrol answers at once


def list_hosts(text: str) -> list[str]:
    """The names in a host list, in order: by Slurm's own `scontrol`, or parsed here if that is missing.

    Raises:
        UnknownName: it is not such a list.
    """
    return (text and _run_scontrol(text)) or parse_hosts(text)


def _run_scontrol(text: str) -> list[str]:
    """The names that `scontrol show hostnames` prints; empty if it is missing, as often in containers, or fails."""
    program = shutil.which("scontrol")
    if not program:
        return []
    try:
        command = [program, "show", "hostnames", text]
        process = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return process.stdout.split()


def parse_hosts(text: str) -> list[str]:
    """The names in a host list. Of several brackets in a name, the last one counts fastest; `08` keeps its zero.

    Raises:
        UnknownName: it is not such a list.
    """
    text = text.strip()
    if text and not re.fullmatch(rf"{HOST}(?:,{HOST})*", text):
        raise UnknownName(f"Slurm's list of hosts must be like gpu[07-09,12],login1, not {quote(text)}.")
    return [host for name in re.findall(HOST, text) for host in _expand_name(name)]


def _expand_name(name: str) -> list[str]:
    """All names that a name with brackets stands for."""
    pieces = re.split(f"({RANGES})", name)
    return ["".join(chosen) for chosen in product(*(_expand_range(piece) for piece in pieces))]


def _expand_range(piece: str) -> list[str]:
    """The numbers between brackets, padded as the first of their range is; other text as it is."""
    if not piece.startswith("["):
        return [piece]
    numbers = []
    for part in piece[1:-1].split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not 0 < len(span) <= MAX_HOSTS:
            raise UnknownName(
                f"Slurm's list of hosts has {quote(part)}: expected a range that goes up, to at most {MAX_HOSTS} hosts."
            )
        numbers += [f"{number:0{len(first)}d}" for number in span]
    return numbers
