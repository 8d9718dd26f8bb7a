"""The pictures whose features are nearest to those of a query: exact, and shown."""

import os
from collections.abc import Sequence

from PIL import Image, ImageOps
from sklearn.neighbors import NearestNeighbors

from transferkit.data import contact_sheet, pillow_reader
from transferkit.data.file_ranges import original_name, read_bytes
from transferkit.features.extraction import extract
from transferkit.features.feature_files import Features
from transferkit.features.spec import identity
from transferkit.lookup import pick

METRICS = {"cosine": "the angle between features", "euclidean": "their distance"}
CELL = 128  # pixels of a picture on the sheet


def neighbours(among: Features, queries: Sequence[str], *, top: int = 5, metric: str = "cosine") -> list[dict]:
    """The nearest pictures to each query, by exhaustive search (scikit-learn's `NearestNeighbors`).

    Args:
        among: features to search in.
        queries: paths of pictures; their features are extracted as those of `among` were.
        top: how many neighbours; a query that is among the pictures is not its own.
        metric: a key of `METRICS`.

    Returns:
        One dict a query: `query`, `neighbours` (dicts of path, label and distance, nearest first) and `error` (None, or
        why the picture could not be read).

    Raises:
        UnknownName: there is no such metric.
        ValueError: the features are maps, or of a network whose weights are others today.
    """
    pick(METRICS, metric, "metric")
    spec = among.spec
    if not len(among):
        raise ValueError("There are no features to search in.")
    if among.features.ndim != 2:
        raise ValueError(f"Maps have no distance: extract {', '.join(spec.layer)} with a --pool that makes vectors.")
    if identity(spec) != among.note["identity"]:
        raise ValueError(f"{spec.base} has other weights than when the features were extracted: extract them again.")
    found = extract(list(queries), spec, what="queries")
    places = {path: place for place, path in enumerate(map(_place, among.paths))}
    search = NearestNeighbors(n_neighbors=min(top + 1, len(among)), metric=metric, algorithm="brute")
    search.fit(among.features)
    answers = [{"query": query, "neighbours": [], "error": found.errors.get(row)} for row, query in enumerate(queries)]
    if len(found.rows):
        for row, far, near in zip(found.rows, *search.kneighbors(found.features), strict=True):
            itself = places.get(_place(queries[row]))
            pairs = [
                (int(place), float(distance)) for place, distance in zip(near, far, strict=True) if place != itself
            ]
            answers[row]["neighbours"] = [_told(among, place, distance) for place, distance in pairs[:top]]
    return answers


def _place(path: str) -> str:
    return os.path.abspath(path)


def _told(among: Features, place: int, distance: float) -> dict:
    label = among.classes[among.labels[place]] if among.labels[place] >= 0 else None
    return {"path": str(among.paths[place]), "label": label, "distance": round(distance, 6)}


def sheet(answers: list[dict]) -> Image.Image:
    """A row a query: the picture, then its neighbours, with class and distance below each."""
    rows = [
        [
            (_thumbnail(answer["query"]), os.path.basename(original_name(answer["query"]))),
            *[
                (_thumbnail(one["path"]), f"{one['label'] or ''} at {one['distance']:.3f}".strip())
                for one in answer["neighbours"]
            ],
        ]
        for answer in answers
    ]
    return contact_sheet.draw_grid(rows, CELL, ("query", "nearest"))


def _thumbnail(path: str) -> Image.Image:
    """A picture within a square; grey where it cannot be read."""
    try:
        return ImageOps.pad(pillow_reader.make_thumbnail(read_bytes(path), CELL), (CELL, CELL), color="white")
    except Exception:  # whatever Pillow raises on damaged files
        return Image.new("RGB", (CELL, CELL), "lightgrey")
