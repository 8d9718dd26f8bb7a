"""How long work takes: each kind is measured as it is done, and estimated from comparable kinds before that."""

import math
from collections import Counter

COMPARABLE = 10  # times the multiply-adds, up to which one kind of work says something about another one's speed
MEMORY = 0.98  # weight of a measurement after the next one: other programs may slow the machine down, or end

Work = Counter[str]  # how often each kind of work is done: pictures, or times


class Clock:
    """Seconds that each kind of work took so far, shared by all trainings of a job.

    Attributes:
        costs: multiply-adds a picture, of kinds that are counted in pictures. The others are done a few times, as a
            compilation is.
        later: what follows the current training: the other folds.

    Example:
        >>> clock = Clock()
        >>> clock.costs |= {"train all": 3e9, "validate all": 1e9}
        >>> clock.measure("train all", 32, 4.0)
        >>> clock.estimate(Counter({"train all": 16, "validate all": 24}))
        (3.0, True)
    """

    def __init__(self):
        self.costs: dict[str, float] = {}
        self.later: Work = Counter()
        self._measured: dict[str, tuple[float, float]] = {}  # amount and seconds of each kind

    def measure(self, kind: str, amount: int, seconds: float):
        """Add what was done of a kind of work, and its seconds. What was measured long ago counts less."""
        old_amount, old_seconds = self._measured.get(kind, (0.0, 0.0))
        self._measured[kind] = MEMORY * old_amount + amount, MEMORY * old_seconds + seconds

    def estimate(self, work: Work) -> tuple[float, bool]:
        """The seconds that some work takes, and whether all of it could be estimated: else they are a minimum."""
        times = [(amount, self.seconds_each(kind)) for kind, amount in work.items() if amount > 0]
        known = [amount * each for amount, each in times if each is not None]
        return sum(known), len(known) == len(times)

    def seconds_each(self, kind: str) -> float | None:
        """The seconds of one picture, or one time, of a kind; None if nothing comparable has been measured."""
        if kind in self._measured:
            return self._speed(kind)
        cost = self.costs.get(kind)
        if cost is None:
            once = [self._speed(name) for name in self._measured if name not in self.costs]
            return sum(once) / len(once) if once else None
        ratios = {name: cost / self.costs[name] for name in self._measured if self.costs.get(name)}
        nearest = min(ratios, key=lambda name: abs(math.log(ratios[name] or math.inf)), default="")
        if not nearest or not 1 / COMPARABLE <= ratios[nearest] <= COMPARABLE:
            return None
        return self._speed(nearest) * ratios[nearest]

    def _speed(self, kind: str) -> float:
        amount, seconds = self._measured[kind]
        return seconds / amount


def format_duration(seconds: float) -> str:
    """A duration, as exactly as an estimate is: "8 s", "40 s", "3 min", "2 h 10 min".

    Example:
        >>> format_duration(97)
        '2 min'
    """
    if seconds < 57.5:
        return f"{max(1, round(seconds))} s" if seconds < 10 else f"{5 * round(seconds / 5)} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
