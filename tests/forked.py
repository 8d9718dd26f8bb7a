"""Commands in child processes that `zygote.py` forks: begun, waited for, killed, and with bounds on what they take."""

import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ABOVE = 1_500_000_000  # bytes of memory that a hostile file may cost beyond what any job takes


@dataclass
class Ended:
    status: int  # minus the signal that ended it
    out: str
    err: str


def zygote(home: Path) -> subprocess.Popen:
    words = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
    process = subprocess.Popen(words, stdin=-1, stdout=-1, text=True, env=os.environ | {"TRANSFERKIT_HOME": str(home)})
    assert process.stdout.readline() == "ready\n"
    return process


def start(zygote, place: Path, *words, **bounds) -> int:
    """Begin a command in a folder, its output in out.txt and err.txt there. Its process id.

    Args:
        bounds: `room`, the bytes that a file may have; `memory`, the bytes of addresses, as `ulimit -v` bounds them;
            `env`, variables of the environment.
    """
    return start_all(zygote, place, [words], **bounds)[0]


def start_all(zygote, place: Path, commands, **bounds) -> list[int]:
    """Begin several at once, the second's output in out1.txt and err1.txt; they end in the order they were given in."""
    commands = [[str(word) for word in words] for words in commands]
    zygote.stdin.write(json.dumps({"folder": str(place), "commands": commands, **bounds}) + "\n")
    zygote.stdin.flush()
    return [_number(zygote, "begun") for _ in commands]


def running(zygote, seconds: float = 0) -> bool:
    """Whether the command still runs, after so many seconds at most."""
    return not select.select([zygote.stdout], [], [], seconds)[0]


def ended(zygote) -> int:
    """The exit status of the command, when it has ended; minus the signal that killed it."""
    return _number(zygote, "ended")


def _number(zygote, what: str) -> int:
    """The number that comes with a word; a failed test may have left others unread, and 0 is no process to kill."""
    for line in zygote.stdout:
        word, number = line.split()
        if word == what:
            return int(number)
    raise EOFError("the zygote has ended")


def called(zygote, place: Path, *words, **bounds) -> tuple[int, str]:
    """Exit status and standard error of a command."""
    start(zygote, place, *words, **bounds)
    return ended(zygote), (place / "err.txt").read_text()


def refused(zygote, place: Path, *words, **bounds) -> str:
    """The one sentence with which a command fails."""
    status, err = called(zygote, place, *words, **bounds)
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert status == 1 and len(lines) == 1 and err.splitlines()[-1] == lines[0], err
    assert "Traceback" not in err
    return lines[0]


def attempted(zygote, place: Path, *words, seconds: float, **bounds) -> Ended:
    """A command that a file may try to make endless: killed after so many seconds; the bounds are those of `start`."""
    pid = start(zygote, place, *words, **bounds)
    if running(zygote, seconds):
        os.kill(pid, signal.SIGKILL)
        ended(zygote)
        raise AssertionError(f"{words} ran for more than {seconds} seconds")
    return Ended(ended(zygote), *((place / name).read_text(errors="replace") for name in ("out.txt", "err.txt")))
