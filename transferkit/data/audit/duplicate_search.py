"""Find exact duplicates by content, and near-duplicates by fingerprint.

Two pictures are near-duplicates if one, moved by at most one pixel of 16 x 16, nowhere differs much from the other in
luminance, whatever their brightness and contrast, and their colours differ by at most 8 of 255 on average. Brighter,
smaller and recompressed copies are, most crops of 2%, half of those that are turned by 2 degrees, and often the next
frame of a burst; a mirrored copy and one with a caption are mostly not. `docs/benchmarks.md` has the figures.

Candidates are close in the lowest 27 frequencies. All pairs are compared in them by products of matrices, which is ten
times as fast as a tree (`cKDTree`) for 40,000 pictures, as trees do not help in 27 dimensions.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from transferkit.data.audit.alignment import compare_aligned
from transferkit.data.audit.file_scan import GRID, LUMA_SIZE, FileScan

FAST, EXACT = (8, 1, 0.5), (GRID, 3, 0.33)  # side, steps, and the largest difference after them; few pass the fast one
MAX_MOTION = 1.0  # pixels of that side
MAX_COLOUR_DIFFERENCE = 8.0  # of 255, mean
REACH = 0.55  # distance of candidates in low frequencies: what is turned by 2 degrees is mostly within it
MIN_CONTRAST = 3.0  # standard deviation of luminances; a flatter picture has nothing to be recognised by
TINY = 32  # pixels of the shorter side; smaller pictures are alike by nature
MAX_NEIGHBOURS = 16  # of a picture, so that a thousand frames of one scene stay a thousand lines
CHUNK = 4096  # fingerprints transformed at a time
BLOCK = 2**23  # distances computed at a time, in 32 MB
PAIRS = 1024  # aligned at a time, in some 50 MB
LOW_FREQUENCIES = [(u, v) for u in range(7) for v in range(7) if 0 < u + v <= 6]


def find_exact_duplicates(scans: Sequence[FileScan]) -> Iterator[list[int]]:
    """Groups of two or more rows with equal bytes, each in order."""
    groups: dict[bytes, list[int]] = {}
    for row, scan in enumerate(scans):
        if scan.digest:
            groups.setdefault(scan.digest, []).append(row)
    return (group for group in groups.values() if len(group) > 1)


def find_near_duplicates(scans: Sequence[FileScan]) -> list[tuple[int, int]]:
    """Pairs (earlier row, later row) of near-duplicates; of exact duplicates, only the first is compared."""
    first_rows: dict[bytes, int] = {}
    for row, scan in enumerate(scans):
        if scan.fingerprint and scan.shorter_side >= TINY:
            first_rows.setdefault(scan.digest, row)
    rows = np.array(list(first_rows.values()), int)
    if len(rows) < 2:
        return []
    joined = b"".join(scans[row].fingerprint for row in rows)
    fingerprints = np.frombuffer(joined, np.uint8).reshape(len(rows), -1)
    has_contrast = fingerprints[:, :LUMA_SIZE].std(1) >= MIN_CONTRAST
    rows, fingerprints = rows[has_contrast], fingerprints[has_contrast]
    if len(rows) < 2:
        return []
    pairs = _find_candidates(_low_frequencies(fingerprints))
    chunks = (pairs[start : start + PAIRS] for start in range(0, len(pairs), PAIRS))
    return [(int(rows[a]), int(rows[b])) for chunk in chunks for a, b in chunk[_are_near(fingerprints, chunk)]]


def _normalize_luma(fingerprints: np.ndarray) -> np.ndarray:
    """Luminances (n, 256) with mean 0 and length 1, so that brightness and contrast do not count."""
    luma = fingerprints[:, :LUMA_SIZE].astype("float32")
    luma -= luma.mean(1, keepdims=True)
    return luma / np.linalg.norm(luma, axis=1, keepdims=True)


def _low_frequencies(fingerprints: np.ndarray) -> np.ndarray:
    """DCT coefficients (n, 27), float32."""
    from scipy.fft import dctn  # slow to import

    rows, columns = zip(*LOW_FREQUENCIES, strict=True)
    coefficients = np.empty((len(fingerprints), len(LOW_FREQUENCIES)), "float32")
    for start in range(0, len(fingerprints), CHUNK):
        luma = _normalize_luma(fingerprints[start : start + CHUNK]).reshape(-1, GRID, GRID)
        coefficients[start : start + CHUNK] = dctn(luma, axes=(1, 2), norm="ortho")[:, rows, columns]
    return coefficients


def _find_candidates(points: np.ndarray) -> np.ndarray:
    """Pairs (m, 2), the smaller row first, of each point and the nearest within reach of the points after it."""
    lengths, ones = np.square(points).sum(1), np.ones(len(points), "float32")
    left, right = np.column_stack((-2 * points, lengths, ones)), np.column_stack((points, ones, lengths))
    pairs, size = [], max(1, BLOCK // len(points))
    for start in range(0, len(points), size):
        distances = left[start : start + size] @ right[start:].T  # squared: |a|^2 - 2ab + |b|^2
        found = np.flatnonzero(distances <= REACH**2)
        rows, others = np.divmod(found, distances.shape[1])
        is_later = others > rows
        rows, others, near = rows[is_later], others[is_later], distances.ravel()[found[is_later]]
        order = np.lexsort((near, rows))
        rows, others = rows[order], others[order]
        is_nearest = np.arange(len(rows)) - np.searchsorted(rows, rows) < MAX_NEIGHBOURS
        pairs.append(start + np.stack((rows, others), 1)[is_nearest])
    return np.concatenate(pairs)


def _are_near(fingerprints: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    a, b = fingerprints[pairs[:, 0]], fingerprints[pairs[:, 1]]
    is_near = np.abs(a[:, LUMA_SIZE:].astype("float32") - b[:, LUMA_SIZE:]).mean(1) <= MAX_COLOUR_DIFFERENCE
    for side, steps, most in (FAST, EXACT, EXACT):
        difference, motion = compare_aligned(_shrink(a[is_near], side), _shrink(b[is_near], side), steps)
        is_near[is_near] = (difference <= most) & (motion <= MAX_MOTION)
        a, b = b, a  # a frame with nothing in it explains no picture, but many pictures explain the frame
    return is_near


def _shrink(fingerprints: np.ndarray, side: int) -> np.ndarray:
    """Luminances (n, side, side); those of GRID x GRID have mean 0 and variance 1."""
    luma = GRID * _normalize_luma(fingerprints)
    return luma.reshape(-1, side, GRID // side, side, GRID // side).mean((2, 4))
