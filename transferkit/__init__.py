"""Transfer learning for pictures on TensorFlow and Keras 3. The public names load what they need at first use."""

import importlib
import os
from typing import TYPE_CHECKING

__version__ = "0.1.0"

os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # read when TensorFlow first sees a GPU

if TYPE_CHECKING:  # editors and type checkers see the names; at run time each is loaded at its first use
    from transferkit.data.audit.check import check as check
    from transferkit.data.listing import Listing as Listing
    from transferkit.data.listing import Splits as Splits
    from transferkit.data.listing import list_images as list_images
    from transferkit.data.sources.arrays import list_arrays as list_arrays
    from transferkit.data.sources.resolve import find_splits as find_splits
    from transferkit.exchange.export import export as export
    from transferkit.exchange.push import push as push
    from transferkit.exchange.verify import verify as verify
    from transferkit.explain.explanations import explain_pictures as explain_pictures
    from transferkit.explain.inspection import inspect as inspect
    from transferkit.features.extract_job import extract_to as extract_to
    from transferkit.features.extractor import FeatureExtractor as FeatureExtractor
    from transferkit.features.feature_files import Features as Features
    from transferkit.features.feature_files import load_features as load_features
    from transferkit.features.feature_spec import FeatureSpec as FeatureSpec
    from transferkit.features.leaderboard import probe as probe
    from transferkit.features.neighbours import find_neighbours as find_neighbours
    from transferkit.lookup import UnknownName as UnknownName
    from transferkit.models import create as create
    from transferkit.recipe import Recipe as Recipe
    from transferkit.run_comparison import compare as compare
    from transferkit.runs import Run as Run
    from transferkit.runs import load_run as load_run
    from transferkit.training.finetuner import FineTuner as FineTuner
    from transferkit.training.lr_find import lr_find as lr_find
    from transferkit.training.run_job import finetune as finetune
    from transferkit.training.run_job import resume as resume
    from transferkit.weights.model_list import download_weights as download_weights
    from transferkit.weights.model_list import list_models as list_models

_HOMES = {
    "FeatureExtractor": "transferkit.features.extractor",
    "FeatureSpec": "transferkit.features.feature_spec",
    "Features": "transferkit.features.feature_files",
    "FineTuner": "transferkit.training.finetuner",
    "Listing": "transferkit.data.listing",
    "Recipe": "transferkit.recipe",
    "Run": "transferkit.runs",
    "Splits": "transferkit.data.listing",
    "UnknownName": "transferkit.lookup",
    "check": "transferkit.data.audit.check",
    "compare": "transferkit.run_comparison",
    "create": "transferkit.models",
    "download_weights": "transferkit.weights.model_list",
    "export": "transferkit.exchange.export",
    "explain_pictures": "transferkit.explain.explanations",
    "extract_to": "transferkit.features.extract_job",
    "find_neighbours": "transferkit.features.neighbours",
    "find_splits": "transferkit.data.sources.resolve",
    "finetune": "transferkit.training.run_job",
    "inspect": "transferkit.explain.inspection",
    "list_arrays": "transferkit.data.sources.arrays",
    "list_images": "transferkit.data.listing",
    "list_models": "transferkit.weights.model_list",
    "load_features": "transferkit.features.feature_files",
    "load_run": "transferkit.runs",
    "lr_find": "transferkit.training.lr_find",
    "probe": "transferkit.features.leaderboard",
    "push": "transferkit.exchange.push",
    "resume": "transferkit.training.run_job",
    "verify": "transferkit.exchange.verify",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'transferkit' has no attribute {name!r}")
    from transferkit.console import silenced

    with silenced():  # TensorFlow's lines, which notebooks show in red
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return [*globals(), *__all__]
