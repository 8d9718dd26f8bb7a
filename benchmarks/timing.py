"""Seconds of calls that take turns, so that a machine that becomes slower is slower for all of them."""

import resource
import time
from collections.abc import Callable


def time_in_turn(calls: dict[str, Callable], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Make each call in each round, after one round that warms up.

    Returns:
        The seconds of each round by name, on the clock, and of a processor, in all threads and finished processes
        together, which other jobs on the machine disturb less.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started, computed = time.perf_counter(), processor_seconds()
            call()
            if number:
                wall[name].append(time.perf_counter() - started)
                processor[name].append(processor_seconds() - computed)
    return wall, processor


def processor_seconds() -> float:
    """Processor time of this process and of its finished child processes."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def rates(count: float, seconds: list[float]) -> list[float]:
    """How many a second, in each round."""
    return [count / each for each in seconds]
