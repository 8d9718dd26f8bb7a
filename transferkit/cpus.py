"""The number of processors that this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = "sys/fs/cgroup"
FILES = "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"  # quota and period: version 2 has them in one


def available_cpus(root: Path = Path("/")) -> int:
    """Count the processors of the process' CPU affinity, or of the CPU quota of its control group if that is lower.

    `os.cpu_count()` counts those of the machine; a container or a job of a scheduler often gets fewer.

    Args:
        root: of the file system, below which `proc` and `sys` are.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([own, *(math.ceil(quota) for quota in _quotas(root))])


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas, in processors, of the control group of this process and of the groups around it."""
    for line in _read_words(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # version 2 names no controller; in a container the path may be the host's, whose groups do not exist here
        folder = root / CGROUPS / ("cpu" if controllers else "")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for group in (folder.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)):
            words = [word for name in FILES for word in _read_words(group / name)]
            if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):  # "max" and -1: no limit
                yield int(words[0]) / int(words[1])


def _read_words(path: Path) -> list[str]:
    """The words of a small file; none if there is no such file."""
    try:
        return path.read_text("utf-8").strip().split()
    except OSError:
        return []
