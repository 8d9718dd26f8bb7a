"""Test every network of `keras.applications`: fine-tune, kill, resume, load in plain Keras, extract features.

Each has fresh weights and its minimum picture size, and is trained for an epoch of the head and one of all layers on 24
pictures of digits.

    python benchmarks/every_application.py [NAME ...]

Prints the table of docs/models.md; the exit status is the number of networks that failed.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from transferkit import models
from transferkit.bases import APPLICATION
from transferkit.data.sources.digits import write_digits
from transferkit.evaluation.predict import evaluate
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec
from transferkit.keras_internals import application_names
from transferkit.lookup import UnknownName
from transferkit.network import with_size
from transferkit.training import run_job

SIZES = (32, 72, 76, 96, 128, 160, 224, 331)  # the first one that a network accepts is used
KNOBS = {"weights": "none", "epochs": 2, "head-epochs": 1, "batch-size": 8, "refit": "off", "seed": 0, "devices": "cpu"}
PREDICT_WITH_KERAS = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
print(*model.predict_on_batch(np.load(sys.argv[2])).ravel())
"""


def main(*names: str) -> int:
    failed = []
    with TemporaryDirectory() as temporary:
        os.environ["TRANSFERKIT_HOME"] = str(Path(temporary) / "home")
        pictures = write_few_digits(Path(temporary))
        print("\n| network | weights | size | seconds | difference to Keras alone |\n|---|---|---|---|---|", flush=True)
        for name in names or application_names():
            started = time.perf_counter()
            try:
                result = check_application(f"{APPLICATION}{name}", pictures, Path(temporary) / name)
            except Exception as error:
                failed.append(name)
                result = f"{type(error).__name__}: {str(error).splitlines()[0]}", "", ""
            weights, size, difference = result
            print(f"| {name} | {weights} | {size} | {time.perf_counter() - started:.0f} | {difference} |", flush=True)
            shutil.rmtree(Path(temporary) / name, ignore_errors=True)
            keras.backend.clear_session()
    return len(failed)


def write_few_digits(folder: Path) -> Path:
    """Write a folder of three classes with 8 training and 2 validation pictures each, and return it."""
    write_digits(folder / "digits")
    for label in "012":
        for number, path in enumerate(sorted((folder / "digits" / "train" / label).iterdir())[:10]):
            target = folder / "few" / ("train" if number < 8 else "val") / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return folder / "few"


def check_application(base: str, pictures: Path, out: Path) -> tuple[str, int, str]:
    """Train, kill, resume, save and load a network, and extract its features.

    Returns:
        Its number of weights, its minimum size, and the largest difference of its logits to those of the saved file in
        plain Keras.

    Raises:
        ValueError: the accuracy of the saved network or the shape of its features is wrong.
    """
    size = minimum_size(base)
    train_and_kill(base, pictures, size, out)
    run = run_job.resume(out)
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")
    np.save(out / "noise.npy", noise)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        PREDICT_WITH_KERAS,
        str(out / "model.keras"),
        str(out / "noise.npy"),
    ]
    expected = np.array(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(), float)
    logits = run.network.model.predict_on_batch(noise).ravel()
    accuracy = evaluate(run.network, run.splits.val)[0]["accuracy"]
    if accuracy != run.metrics["accuracy"]:
        raise ValueError(f"{base} reported an accuracy of {run.metrics['accuracy']}, and its file has {accuracy}")
    features = extract(run.splits.val.paths, FeatureSpec(str(out), size=size)).features
    if not np.isfinite(features).all() or len(features) != len(run.splits.val):
        raise ValueError(f"features of {base} are not finite, or have the wrong shape {features.shape}")
    return f"{run.network.model.count_params():,}", size, f"{np.abs(expected - logits).max():.0e}"


def minimum_size(base: str) -> int:
    """The first size in `SIZES` that a network accepts."""
    network = models.load(base, "none")
    for size in SIZES:
        try:
            with_size(network, size)
            return size
        except UnknownName:
            continue
    raise ValueError(f"{base} accepts none of {SIZES}")


def train_and_kill(base: str, pictures: Path, size: int, out: Path):
    """Train in a process that is killed as soon as the first epoch is saved."""
    flags = [f"--{name}={value}" for name, value in KNOBS.items()]
    command = [
        sys.executable,
        "-m",
        "transferkit",
        "finetune",
        "--base",
        base,
        "--data",
        str(pictures),
        "--size",
        str(size),
    ]
    with subprocess.Popen([*command, *flags, "--out", str(out)], stderr=subprocess.PIPE, text=True) as child:
        state = out / "checkpoints" / "state.json"
        while child.poll() is None and not (state.exists() and json.loads(state.read_text("utf-8"))["history"]):
            time.sleep(0.05)
        if child.poll() is not None:
            raise ValueError(child.stderr.read().strip().splitlines()[-1])
        child.kill()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
