"""Milliseconds of one picture in exported files, as ratios to `predict_on_batch` of Keras on the same views.

python benchmarks/bench_export.py [network] [pictures]

The goals: ONNX and LiteRT at least as fast as Keras, and int8 at least 1.8 times as fast as float32 in LiteRT. An ONNX
file fits pictures to the network too, here views of the network's size; the others take them as they are.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from photos import print_table, write_photos

from transferkit import models
from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.data import decode, pillow_reader
from transferkit.exchange import check_pictures, classifier, export, targets

FILES = (("onnx", "float32"), ("onnx", "float16"), ("litert", "float32"), ("litert", "float16"), ("litert", "int8"))
ROUNDS = 3


def keras_milliseconds(model, views) -> float:
    model.predict_on_batch(views[:1])
    found = []
    for view in views:
        start = time.perf_counter()
        model.predict_on_batch(view[None])
        found.append(time.perf_counter() - start)
    return 1e3 * statistics.median(found)


def main(name: str = "efficientnet_lite0", pictures: int = 50):
    network = models.load(name)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = sorted(write_photos(folder / "photos", pictures).rglob("*.jpg"))
        arrays = [pillow_reader.read_picture(decode.read_path(str(path)), network.pixels.channels) for path in paths]
        views = np.stack([check_pictures.fit_as_pillow(array, network) for array in arrays])
        written = {}
        for to, dtype in FILES:
            target = targets.TARGETS[to]
            path = folder / f"{dtype}{target.suffix}"
            model = classifier.build_classifier(network, any_size=target.any_size, dtype=targets.input_dtype(to, dtype))
            target.write(model, str(path), network.classes, dtype, views)
            written[to, dtype] = path
        model, rounds = fold_batchnorm(network.model), []
        for _ in range(ROUNDS):
            times = {"keras": keras_milliseconds(model, views.astype("float32"))}
            for key, path in written.items():
                times[key] = 1e3 * statistics.median(export.run_elsewhere(path, list(views))[1])
            rounds.append(times)
        median = {key: statistics.median(times[key] for times in rounds) for key in rounds[0]}
        rows = [("Keras, predict_on_batch", median["keras"], "ms")]
        for to, dtype in FILES:
            ratio = statistics.median(times["keras"] / times[to, dtype] for times in rounds)
            megabytes = written[to, dtype].stat().st_size / 1e6
            rows += [
                (f"{to}, {dtype}, {megabytes:.1f} MB", median[to, dtype], "ms"),
                ("  Keras' time to it", ratio, "times"),
            ]
        quantized = statistics.median(times["litert", "float32"] / times["litert", "int8"] for times in rounds)
        print_table(f"{name}, one picture at a time", [*rows, ("LiteRT: float32 to int8", quantized, "times")])


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
