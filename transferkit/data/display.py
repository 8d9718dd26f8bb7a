"""How listings and runs are shown: a short text, and in notebooks HTML in the notebook's own colours."""

import base64
import html
import io
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from transferkit.data.file_ranges import original_name

if TYPE_CHECKING:
    from transferkit.data.listing import Listing

THUMBNAIL_SIZE = 64  # pixels, longer side
THUMBNAILS, MAX_BYTES = 60, 120_000  # in all
PER_CLASS = 5
CLASSES_IN_TEXT, MAX_NAME = 6, 30  # of a short text, and letters of each name
MAX_CLASSES = 20  # rows of a table
FIGURE_WIDTH = 700  # pixels
MAX_FIGURE = 50_000  # bytes of a figure; a larger one is left to its file
SHOWN_METRICS = ("balanced_accuracy", "top5", "loss", "ece", "unreadable", "seconds")


def describe_listing(listing: "Listing") -> str:
    """ "180 pictures of 6 classes (fabric 30, metal 30, ...)", with the first classes."""
    count, classes = len(listing), listing.counts()
    pictures = f"{count:,} picture{'s' * (count != 1)}"
    if not classes:
        return pictures
    shown = [f"{_shorten(name)} {count:,}" for name, count in islice(classes.items(), CLASSES_IN_TEXT)]
    shown += ["..."] * (len(classes) > CLASSES_IN_TEXT)
    return f"{pictures} of {len(classes):,} class{'es' * (len(classes) != 1)} ({', '.join(shown)})"


def listing_html(listing: "Listing") -> str:
    """A row for each class: its name, its number of pictures, and a few of them."""
    from transferkit.data.audit.html_page import thumbnail_uri  # it imports the listing

    counts = list(listing.counts().items())
    shown = counts[:MAX_CLASSES]
    each = min(PER_CLASS, max(1, THUMBNAILS // max(1, len(shown))))
    labels, rows, size = np.array(listing.labels, int), [], 0
    for label, (name, count) in enumerate(shown):
        pictures = ""
        for row in np.flatnonzero(labels == label)[:each]:
            path = listing.paths[row]
            uri = thumbnail_uri(path, THUMBNAIL_SIZE) if size < MAX_BYTES else ""
            size += len(uri)
            if uri:
                pictures += f'<img src="{uri}" alt="{_text(name)}" title="{_text(original_name(path))}" {_MARGIN}>'
        rows.append((_text(name), f"{count:,}", pictures))
    return _title(describe_listing(listing)) + _table(("class", "pictures", ""), rows) + _rest(len(counts), "classes")


def splits_html(counts: Mapping[str, Mapping[str, int]], title: str) -> str:
    """A table of the pictures of each class in each split.

    Args:
        counts: {split: {class: pictures}}.
    """
    names = list(next(iter(counts.values())))
    rows = [(_text(name), *(f"{part[name]:,}" for part in counts.values())) for name in names[:MAX_CLASSES]]
    rows.append(("all", *(f"{sum(part.values()):,}" for part in counts.values())))
    return _title(title) + _table(("class", *counts), rows) + _rest(len(names), "classes")


def run_html(folder: str, headline: str, metrics: Mapping, plots: Mapping[str, Path]) -> str:
    """The folder, the accuracy and the figures of a run, and those of its plots that exist.

    Args:
        metrics: of `metrics.json`; those of `SHOWN_METRICS` are shown under the same names.
        plots: the PNG of each name.
    """
    values = [(name, metrics[name]) for name in SHOWN_METRICS if isinstance(metrics.get(name), (int, float))]
    rows = [(name, f"{value:,.4g}") for name, value in values]
    images = _table(("", ""), rows) if rows else ""
    for name, path in plots.items():
        if uri := _figure_uri(path):
            images += f'<div><img src="{uri}" alt="{name} of the run" style="max-width: 100%"></div>'
    return _title(f"{folder}: {headline}") + images


_CELL = 'style="text-align: left; vertical-align: middle; padding: 2px 12px 2px 0"'
_MARGIN = 'style="display: inline; margin: 0 4px 0 0"'


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."


def _title(text: str) -> str:
    return f"<p>{_text(text.removeprefix('<').removesuffix('>'))}</p>"


def _table(columns, rows) -> str:
    head = "".join(f"<th {_CELL}>{name}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td {_CELL}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _rest(count: int, what: str) -> str:
    return f"<p>and {count - MAX_CLASSES:,} more {what}</p>" if count > MAX_CLASSES else ""


def _figure_uri(path: Path) -> str:
    """A plot as a small PNG in a data URI; "" if it cannot be read, or stays too large."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            small = image.convert("RGB")
            small.thumbnail((FIGURE_WIDTH, FIGURE_WIDTH))
    except Exception:  # Pillow raises nearly anything on damaged files
        return ""
    file = io.BytesIO()
    small.quantize(64).save(file, "PNG", optimize=True)  # plots have few colours
    data = base64.b64encode(file.getvalue()).decode()
    return f"data:image/png;base64,{data}" if len(data) <= MAX_FIGURE else ""


def _text(text: str) -> str:
    """Escape any name; a byte that is not text becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode())
