"""Save a scikit-learn pipeline from pictures to labels with skops, and load it without running code from the file.

The file has the settings of the `FeatureExtractor` and the digest of its network and weights, but not the network.
Other weights under the same name are refused, and so are files of features of another network.
"""

import json
import os
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline
from skops import io

from transferkit import __version__, atomic, untrusted_files, versions
from transferkit.console import warn
from transferkit.features.extraction import extract
from transferkit.features.extractor import FeatureExtractor
from transferkit.features.feature_files import Features
from transferkit.features.feature_spec import find_differences
from transferkit.lookup import first_line, quote

NOTE, FORMAT = "transferkit.json", 1  # the extra member of a file, with the version that wrote it
TRUSTED = ["transferkit.FeatureExtractor", "transferkit.FineTuner"]  # public names, as modules may move
MODULES_OF_0_1 = ("transferkit.features.extractor", "transferkit.training.classifier")

MAX_COMPRESSION, UNPACKED_BYTES = 20, 2**26  # a file may unpack to 20 times its size, plus these bytes
FITTED_ATTRIBUTES: dict[str, dict[str, type]] = {
    "FeatureExtractor": {"identity_": str},
    "FineTuner": {"classes_": np.ndarray, "metrics_": dict, "_saved": bytes},
}


def save_pipeline(pipeline: Pipeline, path: str | os.PathLike):
    """Save a fitted pipeline; if that fails, the previous file is kept.

    Raises:
        OSError: the file could not be written.
    """

    def write_to(partial):
        io.dump(pipeline, partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(NOTE, json.dumps({"format": FORMAT, versions.VERSION: __version__}))

    atomic.write(path, write_to)


def load_pipeline(path: str | os.PathLike):
    """Load a fitted pipeline or estimator of scikit-learn, or a `FineTuner`.

    No pickle is run, and only types of NumPy, SciPy, scikit-learn and the two estimators of transferkit are created.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, a newer transferkit wrote it, or it contains another type, which the message
            names.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: expected a file that `transferkit probe --out` wrote.")
    with versions.reading(path, _read_note(path), FORMAT):
        return _load(path)


def _read_note(path: Path) -> dict:
    """Which version wrote a file; {} where that is not known, as of earlier versions and damaged files."""
    with suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return untrusted_files.from_json(untrusted_files.member(archive, NOTE, most=1000))
    return {}


def _load(path: Path):
    try:
        untrusted_files.check_unpacked(path, MAX_COMPRESSION, UNPACKED_BYTES)
        data = _with_public_names(path.read_bytes())
        untrusted = sorted(set(io.get_untrusted_types(data=data)) - set(TRUSTED))
        if not untrusted:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                pipeline = io.loads(data, trusted=TRUSTED)
                _check_attributes(pipeline)
    except Exception as error:  # whatever zipfile, json and skops raise on a damaged file
        reason = first_line(error)
        raise ValueError(f"{path} cannot be read: {reason}.") from error
    if untrusted:
        raise ValueError(
            f"{path} is not loaded: it contains {untrusted[0]}, which is not a type of scikit-learn or transferkit."
        )
    for message in dict.fromkeys(first_line(str(warning.message)) for warning in caught):
        warn(f"{path}: {message}")  # another version of scikit-learn wrote it
    return pipeline


def _with_public_names(data: bytes) -> bytes:
    """Replace the module names that version 0.1 wrote for our classes; other files are not changed."""

    def public(node: dict) -> dict:
        return node | {"__module__": "transferkit"} if node.get("__module__") in MODULES_OF_0_1 else node

    with zipfile.ZipFile(BytesIO(data)) as old:
        schema = old.read("schema.json")
        if not any(name.encode() in schema for name in MODULES_OF_0_1):
            return data
        result = BytesIO()
        with zipfile.ZipFile(result, "w") as new:
            for member in old.namelist():
                renamed = json.dumps(json.loads(schema, object_hook=public))
                new.writestr(member, renamed if member == "schema.json" else old.read(member))
    return result.getvalue()


def _check_attributes(pipeline):
    """Raise `ValueError` if an estimator of ours has an attribute we never set: it might replace a method."""
    steps = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
    for step in steps:
        name = type(step).__name__
        if f"{type(step).__module__}.{name}" not in TRUSTED:
            continue
        attributes, fitted = vars(step), FITTED_ATTRIBUTES[name]
        unknown = sorted(set(attributes) - set(fitted) - set(step.get_params(deep=False)))
        if unknown:
            raise ValueError(f"its {name} has an unknown attribute {quote(unknown[0])}")
        for attribute, expected in (fitted | {"base": str, "weights": str}).items():
            if attribute in attributes and not isinstance(attributes[attribute], expected):
                raise ValueError(f"the {attribute} of its {name} is of type {type(attributes[attribute]).__name__}")
        if name == "FeatureExtractor":
            step.spec()


def classify_pictures(pipeline: Pipeline, paths: Sequence[str], *, top: int | None = 5) -> list[dict]:
    """Classify pictures with a fitted pipeline or `FineTuner`.

    Args:
        paths: of pictures.
        top: number of classes in `top` of each prediction; None for all.

    Returns:
        What `evaluation.predict.predict` returns; probabilities are None if the classifier has none.

    Raises:
        ValueError: the pipeline does not classify pictures.

    Example:
        >>> classify_pictures(load_pipeline("pets.skops"), ["tabby.jpg"])[0]["label"]
        'cat'
    """
    if network := getattr(pipeline, "network_", None):  # of a fitted FineTuner
        from transferkit.evaluation.predict import predict  # loads Keras, which a pipeline may not need

        return predict(network, paths, top=top)
    extractor, paths = _check_pipeline(pipeline)[0], [str(path) for path in paths]
    extraction = extract(paths, extractor.fitted_spec(), cache=extractor.cache)
    unread = {row: _prediction(path, None, extraction.errors.get(row)) for row, path in enumerate(paths)}
    readable = [paths[row] for row in extraction.rows]
    predictions = classify_features(pipeline, extraction.features, readable, top=top)
    return list((unread | dict(zip(extraction.rows.tolist(), predictions, strict=True))).values())


def classify_feature_file(pipeline: Pipeline, features: Features, *, top: int | None = 5) -> list[dict]:
    """Do `classify_pictures` for features that `load_features` read.

    Raises:
        ValueError: the classifier was fitted to other features.
    """
    extractor = _check_pipeline(pipeline)[0]
    if differences := find_differences(features.note, extractor.fitted_spec().to_dict()):
        raise ValueError(
            f"These features differ in {differences} from those that the classifier was fitted to, which are of "
            f"{extractor.base}: extract them with its settings, or give the pictures."
        )
    return classify_features(pipeline, features.features, features.paths, top=top)


def classify_features(
    pipeline: Pipeline, features: np.ndarray, paths: Sequence[str] | np.ndarray, *, top: int | None
) -> list[dict]:
    """Predict a class for each row of features (n, width)."""
    if not len(features):
        return []
    classes = [str(name) for name in pipeline.classes_]
    try:
        probabilities, scores = _compute_scores(pipeline[1:], features)
    except Exception as error:  # whatever scikit-learn and NumPy raise on a file that was manipulated
        raise ValueError(f"The classifier is damaged: {first_line(error)}.") from error
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    ranked = [
        [[classes[i], None if probabilities is None else round(float(probabilities[row, i]), 6)] for i in order]
        for row, order in enumerate(best)
    ]
    return [_prediction(str(path), pairs, None) for path, pairs in zip(paths, ranked, strict=True)]


def list_classes(pipeline) -> tuple[str, ...]:
    """The classes of a fitted pipeline or `FineTuner`, in its order.

    Raises:
        ValueError: the pipeline does not classify pictures.
    """
    if network := getattr(pipeline, "network_", None):
        return network.classes
    return tuple(map(str, _check_pipeline(pipeline).classes_))


def _compute_scores(classifier: Pipeline, features: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Probabilities (n, classes), or None, and the scores (n, classes) that order the classes."""
    if hasattr(classifier, "predict_proba"):
        probabilities = classifier.predict_proba(features)
        return probabilities, probabilities
    scores = classifier.decision_function(features)
    return None, np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def _check_pipeline(pipeline) -> Pipeline:
    """Return the pipeline; raise `ValueError` if it does not classify pictures."""
    has_extractor = isinstance(pipeline, Pipeline) and isinstance(pipeline[0], FeatureExtractor)
    is_fitted = has_extractor and hasattr(pipeline[0], "identity_") and hasattr(pipeline[-1], "classes_")
    if not is_fitted or len(pipeline) < 2:
        raise ValueError(
            f"A {type(pipeline).__name__} does not classify pictures: expected a fitted pipeline that begins with a "
            "FeatureExtractor and ends with a classifier."
        )
    return pipeline


def _prediction(path: str, pairs: list | None, error: str | None) -> dict:
    label, probability = pairs[0] if pairs else (None, None)
    return {"path": path, "label": label, "probability": probability, "top": pairs, "error": error}
