"""Every network of `keras.applications`: fine-tuned, killed, resumed, loaded by Keras alone, its features taken.

Fresh weights at the least size that the network takes, one epoch of the head and one of all, on 24 drawn digits.

    python benchmarks/every_application.py [NAME ...]

Prints the table of docs/models.md; the exit status tells whether all of it worked.
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
from transferkit.adopt import applications
from transferkit.data.sources.digits import write_digits
from transferkit.evaluation.predict import evaluate
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec
from transferkit.lookup import UnknownName
from transferkit.network import with_size
from transferkit.training import run_job

SIZES = (32, 72, 76, 96, 128, 160, 224, 331)  # the first that a network takes
KNOBS = {"weights": "none", "epochs": 2, "head-epochs": 1, "batch-size": 8, "refit": "off", "seed": 0, "devices": "cpu"}
ALONE = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
print(*model.predict_on_batch(np.load(sys.argv[2])).ravel())
"""


def main(*names: str) -> int:
    failed = []
    with TemporaryDirectory() as place:
        os.environ["TRANSFERKIT_HOME"] = str(Path(place) / "home")
        pictures = few_digits(Path(place))
        print("\n| network | weights | size | seconds | difference to Keras alone |\n|---|---|---|---|---|", flush=True)
        for name in names or applications.names():
            started = time.perf_counter()
            try:
                found = tried(f"{applications.PREFIX}{name}", pictures, Path(place) / name)
            except Exception as error:
                failed.append(name)
                found = f"{type(error).__name__}: {str(error).splitlines()[0]}", "", ""
            weights, size, apart = found
            print(f"| {name} | {weights} | {size} | {time.perf_counter() - started:.0f} | {apart} |", flush=True)
            shutil.rmtree(Path(place) / name, ignore_errors=True)
            keras.backend.clear_session()
    return len(failed)


def few_digits(place: Path) -> Path:
    """A folder of three classes: 8 pictures each to train on, and 2 each to validate."""
    write_digits(place / "digits")
    for label in "012":
        for number, path in enumerate(sorted((place / "digits" / "train" / label).iterdir())[:10]):
            target = place / "few" / ("train" if number < 8 else "val") / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return place / "few"


def tried(base: str, pictures: Path, out: Path) -> tuple[str, int, str]:
    """The number of its weights, the size, and the greatest difference of a logit to that of Keras alone.

    Raises:
        ValueError: a figure or a feature is not what was announced.
    """
    size = least_size(base)
    begin_and_kill(base, pictures, size, out)
    run = run_job.resume(out)
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")
    np.save(out / "noise.npy", noise)
    words = [sys.executable, "-W", "ignore", "-c", ALONE, str(out / "model.keras"), str(out / "noise.npy")]
    alone = np.array(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split(), float)
    ours = run.network.model.predict_on_batch(noise).ravel()
    again = evaluate(run.network, run.splits.val)[0]["accuracy"]
    if again != run.metrics["accuracy"]:
        raise ValueError(f"{base} announced {run.metrics['accuracy']}, and its file has {again}")
    features = extract(run.splits.val.paths, FeatureSpec(str(out), size=size)).features
    if not np.isfinite(features).all() or len(features) != len(run.splits.val):
        raise ValueError(f"features of {base} are {features.shape}")
    return f"{run.network.model.count_params():,}", size, f"{np.abs(alone - ours).max():.0e}"


def least_size(base: str) -> int:
    network = models.load(base, "none")
    for size in SIZES:
        try:
            with_size(network, size)
            return size
        except UnknownName:
            continue
    raise ValueError(f"{base} takes none of {SIZES}")


def begin_and_kill(base: str, pictures: Path, size: int, out: Path):
    """Train in a process that is killed as soon as the first epoch is saved."""
    flags = [f"--{name}={value}" for name, value in KNOBS.items()]
    words = [
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
    with subprocess.Popen([*words, *flags, "--out", str(out)], stderr=subprocess.PIPE, text=True) as child:
        state = out / "checkpoints" / "state.json"
        while child.poll() is None and not (state.exists() and json.loads(state.read_text("utf-8"))["history"]):
            time.sleep(0.05)
        if child.poll() is not None:
            raise ValueError(child.stderr.read().strip().splitlines()[-1])
        child.kill()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
