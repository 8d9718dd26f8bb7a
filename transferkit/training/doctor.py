"""Whether an installation works: versions, cache folder, weights and devices, and a short training through every part.

What loads TensorFlow is imported in the functions, so that the first lines come at once.
"""

import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferkit import console
from transferkit.bases import available_bases
from transferkit.cache_folder import cache_folder
from transferkit.lookup import count_noun, first_line

MIN_FREE = 1e9  # bytes in the cache folder: a few weight files, or the features of many pictures
PICTURES = 100


@dataclass(frozen=True)
class Finding:
    """What was found about a part of the installation, and the problem with it, a sentence, or ""."""

    part: str
    value: str
    problem: str = ""


def examine() -> Iterator[Finding]:
    """Examine the parts of the installation one by one, the quick ones first."""
    yield Finding("transferkit", version("transferkit"))
    yield Finding("python", platform.python_version())
    yield examine_cache_folder()
    yield Finding("weights here", ", ".join(available_bases()) or "none; they are downloaded when they are needed")
    for examine_part in (_examine_tensorflow, _examine_training):
        try:
            yield from examine_part()
        except Exception as error:  # whatever is wrong with an installation
            part = examine_part.__name__.removeprefix("_examine_")
            yield Finding(part, "fails", f"{part} fails: {type(error).__name__}: {first_line(error)}")


def examine_cache_folder() -> Finding:
    """Whether the cache folder can be written and has room."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        problem = f"{folder} cannot be written ({error.strerror}), so nothing is cached: TRANSFERKIT_HOME names another"
        return Finding("cache folder", f"{folder}, which cannot be written", problem)
    problem = f"{folder} has only {free / 1e9:.1f} GB free: TRANSFERKIT_HOME names another" if free < MIN_FREE else ""
    return Finding("cache folder", f"{folder}, {free / 1e9:.1f} GB free", problem)


def _examine_tensorflow() -> Iterator[Finding]:
    from transferkit.data import lazy_tensorflow

    lazy_tensorflow.load()
    import keras

    from transferkit.training.distributed import devices

    backend = keras.backend.backend()
    problem = "" if backend == "tensorflow" else f"Keras' backend is {backend}: training needs KERAS_BACKEND=tensorflow"
    yield Finding("keras", f"{keras.__version__}, backend {backend}", problem)
    for part, value in devices.describe_devices().items():
        yield Finding(part, value)


def _examine_training() -> Iterator[Finding]:
    """Train a fresh LeNet-5 on a few digits in a temporary folder."""
    from transferkit.data.example_digits import write_digits
    from transferkit.data.sources.resolve import find_splits
    from transferkit.training.run_job import finetune

    console.say("Training a small network ...")
    with tempfile.TemporaryDirectory() as folder, console.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so few pictures
        write_digits(Path(folder) / "digits", most=PICTURES)
        splits = find_splits(Path(folder) / "digits")
        knobs: dict[str, Any] = {
            "weights": "none",
            "size": 32,
            "epochs": 1,
            "head_epochs": 0,
            "augment": "none",
            "refit": "off",
        }
        run = finetune("lenet5", splits.train, splits.val, out=Path(folder) / "run", **knobs)
        yield Finding(
            "training", f"works: {count_noun(len(splits.train), 'picture')} in {run.metrics['seconds']:.1f} seconds"
        )
