"""`MODEL_CARD.md`: what a trained network is for, with the front matter that Hugging Face reads.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting", as far as a run knows them.
"""

import hashlib
import json
import re
from contextlib import closing
from pathlib import Path

from transferkit import atomic, hub, model_note, pages, recipe_files
from transferkit.data.audit.scan import file_key, load_scans, open_store
from transferkit.lookup import count_noun
from transferkit.report import sentences
from transferkit.report.page import list_classes
from transferkit.runs import Run
from transferkit.weights.catalogue import find_weight_set, is_path

FILE = "MODEL_CARD.md"
LICENCES = ("apache-2.0", "bsd-3-clause", "mit", "cc-by-4.0", "cc-by-nc-4.0")  # spelled as Hugging Face does
FEW_EVALUATED, FEW_IN_CLASS, UNEQUAL = 200, 30, 3  # pictures, pictures, and how many times the smallest class
FITS = {"crop": ", crop_to_aspect_ratio=True", "squash": "", "pad": ", pad_to_aspect_ratio=True"}  # of Keras' resize
SEPARATOR = re.compile(r"[/\\]")  # of folders
CHAIN = 10  # runs that were each the base of the next


def write_model_card(run: Run) -> Path:
    """Write the card of a finished run into its folder.

    Raises:
        FileNotFoundError: the run is not finished.
    """
    path = run.folder / FILE
    atomic.write(path, render_card(run, run.folder.resolve().name))
    return path


def render_card(run: Run, name: str, hub_name: str = "") -> str:
    """The card of a finished run, which names no path.

    Args:
        name: of the network.
        hub_name: `hf://USER/NAME`, for a card on the Hub.

    Raises:
        FileNotFoundError: the run is not finished.
    """
    figures = run.metrics
    base, weights = find_base(run)
    licence = find_licence(base, weights)
    counts = {name: part.counts() for name, part in run.splits.items()}
    content = {
        "name": name,
        "hub_name": hub_name,
        "quote": lambda text: json.dumps(text, ensure_ascii=False),  # a JSON string is a YAML string too
        "data": Path(run.recipe.data.data or "own pictures").name,
        "figures": figures,
        "pictures": sentences.describe_pictures(figures),
        "comparison": sentences.describe_comparison(figures),
        "base": without_folders(base),
        "weights": without_folders(weights),
        "base_model": find_base_model(run),
        "licence": licence if licence in LICENCES or not licence else "other",
        "licence_text": licence,
        "per_class": [(_plain(name), row) for name, row in list_classes(figures)],
        "classes": [_plain(name) for name in run.classes],
        "split": {name: sum(part.values()) for name, part in counts.items()},
        "digest": digest_data([path for _, part in run.splits.items() for path in part.paths]),
        "limits": list_limits(figures, counts["train"]),
        "use": _describe_use(run),
    }
    return pages.render("model_card.md", **content)


def _describe_use(run: Run) -> dict:
    """How lines of plain Keras prepare a picture, by the note in `model.keras`; {} without a network, as of folds."""
    path = run.folder / "model.keras"
    note = model_note.read_note(path) if path.is_file() else None
    if note is None:
        return {}
    pixels = note["pixels"]
    return {
        "size": pixels.shape,
        "resize": f'interpolation="{pixels.interpolation}", antialias=True{FITS[pixels.fit]}',
        "color_mode": {1: "grayscale", 3: "rgb", 4: "rgba"}[pixels.channels],
        "temperature": note["temperature"],
    }


def find_base(run: Run) -> tuple[str, str]:
    """The network and the weights that a run began with; of a run that continues others, those of the first."""
    recipe = run.recipe
    for _ in range(CHAIN):
        base = recipe.model.base
        folder = hub.find_here(base) if hub.is_hub(base) else Path(base)
        if folder is None or not (folder / "recipe.toml").is_file():
            break
        recipe = recipe_files.load(folder / "recipe.toml")
    return recipe.model.base, recipe.model.weights


def find_base_model(run: Run) -> str:
    """The repository on the Hub that a run's network or its weights came from, as `timm/resnet34.a1_in1k`, or ""."""
    base, weights = run.recipe.model.base, run.recipe.model.weights
    if hub.is_hub(base):
        return hub.parse(base)[0]
    base, weights = find_base(run)
    if weights == "none" or is_path(weights):
        return ""
    try:
        found = hub.ADDRESS.match(find_weight_set(base, weights).url or "")
    except ValueError:  # a file, a Keras model, a network without public weights
        return ""
    return found[1] if found else ""


def without_folders(name: str) -> str:
    """The name of a network or of weights; of a path without its folders.

    Example:
        >>> without_folders("resnet34 (/home/ada/best.pth)"), without_folders("hf://ada/pets")
        ('resnet34 (best.pth)', 'hf://ada/pets')
    """
    if hub.is_hub(name):
        return name
    network, bracket, source = name.rstrip("/\\").partition(" (")
    if bracket and SEPARATOR.search(network):  # of a path with a bracket in it
        network, bracket, source = network + bracket + source, "", ""
    return SEPARATOR.split(network)[-1] + bracket + SEPARATOR.split(source)[-1]


def find_licence(base: str, weights: str) -> str:
    """The licence of public weights, as their source states it; "" for one's own, fresh or unknown ones."""
    if weights == "none" or is_path(weights):
        return ""
    try:
        return find_weight_set(base, weights).licence
    except ValueError:  # a file, a Keras model, a network without public weights
        return ""


def digest_data(paths: list[str]) -> str:
    """SHA-256 over the sorted SHA-1 digests of the pictures, in hexadecimal, whatever their names and order.

    Only the scans in the cache are read, no picture. "" if one is missing, because it changed or is gone.
    """
    store = open_store()
    if store is None:
        return ""
    with closing(store):
        scans = list(load_scans(store, [file_key(path) for path in paths]))
    if not all(scans):
        return ""
    return hashlib.sha256(b"".join(sorted(scan.digest for scan in scans if scan))).hexdigest()


def list_limits(figures: dict, train: dict[str, int]) -> list[str]:
    """What the figures do not say, a sentence each.

    Args:
        figures: as in `metrics.json`.
        train: training pictures of each class.
    """
    found = ["It was not tested on pictures from other cameras, places or times than those of its data."]
    if figures["split"] == "val":
        found.append(
            "It was measured on validation pictures, which also made choices in training; there were no test pictures."
        )
    if figures["n"] < FEW_EVALUATED:
        found.append(f"It was measured on {count_noun(figures['n'], 'picture')} only: mind the interval.")
    present = {name: count for name, count in train.items() if count}
    smallest, largest = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
    if present[smallest] < FEW_IN_CLASS:
        found.append(f"Class {_plain(smallest)} has {count_noun(present[smallest], 'training picture')} only.")
    if present[largest] > UNEQUAL * present[smallest]:
        found.append(
            f"Classes are unequal: {_plain(largest)} has {count_noun(present[largest], 'training picture')}, "
            f"{_plain(smallest)} "
            f"{present[smallest]:,}."
        )
    worst, row = min(list_classes(figures), key=lambda item: item[1]["recall"])
    if row["recall"] < 1:
        pictures = f"{row['n']:,} picture{'s' * (row['n'] != 1)}"
        found.append(f"The lowest recall is that of {_plain(worst)}: {row['recall']:.1%} of {pictures}.")
    return [*found, "A picture of none of its classes gets one of them nevertheless."]


def _plain(name: str) -> str:
    """A class name without what Markdown or HTML would read as more than text."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#|!" else c for c in " ".join(name.split()))
