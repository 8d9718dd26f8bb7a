"""A jigsaw puzzle: pieces of a picture are put together by the jump in colour where they touch."""

import numpy as np

Place = tuple[int, int]


def cut(picture: np.ndarray, side: int) -> np.ndarray:
    """The pieces (rows, columns, side, side, 3) of a picture whose sides are multiples of `side`."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    return picture.reshape(rows, side, columns, side, 3).swapaxes(1, 2)


def measure_jumps(pieces: np.ndarray) -> np.ndarray:
    """(2, n, n) from pieces (n, side, side, 3): the jump in colour if the second is right of the first, or below it.

    The root mean square difference of the two lines of pixels that touch.
    """
    ends = np.stack([pieces[:, :, -1], pieces[:, -1]]), np.stack([pieces[:, :, 0], pieces[:, 0]])
    last, first = (each.reshape(2, len(pieces), -1).astype("float64") for each in ends)
    squares = (last**2).sum(-1)[:, :, None] + (first**2).sum(-1)[:, None] - 2 * last @ first.swapaxes(1, 2)
    jumps = np.sqrt(np.maximum(squares, 0) / last.shape[-1])
    jumps[:, np.arange(len(pieces)), np.arange(len(pieces))] = np.inf
    return jumps


def solve(jumps: np.ndarray, shape: Place) -> list[dict[int, Place]]:
    """Put pieces together, the surest pair first: that whose jump is smallest compared with the next best.

    Groups that would overlap, or would be higher or wider than the picture, stay apart (Gallagher 2012, "Jigsaw Puzzles
    with Pieces of Unknown Orientation", section 4).

    Args:
        jumps: of `measure_jumps`.
        shape: rows and columns of the picture, in pieces.

    Returns:
        Groups of pieces with their row and column.
    """
    second = np.partition(jumps, 1, axis=2)[:, :, 1:2]
    order = np.argsort((jumps / np.maximum(second, 1e-9)).ravel())
    groups = {piece: {piece: (0, 0)} for piece in range(jumps.shape[1])}
    for axis, first, other in zip(*np.unravel_index(order, jumps.shape), strict=True):
        here, there = groups[first], groups[other]
        if here is there:
            continue
        row, column = np.subtract(np.add(here[first], (axis, 1 - axis)), there[other])
        moved = {piece: (int(place[0] + row), int(place[1] + column)) for piece, place in there.items()}
        merged = here | moved
        spans = np.ptp(list(merged.values()), axis=0) + 1
        if set(here.values()) & set(moved.values()) or (spans > shape).any():
            continue
        groups.update(dict.fromkeys(merged, merged))
        if len(merged) == len(groups):
            break
    return list({id(group): group for group in groups.values()}.values())


def score(groups: list[dict[int, Place]], order: np.ndarray, shape: Place) -> float:
    """The fraction of the pairs of neighbours in the picture that are neighbours in the same way in the groups.

    Args:
        order: (n,), the position in the picture of each shuffled piece.
    """
    right = total = 0
    where = {
        int(order[piece]): (number, place) for number, group in enumerate(groups) for piece, place in group.items()
    }
    for row, column in np.ndindex(*shape):
        for step in ((0, 1), (1, 0)):
            near = row + step[0], column + step[1]
            if near[0] < shape[0] and near[1] < shape[1]:
                group, place = where[row * shape[1] + column]
                right += where[near[0] * shape[1] + near[1]] == (group, (place[0] + step[0], place[1] + step[1]))
                total += 1
    return right / total


def restore(picture: np.ndarray, side: int, seed: int) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Cut a picture, shuffle the pieces and put them together.

    Returns:
        The fraction of neighbours found, the fraction of true neighbours that have the smallest jump of all, the
        picture of the shuffled pieces, and that of the largest group.
    """
    cells = cut(picture, side)
    shape = cells.shape[:2]
    order = np.random.default_rng(seed).permutation(shape[0] * shape[1])
    pieces = cells.reshape(-1, *cells.shape[2:])[order]
    jumps = measure_jumps(pieces)
    groups = solve(jumps, shape)
    at = np.argsort(order).reshape(shape)  # the shuffled piece at each position
    pairs = np.concatenate(
        [(at[:, 1:] == jumps[0].argmin(1)[at[:, :-1]]).ravel(), (at[1:] == jumps[1].argmin(1)[at[:-1]]).ravel()]
    )
    largest = max(groups, key=len)
    low = np.min(list(largest.values()), axis=0)
    canvas = np.full((shape[0] * side, shape[1] * side, 3), 255.0)
    for piece, place in largest.items():
        row, column = np.subtract(place, low) * side
        canvas[row : row + side, column : column + side] = pieces[piece]
    mixed = pieces.reshape(*shape, side, side, 3).swapaxes(1, 2).reshape(picture.shape)
    return score(groups, order, shape), float(pairs.mean()), mixed, canvas
