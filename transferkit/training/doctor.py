"""Whether an installation works: what is there, and a short training through every part."""

import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import keras

from transferkit.cache_folder import cache_folder
from transferkit.data.sources.digits import write_digits
from transferkit.data.sources.resolve import find_splits
from transferkit.training.distributed import devices
from transferkit.training.run_job import finetune


def facts() -> dict[str, str]:
    """Versions, devices, what TensorFlow was built for, the cache folder and its free space."""
    return {
        "transferkit": version("transferkit"),
        "python": platform.python_version(),
        "keras": f"{keras.__version__}, backend {keras.backend.backend()}",
        **devices.found(),
        "cache folder": f"{cache_folder()}, {_room(cache_folder())}",
    }


def _room(folder: Path) -> str:
    """What a folder has, or why nothing can be kept in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free"
    except OSError as error:
        return (
            f"which cannot be written ({error.strerror}): nothing is kept there; TRANSFERKIT_HOME names another folder"
        )


def short_training() -> str:
    """Train a fresh LeNet-5 on 200 digits in a temporary folder: every part of the package, some ten seconds."""
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder) / "digits", most=200)
        parts = find_splits(Path(folder) / "digits")
        run = finetune(
            "lenet5",
            parts.train,
            parts.val,
            out=Path(folder) / "run",
            weights="none",
            size=32,
            epochs=1,
            head_epochs=0,
        )
        return f"works: {len(parts.train)} pictures in {run.metrics['seconds']:.1f} seconds"
