"""Transfer learning for pictures on TensorFlow and Keras 3. The public names load what they need at first use."""

import importlib
import os

__version__ = "0.1.0"

os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # read when TensorFlow first sees a GPU

_HOMES = {
    "FeatureExtractor": "transferkit.features.extractor",
    "FeatureSpec": "transferkit.features.spec",
    "FineTuner": "transferkit.training.finetuner",
    "Listing": "transferkit.data.listing",
    "Recipe": "transferkit.recipe",
    "create": "transferkit.models",
    "find_splits": "transferkit.data.sources.resolve",
    "finetune": "transferkit.training.run_job",
    "extract_to": "transferkit.features.extract_job",
    "list_arrays": "transferkit.data.sources.arrays",
    "list_images": "transferkit.data.listing",
    "load_features": "transferkit.features.feature_files",
    "load_run": "transferkit.runs",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'transferkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return [*globals(), *__all__]
