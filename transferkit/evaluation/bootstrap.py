"""95% intervals by the bootstrap (Efron 1979): pictures, or whole groups of them, are drawn again with replacement."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

DRAWS = 1000
BLOCK = 100  # draws at a time, as each is a row of one number for each picture


def draw_weights(n: int, groups: Sequence[str] = (), *, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each picture is in each bootstrap sample.

    Args:
        n: number of pictures.
        groups: of each picture; () draws single pictures.
        draws: number of samples.

    Yields:
        (at most `BLOCK`, n), float64.
    """
    random = np.random.default_rng(seed)
    unit = np.unique(groups, return_inverse=True)[1] if len(groups) else np.arange(n)
    count = int(unit.max()) + 1
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        yield random.multinomial(count, np.full(count, 1 / count), size).astype("float64")[:, unit]


def find_intervals(
    score: Callable[[np.ndarray], dict[str, np.ndarray]], n: int, groups: Sequence[str] = (), *, draws: int = DRAWS
) -> dict[str, list[float] | None]:
    """The 95% percentile interval of each score.

    Args:
        score: from weights (draws, n) to arrays (draws,) by name; NaN where a sample has none.
        n, groups, draws: as of `draw_weights`.

    Returns:
        [low, high] by name, None where the samples are all alike or few of them have the score.
    """
    blocks = [score(weights) for weights in draw_weights(n, groups, draws=draws)]
    return {name: percentiles(np.concatenate([block[name] for block in blocks])) for name in blocks[0]}


def percentiles(values: np.ndarray) -> list[float] | None:
    """[low, high] that hold 95% of the values, or None where they are all alike or more than half of them NaN."""
    found = values[~np.isnan(values)]
    if len(found) <= len(values) / 2 or found.min() == found.max():
        return None
    return [float(value) for value in np.percentile(found, (2.5, 97.5))]
