"""Find exact duplicates by content, and near-duplicates by fingerprint.

Two pictures are near-duplicates if their luminances correlate by at least 0.99 and their colours differ by at most 8 of
255 on average; or by 0.95 and 4, if their perceptual hashes differ in at most 8 of 64 bits too. Brighter, smaller and
recompressed copies are, most crops of 2%, and often the next frame of a burst; a mirrored copy, one that is turned, and
one with a caption are mostly not. `docs/benchmarks.md` has the figures.

Candidates are found in a tree over the lowest 27 frequencies. Distances there are never larger than those of whole
fingerprints, so no pair is missed, and no picture is compared with all others.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from transferkit.data.audit.file_scan import GRID, LUMA_SIZE, FileScan

MIN_CORRELATION, MAX_COLOUR_DIFFERENCE = 0.99, 8.0  # which suffice
VOTE_CORRELATION, VOTE_COLOUR_DIFFERENCE, MAX_HASH_DISTANCE = 0.95, 4.0, 8  # which do together
HASH_SIDE = 8  # a hash has 8 x 8 bits
MIN_CONTRAST = 3.0  # standard deviation of luminances; a flatter picture has nothing to be recognised by
TINY = 32  # pixels of the shorter side; smaller pictures are alike by nature
MAX_NEIGHBOURS = 16  # of a picture, so that a thousand frames of one scene stay a thousand lines
CHUNK = 4096
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
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    chunks = [chunk[_are_near(fingerprints, chunk)] for chunk in chunks]
    return [(int(rows[a]), int(rows[b])) for a, b in np.concatenate(chunks)] if chunks else []


def _normalize_luma(fingerprints: np.ndarray) -> np.ndarray:
    """Luminances (n, 256) with mean 0 and length 1, so that brightness and contrast do not count."""
    luma = fingerprints[:, :LUMA_SIZE].astype("float32")
    luma -= luma.mean(1, keepdims=True)
    return luma / np.linalg.norm(luma, axis=1, keepdims=True)


def _cosine_transform(fingerprints: np.ndarray) -> np.ndarray:
    """DCT coefficients (n, 16, 16) of the luminances."""
    from scipy.fft import dctn  # slow to import

    return dctn(_normalize_luma(fingerprints).reshape(-1, GRID, GRID), axes=(1, 2), norm="ortho")


def _low_frequencies(fingerprints: np.ndarray) -> np.ndarray:
    """DCT coefficients (n, 27), float32."""
    rows, columns = zip(*LOW_FREQUENCIES, strict=True)
    coefficients = np.empty((len(fingerprints), len(LOW_FREQUENCIES)), "float32")
    for start in range(0, len(fingerprints), CHUNK):
        coefficients[start : start + CHUNK] = _cosine_transform(fingerprints[start : start + CHUNK])[:, rows, columns]
    return coefficients


def compute_hashes(fingerprints: np.ndarray) -> np.ndarray:
    """The perceptual hashes (n, 64) of fingerprints, bool: which of the lowest frequencies are above their median.

    This is pHash (Zauner 2010, section 3.2.1) as imagehash has it, but of 16 x 16 pixels in place of 32 x 32: they
    have all of its frequencies, so fingerprints need not grow.
    """
    lowest = _cosine_transform(fingerprints)[:, :HASH_SIDE, :HASH_SIDE].reshape(len(fingerprints), -1)
    return lowest > np.median(lowest, axis=1, keepdims=True)


def _find_candidates(points: np.ndarray) -> np.ndarray:
    """Pairs (m, 2), the smaller row first, of each point and its nearest neighbours within reach."""
    from scipy.spatial import cKDTree  # slow to import

    reach = np.sqrt(2 * (1 - VOTE_CORRELATION)) + 1e-6
    count, tree, pairs = min(MAX_NEIGHBOURS, len(points)), cKDTree(points), []
    for start in range(0, len(points), CHUNK):
        _, neighbours = tree.query(points[start : start + CHUNK], k=count, distance_upper_bound=reach, workers=-1)
        rows = np.repeat(np.arange(start, start + len(neighbours)), count)
        neighbours = neighbours.ravel()
        is_pair = (neighbours < len(points)) & (neighbours != rows)  # a missing neighbour is the number of points
        pairs.append(np.sort(np.stack((rows[is_pair], neighbours[is_pair]), 1), 1))
    return np.unique(np.concatenate(pairs), axis=0)


def _are_near(fingerprints: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    a, b = fingerprints[pairs[:, 0]], fingerprints[pairs[:, 1]]
    correlation = (_normalize_luma(a) * _normalize_luma(b)).sum(1)
    colours = np.abs(a[:, LUMA_SIZE:].astype("float32") - b[:, LUMA_SIZE:]).mean(1)
    suffices = (correlation >= MIN_CORRELATION) & (colours <= MAX_COLOUR_DIFFERENCE)
    may_do = np.flatnonzero(~suffices & (correlation >= VOTE_CORRELATION) & (colours <= VOTE_COLOUR_DIFFERENCE))
    if len(may_do):
        distances = (compute_hashes(a[may_do]) != compute_hashes(b[may_do])).sum(1)
        suffices[may_do] = distances <= MAX_HASH_DISTANCE
    return suffices
