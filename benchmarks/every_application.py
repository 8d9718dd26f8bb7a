"""Every network of `keras.applications` as a base: read, fine-tuned, saved, loaded by Keras alone, its features taken.

Fresh weights at the least size that the network takes, one epoch of the head and one of all, on 24 drawn digits.

    python benchmarks/every_application.py [NAME ...]

Prints the table of docs/models.md; the exit status tells whether all of it worked.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import transferkit as tk
from transferkit.adopt import applications
from transferkit.data.digits import write_digits
from transferkit.features.extraction import extract
from transferkit.features.spec import FeatureSpec

SIZES = (32, 72, 76, 96, 128, 160, 224, 331)  # the first that a network takes
KNOBS = {"weights": "none", "epochs": 2, "head_epochs": 1, "batch_size": 8, "refit": "off", "seed": 0, "devices": "cpu"}
ALONE = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
print(*model.predict_on_batch(np.load(sys.argv[2])).ravel())
"""


def main(*names: str) -> int:
    failed = []
    with TemporaryDirectory() as place:
        os.environ["TRANSFERKIT_HOME"] = str(Path(place) / "home")
        write_digits(Path(place) / "digits")
        digits = tk.list_images(Path(place) / "digits" / "train")
        labels = np.array(digits.labels)
        rows = [row for label in range(3) for row in np.flatnonzero(labels == label)[:10]]
        train, val = (digits.take([row for place, row in enumerate(rows) if place % 5 in part]) for part in PARTS)
        print("\n| network | weights | size | seconds | difference to Keras alone |\n|---|---|---|---|---|", flush=True)
        for name in names or applications.names():
            started = time.perf_counter()
            try:
                told = tried(f"{applications.PREFIX}{name}", train, val, Path(place) / name)
            except Exception as error:
                failed.append(name)
                told = f"{type(error).__name__}: {str(error).splitlines()[0]}", "", ""
            weights, size, apart = told
            print(f"| {name} | {weights} | {size} | {time.perf_counter() - started:.0f} | {apart} |", flush=True)
            keras.backend.clear_session()
    return len(failed)


PARTS = ((0, 1, 2, 3), (4,))


def tried(base: str, train, val, out: Path) -> tuple[str, int, str]:
    """The number of its weights, the size, and the greatest difference of a logit to that of Keras alone."""
    for size in SIZES:
        try:
            run = tk.finetune(base, train, val, size=size, out=out, **KNOBS)
            break
        except tk.UnknownName as error:
            if size == SIZES[-1]:
                raise error
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")
    np.save(out / "pictures.npy", pictures)
    words = [sys.executable, "-W", "ignore", "-c", ALONE, str(out / "model.keras"), str(out / "pictures.npy")]
    alone = np.array(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split(), float)
    ours = run.network.model.predict_on_batch(pictures).ravel()
    features = extract(val.paths, FeatureSpec(str(out), size=size)).features
    if not np.isfinite(features).all() or len(features) != len(val):
        raise ValueError(f"features of {base} are {features.shape}")
    return f"{run.network.model.count_params():,}", size, f"{np.abs(alone - ours).max():.0e}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
