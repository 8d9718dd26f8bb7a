"""Speed of feature extraction from JPEG files of 500x375 pixels with a resnet34: transferkit, Keras and PyTorch.

transferkit: `extract`, the pooled features, without the cache. Keras: the same network through
`image_dataset_from_directory` and `predict`, batch norm not folded. PyTorch: torchvision's network, frozen and fused by
`torch.jit.optimize_for_inference`, behind a `DataLoader` with one worker and with two; it needs torch and torchvision,
see CONTRIBUTING.md. A large float32 matrix product in TensorFlow shows what the machine can reach; a picture takes 7.3
GFLOP. All are timed in turn, for several rounds, on networks that are compiled already. The medians are printed for
wall-clock time and for processor time of all threads and workers, which other jobs on the machine disturb less
(although torch's threads use processor time while they wait).

    python benchmarks/bench_features.py [pictures] [rounds]
"""

import os
import resource
import statistics
import sys
import tempfile
import time
import types
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from photos import print_table, write_photos

from transferkit import models
from transferkit.data.listing import list_images
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec

BATCH, MATRIX_SIZE, PRODUCTS, GFLOP = 32, 4096, 4, 7.3


def make_transferkit_and_keras_runs(folder: Path) -> dict:
    spec, paths = FeatureSpec("resnet34", "none"), list_images(folder).paths
    network = models.load("resnet34", "none")
    model = keras.Model(network.model.input, network.model.get_layer("pooled").output)

    def run_keras():
        files = keras.utils.image_dataset_from_directory(
            folder, image_size=(224, 224), shuffle=False, batch_size=BATCH, verbose=False
        )
        return model.predict(files, verbose=0)

    return {"transferkit": lambda: extract(paths, spec, cache=False), "keras": run_keras}


def make_torch_runs(folder: Path) -> dict:
    try:
        sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("unused"))
        import torch
        from torchvision import datasets, models, transforms
    except ImportError:
        print("torchvision is not installed (see CONTRIBUTING.md): it is skipped")
        return {}
    model = models.resnet34(weights=None)
    model.fc = torch.nn.Identity()
    model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(model.eval())))
    normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]
    files = datasets.ImageFolder(folder, transforms.Compose(steps))

    def run(workers):
        with torch.inference_mode():
            loader = torch.utils.data.DataLoader(files, BATCH, num_workers=workers)
            return torch.cat([model(pictures) for pictures, _ in loader]).numpy()

    return {f"torch, loader workers: {workers}": partial(run, workers) for workers in (1, 2)}


def make_product_run() -> dict:
    matrix = tf.random.normal((MATRIX_SIZE, MATRIX_SIZE))
    multiply = tf.function(tf.matmul)
    return {"matrix product": lambda: [multiply(matrix, matrix).numpy() for _ in range(PRODUCTS)]}


def cpu_seconds() -> float:
    """Processor time of this process and of its finished child processes."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_time(call) -> tuple[float, float]:
    """Seconds of wall-clock time and of processor time."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    call()
    return time.perf_counter() - wall, cpu_seconds() - cpu


def main(pictures: int = 320, rounds: int = 5):
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_photos(Path(temporary), pictures)
        runs = make_transferkit_and_keras_runs(folder) | make_torch_runs(folder) | make_product_run()
        times = {name: [] for name in runs}
        for round_ in range(-1, rounds):
            for name, run in runs.items():
                seconds = measure_time(run)
                if round_ >= 0:  # the first round warms up
                    times[name].append(seconds)
    gflop = dict.fromkeys(runs, pictures * GFLOP) | {"matrix product": PRODUCTS * 2 * MATRIX_SIZE**3 / 1e9}
    for column, clock in enumerate(("wall-clock time", "processor time")):
        rates = {name: [gflop[name] / seconds[column] for seconds in times[name]] for name in runs}
        rows = [(name, statistics.median(rates[name]), "GFLOP/s") for name in runs]
        ratios = {
            name: statistics.median(a / b for a, b in zip(rates["transferkit"], rates[name], strict=True))
            for name in runs
            if name != "transferkit"
        }
        rows += [(f"transferkit / {name}", ratio, "times") for name, ratio in ratios.items()]
        print_table(f"Features of resnet34, by {clock}", rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
