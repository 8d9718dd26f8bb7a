"""Lay one small grey picture over another, and measure where they still differ and how far it had to be moved.

The second is predicted from the first by an affine motion, a gain and an offset, in Gauss-Newton steps from no motion
(Lucas and Kanade 1981, section 4.3; Baker and Matthews 2004, section 2 for affine motions and section 3 for gain and
offset). So a crop, a small turn and another brightness do not count, and something else in one place does.
"""

import numpy as np

RIDGE = 0.01  # on pixels of variance 1: what the picture does not determine, as motion along its stripes, is small
MIN_GAIN, MIN_CONTRAST = 0.2, 0.02
BLOCKS = 8  # differences are averaged over 8 x 8 blocks, which noise and compression do not change


def compare_aligned(first: np.ndarray, second: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare pictures in pairs, after the first of each was moved onto the second.

    Args:
        first, second: (n, side, side) float32 with mean 0 and a variance of about 1; `side` is a multiple of 8.
        steps: Gauss-Newton steps, one or more.

    Returns:
        The largest difference of a block (n,), in standard deviations of the second picture without its border, and the
        largest motion of a pixel (n,), in pixels.
    """
    count, side = len(first), first.shape[1]
    first, second = first.reshape(count, side * side), second.reshape(count, side * side)
    places = np.linspace(-1, 1, side, dtype="float32")
    affine = np.stack([np.ones(side * side, "float32"), np.tile(places, side), np.repeat(places, side)], 1)
    motion = np.zeros(
        (count, 2, 3), "float32"
    )  # across and down: of the centre, growing to the right, growing downwards
    for _ in range(steps):
        moved, inside = _move(first, motion @ affine.T)
        down, across = (
            one.reshape(count, side * side, 1) for one in np.gradient(moved.reshape(-1, side, side), axis=(1, 2))
        )
        columns = (across * affine, down * affine, moved[..., None], np.ones_like(across))
        design = np.concatenate(columns, 2) * inside[..., None]
        transposed = design.transpose(0, 2, 1)
        squares = (transposed @ design).astype("float64") + RIDGE * np.eye(8)
        weights = np.linalg.solve(squares, (transposed @ second[..., None]).astype("float64")).astype("float32")
        step = weights[:, :6] / np.maximum(weights[:, 6:7], MIN_GAIN)
        motion += np.clip(step, -1, 1).reshape(motion.shape)
    difference = inside * second - (design @ weights)[..., 0]
    blocks = difference.reshape(count, BLOCKS, side // BLOCKS, BLOCKS, side // BLOCKS).mean((2, 4))
    contrast = np.maximum(second.std(1, where=inside), MIN_CONTRAST)  # without a frame's, which would hide differences
    return np.abs(blocks).max((1, 2)) / contrast, np.linalg.norm(motion @ affine.T, axis=1).max(1)


def _move(pictures: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (n, side * side) that lie at a motion (n, 2, side * side), and which are known: not at the border."""
    side = round(pictures.shape[1] ** 0.5)
    at = np.arange(side * side) % side, np.arange(side * side) // side
    across, down = at[0] + motion[:, 0], at[1] + motion[:, 1]
    inside = (np.minimum(across, down) >= 0) & (np.maximum(across, down) <= side - 1)
    inside &= (np.minimum(*at) >= 1) & (np.maximum(*at) <= side - 2)
    left, top = (np.clip(place, 0, side - 1.001) for place in (across, down))
    column, row = left.astype(int), top.astype(int)
    right_part, lower_part = (left - column).astype("float32"), (top - row).astype("float32")
    corner = row * side + column
    upper, lower = (
        np.take_along_axis(pictures, corner + shift, 1) * (1 - right_part)
        + np.take_along_axis(pictures, corner + shift + 1, 1) * right_part
        for shift in (0, side)
    )
    return upper * (1 - lower_part) + lower * lower_part, inside
