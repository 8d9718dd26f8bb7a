"""A scikit-learn pipeline from pictures to labels in a file, by skops: read without running anything it holds."""

import json
import os
import warnings
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline
from skops import io

from transferkit import atomic, bounded
from transferkit.console import warn
from transferkit.features.extraction import extract
from transferkit.features.extractor import FeatureExtractor
from transferkit.features.feature_files import Features
from transferkit.features.spec import other_features
from transferkit.lookup import first_line, quote

TRUSTED = ["transferkit.FeatureExtractor", "transferkit.FineTuner"]  # public names: files outlive where a class is
MODULES_OF_0_1 = ("transferkit.features.extractor", "transferkit.training.classifier")

TIMES_UNPACKED, MORE_UNPACKED = 20, 2**26  # what a file may unpack to: so many times its size, and so many bytes
LEARNT = {
    "FeatureExtractor": {"identity_": str},
    "FineTuner": {"classes_": np.ndarray, "metrics_": dict, "_saved": bytes},
}


def save_pipeline(pipeline: Pipeline, path: str | os.PathLike):
    """Write a fitted pipeline; a crash leaves what was there before.

    Raises:
        OSError: it could not be written.
    """
    atomic.write(path, lambda partial: io.dump(pipeline, partial))


def load_pipeline(path: str | os.PathLike):
    """Read a fitted pipeline or estimator of scikit-learn, or a `FineTuner`.

    No pickle is run, and no type is made but those of NumPy, SciPy, scikit-learn and the two of transferkit.

    Raises:
        FileNotFoundError: no file is there.
        ValueError: it is damaged, or holds another type, which is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: expected a file of `transferkit probe --out`.")
    try:
        bounded.check_unpacked(path, TIMES_UNPACKED, MORE_UNPACKED)
        data = _with_public_names(path.read_bytes())
        others = sorted(set(io.get_untrusted_types(data=data)) - set(TRUSTED))
        if not others:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                pipeline = io.loads(data, trusted=TRUSTED)
                _check_attributes(pipeline)
    except Exception as error:  # whatever zipfile, json and skops raise on a damaged file
        raise ValueError(f"{path} cannot be read: {first_line(error)}.") from error
    if others:
        raise ValueError(
            f"{path} is not loaded: it holds {others[0]}, which is no type of scikit-learn or transferkit."
        )
    for message in dict.fromkeys(first_line(one.message) for one in caught):
        warn(f"{path}: {message}")  # of another version of scikit-learn
    return pipeline


def _with_public_names(data: bytes) -> bytes:
    """A file of version 0.1, which named the modules of our classes, as this version writes it; others as they are."""

    def public(node: dict) -> dict:
        return node | {"__module__": "transferkit"} if node.get("__module__") in MODULES_OF_0_1 else node

    with zipfile.ZipFile(BytesIO(data)) as old:
        schema = old.read("schema.json")
        if not any(name.encode() in schema for name in MODULES_OF_0_1):
            return data
        made = BytesIO()
        with zipfile.ZipFile(made, "w") as new:
            for member in old.namelist():
                renamed = json.dumps(json.loads(schema, object_hook=public))
                new.writestr(member, renamed if member == "schema.json" else old.read(member))
    return made.getvalue()


def _check_attributes(pipeline):
    """Raise `ValueError` if an estimator of ours has what we never give it: an attribute may hide a method."""
    steps = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
    for one in steps:
        name = type(one).__name__
        if f"{type(one).__module__}.{name}" not in TRUSTED:
            continue
        found, learnt, words = vars(one), LEARNT[name], one.get_params(deep=False)
        strange = sorted(set(found) - set(learnt) - set(words))
        if strange:
            raise ValueError(f"its {name} has an attribute {quote(strange[0])}, which is none of ours")
        for attribute, kind in (learnt | {"base": str, "weights": str}).items():
            if attribute in found and not isinstance(found[attribute], kind):
                raise ValueError(f"the {attribute} of its {name} is of type {type(found[attribute]).__name__}")
        if name == "FeatureExtractor":
            one.spec()


def classify(pipeline: Pipeline, paths: Sequence[str], *, top: int = 5) -> list[dict]:
    """As `evaluation.predict.predict`; probabilities are None of a classifier that has none. A `FineTuner` will do too.

    Raises:
        ValueError: the pipeline does not go from pictures to classes.
    """
    if network := getattr(pipeline, "network_", None):  # of a fitted FineTuner
        from transferkit.evaluation.predict import predict  # Keras, which a pipeline may do without

        return predict(network, paths, top=top)
    extractor, paths = _checked(pipeline)[0], [str(path) for path in paths]
    found = extract(paths, extractor.fitted_spec(), cache=extractor.cache)
    answers = {row: _answer(path, None, found.errors.get(row)) for row, path in enumerate(paths)}
    told = classify_features(pipeline, found.features, [paths[row] for row in found.rows], top=top)
    return list((answers | dict(zip(found.rows.tolist(), told, strict=True))).values())


def classify_file(pipeline: Pipeline, features: Features, *, top: int = 5) -> list[dict]:
    """`classify` of pictures whose features are in a file.

    Raises:
        ValueError: they are not those the pipeline learnt on.
    """
    extractor = _checked(pipeline)[0]
    if other := other_features(features.note, extractor.fitted_spec().told()):
        raise ValueError(
            f"These features differ in {other} from those that the classifier learnt on, which are of "
            f"{extractor.base}: extract them so, or give the pictures."
        )
    return classify_features(pipeline, features.features, features.paths, top=top)


def classify_features(pipeline: Pipeline, features: np.ndarray, paths: Sequence[str], *, top: int) -> list[dict]:
    """An answer for each row of features (n, width)."""
    if not len(features):
        return []
    classes = [str(name) for name in pipeline.classes_]
    try:
        chances, scores = _scores(pipeline[1:], features)
    except Exception as error:  # of a file that was tampered with: whatever scikit-learn and NumPy raise
        raise ValueError(f"The classifier is damaged: {first_line(error)}.") from error
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    ranked = [
        [[classes[i], None if chances is None else round(float(chances[row, i]), 6)] for i in order]
        for row, order in enumerate(best)
    ]
    return [_answer(str(path), pairs, None) for path, pairs in zip(paths, ranked, strict=True)]


def _scores(rest: Pipeline, features: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Probabilities (n, classes), None where there are none, and what orders the classes."""
    if hasattr(rest, "predict_proba"):
        chances = rest.predict_proba(features)
        return chances, chances
    scores = rest.decision_function(features)
    return None, np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def _checked(pipeline) -> Pipeline:
    """The pipeline itself; `ValueError` if it does not go from pictures to classes."""
    begins = isinstance(pipeline, Pipeline) and isinstance(pipeline[0], FeatureExtractor)
    fitted = begins and hasattr(pipeline[0], "identity_") and hasattr(pipeline[-1], "classes_")
    if not fitted or len(pipeline) < 2:
        raise ValueError(
            f"A {type(pipeline).__name__} does not classify pictures: expected a fitted pipeline that begins with a "
            "FeatureExtractor and ends with a classifier."
        )
    return pipeline


def _answer(path: str, pairs: list | None, error: str | None) -> dict:
    label, chance = pairs[0] if pairs else (None, None)
    return {"path": path, "label": label, "probability": chance, "top": pairs, "error": error}
