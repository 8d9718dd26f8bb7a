"""Find the pictures whose features are nearest to those of a query, by exact search, and draw them."""

import os

from PIL import Image, ImageOps
from sklearn.neighbors import NearestNeighbors

from transferkit.data import contact_sheet
from transferkit.data.file_ranges import original_name
from transferkit.data.sources.resolve import as_pictures
from transferkit.features.extraction import extract
from transferkit.features.feature_files import Features, load_features
from transferkit.lookup import as_count, look_up

METRICS = {"cosine": "1 minus the cosine of the angle", "euclidean": "the Euclidean distance"}
CELL = 128  # pixels, size of a picture on the sheet


def find_neighbours(
    features: Features | str | os.PathLike, queries, *, top: int = 5, metric: str = "cosine"
) -> list[dict]:
    """Find the nearest pictures to each query by exhaustive search (scikit-learn's `NearestNeighbors`).

    Args:
        features: to search in, or the path of a file or folder of them.
        queries: pictures, as `runs.Run.predict` takes them; their features are extracted with the same network and
            settings.
        top: number of neighbours; a query is not its own neighbour.
        metric: a key of `METRICS`.

    Returns:
        A dict for each query: `query` (its path, or None for a picture without a file), `neighbours` (dicts of
        path, label and distance, nearest first) and `error` (the reason why the picture cannot be read, or None).

    Raises:
        UnknownName: there is no such metric.
        FileNotFoundError: there are no such features, or a path that is given alone does not exist.
        ValueError: the features are maps, or the weights of their network have changed; or `queries` is something else.

    Example:
        >>> find_neighbours("pets.npz", "tabby.jpg", top=3)[0]["neighbours"][0]["label"]
        'cat'
    """
    look_up(METRICS, metric, "metric")
    as_count(top, "top")
    features = features if isinstance(features, Features) else load_features(features)
    spec = features.spec
    if not len(features):
        raise ValueError("There are no features to search in.")
    if features.features.ndim != 2:
        raise ValueError(f"The features are maps: extract {', '.join(spec.layer)} with another --pool than none.")
    if spec.identity() != features.note["identity"]:
        raise ValueError(f"The weights of {spec.base} have changed since the features were extracted: extract again.")
    pictures = as_pictures(queries, "queries")
    extraction = extract(pictures, spec, description="queries")
    paths = [picture if isinstance(picture, str) else None for picture in pictures]
    positions = {os.path.abspath(path): position for position, path in enumerate(features.paths)}
    search = NearestNeighbors(n_neighbors=min(top + 1, len(features)), metric=metric, algorithm="brute")
    search.fit(features.features)
    results: list[dict] = [
        {"query": query, "neighbours": [], "error": extraction.errors.get(row)} for row, query in enumerate(paths)
    ]
    if len(extraction.rows):
        for row, distances, nearest in zip(extraction.rows, *search.kneighbors(extraction.features), strict=True):
            itself = positions.get(os.path.abspath(paths[row])) if paths[row] else None
            pairs = zip(nearest.tolist(), distances.tolist(), strict=True)
            others = [(position, distance) for position, distance in pairs if position != itself]
            results[row]["neighbours"] = [_describe(features, *pair) for pair in others[:top]]
    return results


def _describe(features: Features, position: int, distance: float) -> dict:
    label = features.labels[position]
    name = features.classes[label] if label >= 0 else None
    return {"path": str(features.paths[position]), "label": name, "distance": round(distance, 6)}


def draw_sheet(results: list[dict]) -> Image.Image:
    """Draw a row for each query: the picture, then its neighbours, with class and distance below each."""
    rows = [
        [
            (_thumbnail(result["query"]), os.path.basename(original_name(result["query"]))),
            *[
                (_thumbnail(near["path"]), f"{near['label'] or ''} at {near['distance']:.3f}".strip())
                for near in result["neighbours"]
            ],
        ]
        for result in results
    ]
    return contact_sheet.draw_grid(rows, CELL, ("query", "nearest"))


def _thumbnail(path: str) -> Image.Image:
    """A picture padded to a square; a grey square if it cannot be read."""
    picture = contact_sheet.load_thumbnail(path, CELL)
    return (
        ImageOps.pad(picture, (CELL, CELL), color="white") if picture else Image.new("RGB", (CELL, CELL), "lightgrey")
    )
