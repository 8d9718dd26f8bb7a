"""The hosts in one of Slurm's lists, as in `gpu[07-09,12],login1`."""

import re
import shutil
import subprocess
from itertools import product

from transferkit.lookup import UnknownName, quote

RANGES = r"\[\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*\]"
HOST = rf"(?:[^\s,\[\]]|{RANGES})+"
MOST = 65_536  # hosts in a range, as Slurm has it
SECONDS = 20  # scontrol answers from its argument alone, at once


def hosts(words: str) -> list[str]:
    """The names in a list, in its order: by Slurm's own `scontrol`, or read here where there is none.

    Raises:
        UnknownName: it is not such a list.
    """
    return (words and _by_scontrol(words)) or parsed(words)


def _by_scontrol(words: str) -> list[str]:
    """What `scontrol show hostnames` answers; nothing where it is missing or fails, for containers often lack it."""
    program = shutil.which("scontrol")
    if not program:
        return []
    try:
        command = [program, "show", "hostnames", words]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.split()


def parsed(words: str) -> list[str]:
    """The names in a list. Of several brackets in a name, the last one counts fastest; `08` keeps its zero.

    Raises:
        UnknownName: it is not such a list.
    """
    words = words.strip()
    if words and not re.fullmatch(rf"{HOST}(?:,{HOST})*", words):
        raise UnknownName(f"Slurm's list of hosts must be like gpu[07-09,12],login1, not {quote(words)}.")
    return [host for name in re.findall(HOST, words) for host in _expanded(name)]


def _expanded(name: str) -> list[str]:
    """The names that one with brackets stands for."""
    pieces = re.split(f"({RANGES})", name)
    return ["".join(chosen) for chosen in product(*(_numbers(piece) for piece in pieces))]


def _numbers(piece: str) -> list[str]:
    """The numbers between brackets, as wide as the first of their range is written; other text is itself."""
    if not piece.startswith("["):
        return [piece]
    numbers = []
    for part in piece[1:-1].split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not 0 < len(span) <= MOST:
            wanted = f"a range must go up, to at most {MOST} hosts"
            raise UnknownName(f"Slurm's list of hosts has {quote(part)}: {wanted}.")
        numbers += [f"{number:0{len(first)}d}" for number in span]
    return numbers
