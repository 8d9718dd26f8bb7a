"""Peak memory of fine-tuning resnet50 at 224 pixels, batches of 16, beside Keras' own `fit` of the same network.

python benchmarks/bench_fit_memory.py [pictures]

Both train all layers for one epoch, with validation, from JPEG files of 500x375 pixels: each in a process of its own.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from figures import Figure, report
from photos import write_photos

SIZE, BATCH, CLASSES = 224, 16, ("a", "b")


def train_with_keras(folder: str):
    import keras

    from transferkit import models, network

    train, val = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIZE, SIZE), batch_size=BATCH, validation_split=0.2, subset="both", seed=0, verbose=False
    )
    model = network.with_head(models.load("resnet50", "none"), CLASSES).model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, metrics=["accuracy"])
    model.fit(train, validation_data=val, epochs=1, verbose=0)


def train_with_transferkit(folder: str):
    import transferkit as tk

    knobs = {"weights": "none", "size": SIZE, "batch_size": BATCH, "head_epochs": 0, "unfreeze": "all", "bn": "train"}
    with tempfile.TemporaryDirectory() as out:
        tk.finetune("resnet50", folder, out=f"{out}/run", start="fresh", epochs=1, **knobs)


TRAINERS = {"keras": train_with_keras, "transferkit": train_with_transferkit}


def main(pictures: int = 60):
    peaks = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_photos(Path(temporary) / "photos", pictures)
        for name in TRAINERS:
            command = [sys.executable, __file__, "--child", name, str(folder)]
            peaks[name] = float(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
            )
    figures = [
        Figure("transferkit", [peaks["transferkit"]], "MB", "keras", "the maps of a batch"),
        Figure("keras", [peaks["keras"]], "MB"),
    ]
    report(f"peak memory of training resnet50, {pictures} pictures", figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        TRAINERS[sys.argv[2]](sys.argv[3])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        main(*map(int, sys.argv[1:]))
