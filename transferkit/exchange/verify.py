"""Check that pictures reach a network as the reference has it, and that its file needs Keras alone."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from transferkit import atomic, models
from transferkit.data import pipeline
from transferkit.data.sources import resolve
from transferkit.data.sources.picture_values import are_paths, write_pngs
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.predict import predict_outputs, require_classifier
from transferkit.exchange import reference
from transferkit.exchange.check_pictures import list_held_out
from transferkit.exchange.other_process import run_script
from transferkit.lookup import as_text
from transferkit.network import Network
from transferkit.pixels import Pixels

PICTURES = 64  # by default
VERIFICATION = "verification.json"  # of a run
MOST_DIFFERENT = 0.05  # of a probability: large JPEGs are decoded at a smaller scale than the reference does


@dataclass(frozen=True)
class Verification:
    """How a network's answers differ from those of Pillow and plain Keras in a process without transferkit.

    Attributes:
        pictures: how many were compared.
        pixel_difference: the mean absolute difference of their views, of 255.
        largest_pixel_difference: of one value.
        logit_difference: the largest, divided by the standard deviation of the reference's logits.
        probability_difference: the largest.
        agreement: the fraction of the pictures that get the same class.
    """

    pictures: int
    pixel_difference: float
    largest_pixel_difference: int
    logit_difference: float
    probability_difference: float
    agreement: float

    @property
    def is_right(self) -> bool:
        """Whether no probability differs much."""
        return self.probability_difference <= MOST_DIFFERENT

    def to_dict(self) -> dict:
        return asdict(self) | {"right": self.is_right}


def verify(base: str | os.PathLike, data=None, *, weights: str = "imagenet", pictures: int = PICTURES) -> Verification:
    """Compare the answers of a network with those of an independent reference, from files to logits.

    The reference (`exchange/reference.py`) decodes and resizes with Pillow as torchvision does, and runs the `.keras`
    file with Keras, in a process that does not import transferkit.

    Args:
        base: a run folder, a network's name, or a Keras model's file.
        data: pictures: what `--data` takes, or a list of paths; by default those that a run held out, or
            scikit-learn's two photographs.
        weights: of a network's name, see `models.create`.
        pictures: how many are compared at most.

    Returns:
        The differences; those of a run are written to its `verification.json` too.

    Raises:
        ValueError: a picture cannot be read by Pillow, or the file does not load.

    Example:
        >>> verify("runs/pets").probability_difference  # doctest: +SKIP
        0.003
    """
    base = as_text(base, "base")
    network = models.load(base, weights)
    require_classifier(network)
    with tempfile.TemporaryDirectory(prefix="transferkit-") as folder:
        paths = _list_paths(base, data, Path(folder))[:pictures]
        model = Path(base, "model.keras")
        if not model.is_file():
            model = Path(folder, "model.keras")
            models.save(network, model)
        found = compare(network, paths, *_answer_elsewhere(model, network.pixels, paths, Path(folder)))
    if Path(base, "recipe.toml").is_file():
        atomic.write(Path(base, VERIFICATION), found.to_dict())
    return found


def _list_paths(base: str, data, folder: Path) -> list[str]:
    """The paths of the pictures; arrays and sample photographs are written to the folder."""
    if data is None and (held_out := list_held_out(base)) is not None:
        return list(held_out.paths)
    if data is None:
        from sklearn.datasets import load_sample_images

        return write_pngs(folder, load_sample_images().images)
    pictures = resolve.as_pictures(data, "data")
    return pictures if are_paths(pictures) else write_pngs(folder, pictures)


def _answer_elsewhere(model: Path, pixels: Pixels, paths: list[str], folder: Path):
    """The reference's views and logits."""
    request = {
        "paths": paths,
        "size": pixels.shape,
        "resize": pixels.uncropped,
        "fit": pixels.fit,
        "interpolation": pixels.interpolation,
        "channels": pixels.channels,
        "background": pixels.background,
    }
    given, written = folder / "request.json", folder / "answers.npz"
    given.write_text(json.dumps(request), "utf-8")
    try:
        run_script(reference.__file__, str(model), str(given), str(written))
    except ValueError as error:
        raise ValueError(f"The reference could not be computed: {error}") from None
    with np.load(written) as found:
        return found["views"], found["logits"]


def compare(network: Network, paths: list[str], views: np.ndarray, logits: np.ndarray) -> Verification:
    """Compare the product's views and logits with a reference's.

    Args:
        views, logits: of the reference, (n, height, width, channels) and (n, classes), a row for each path.

    Raises:
        ValueError: the product cannot read a picture that the reference reads.
    """
    own_logits, rows = predict_outputs(network.model, paths, network.pixels)
    own_views = np.concatenate(
        [batch.numpy() for batch, _ in pipeline.evaluation_dataset(paths, network.pixels, batch_size=16)]
    )
    if len(rows) != len(paths):
        raise ValueError(f"{len(paths) - len(rows)} of the pictures cannot be read here, but the reference reads them.")
    apart = np.abs(own_views.astype("int16") - views)
    own, expected = (to_probabilities(each, network.temperature) for each in (own_logits, logits))
    return Verification(
        pictures=len(paths),
        pixel_difference=float(apart.mean()),
        largest_pixel_difference=int(apart.max()),
        logit_difference=float(np.abs(own_logits - logits).max() / max(float(logits.std()), 1e-9)),
        probability_difference=float(np.abs(own - expected).max()),
        agreement=float((own_logits.argmax(1) == logits.argmax(1)).mean()),
    )
