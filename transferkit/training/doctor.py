"""Whether an installation works: versions and devices, and a short training through every part of the package."""

import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from transferkit.cache_folder import cache_folder
from transferkit.data.example_digits import write_digits
from transferkit.data.sources.resolve import find_splits
from transferkit.training.distributed import devices
from transferkit.training.run_job import finetune


def describe_installation() -> dict[str, str]:
    """Versions, devices, what TensorFlow was built for, the cache folder and its free space."""
    return {
        "transferkit": version("transferkit"),
        "python": platform.python_version(),
        "keras": f"{keras.__version__}, backend {keras.backend.backend()}",
        **devices.describe_devices(),
        "cache folder": f"{cache_folder()}, {_describe_room(cache_folder())}",
    }


def _describe_room(folder: Path) -> str:
    """The free space of a folder, or why nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free"
    except OSError as error:
        return f"which cannot be written ({error.strerror}): nothing is cached; TRANSFERKIT_HOME names another folder"


def run_short_training() -> str:
    """Train a fresh LeNet-5 on 200 digits in a temporary folder, in about ten seconds, and describe the result."""
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder) / "digits", most=200)
        splits = find_splits(Path(folder) / "digits")
        knobs: dict[str, Any] = {"weights": "none", "size": 32, "epochs": 1, "head_epochs": 0}
        run = finetune("lenet5", splits.train, splits.val, out=Path(folder) / "run", **knobs)
        return f"works: {len(splits.train)} pictures in {run.metrics['seconds']:.1f} seconds"
