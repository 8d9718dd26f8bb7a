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
from figures import Figure, report
from photos import write_photos

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
        peer = "Keras, predict_on_batch"
        figures = [Figure(peer, [times["keras"] for times in rounds], "ms")]
        for key, path in written.items():
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            figures.append(
                Figure(f"{', '.join(key)}, {size}", [times[key] for times in rounds], "ms", peer, "the convolutions")
            )
        report(f"one picture in exported files of {name}", figures)
        plain, quantized = ([times["litert", dtype] for times in rounds] for dtype in ("float32", "int8"))
        figures = [Figure("float32", plain, "ms"), Figure("int8", quantized, "ms", "float32", "the convolutions")]
        report(f"one picture in LiteRT, {name}", figures)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
