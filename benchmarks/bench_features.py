"""Features of JPEG files of about 500x375 by a resnet34: ours, Keras', PyTorch's, and what the machine can do at most.

Ours: `extract`, the pooled features, nothing kept. Keras: the same network through `image_dataset_from_directory` and
`predict`, norms and all. PyTorch: torchvision's network, frozen and fused by `torch.jit.optimize_for_inference`, behind
a `DataLoader` of one worker or of two, whichever is faster; wants torch and torchvision, see CONTRIBUTING.md. At most:
a large float32 product of matrices in TensorFlow, against 7.3 GFLOP a picture. All are timed in turn, several rounds,
each a whole run on a network that is compiled already; medians are quoted, and of processor time too, all threads and
workers, which other jobs on the machine disturb less (torch's threads also spin while they wait).

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
from photos import table, write_photos

from transferkit import models
from transferkit.data.listing import list_images
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec

BATCH, SIDE, PRODUCTS, GFLOP = 32, 4096, 4, 7.3


def ours_and_keras(folder: Path) -> dict:
    spec, paths = FeatureSpec("resnet34", "none"), list_images(folder).paths
    network = models.load("resnet34", "none")
    model = keras.Model(network.model.input, network.model.get_layer("pooled").output)

    def of_keras():
        files = keras.utils.image_dataset_from_directory(
            folder, image_size=(224, 224), shuffle=False, batch_size=BATCH, verbose=False
        )
        return model.predict(files, verbose=0)

    return {"transferkit": lambda: extract(paths, spec, cache=False), "keras": of_keras}


def of_torch(folder: Path) -> dict:
    try:
        sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("unused"))
        import torch
        from torchvision import datasets, models, transforms
    except ImportError:
        print("torchvision is not installed (see CONTRIBUTING.md): it is left out")
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

    return {f"torch, {workers} in the loader": partial(run, workers) for workers in (1, 2)}


def product() -> dict:
    matrix = tf.random.normal((SIDE, SIDE))
    multiply = tf.function(tf.matmul)
    return {"matrix product": lambda: [multiply(matrix, matrix).numpy() for _ in range(PRODUCTS)]}


def processor() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def seconds(call) -> tuple[float, float]:
    """Of the clock and of the processor."""
    wall, cpu = time.perf_counter(), processor()
    call()
    return time.perf_counter() - wall, processor() - cpu


def main(pictures: int = 320, rounds: int = 5):
    with tempfile.TemporaryDirectory() as place:
        folder = write_photos(Path(place), pictures)
        runs = ours_and_keras(folder) | of_torch(folder) | product()
        times = {name: [] for name in runs}
        for round_ in range(-1, rounds):
            for name, run in runs.items():
                taken = seconds(run)
                if round_ >= 0:
                    times[name].append(taken)
    gflop = dict.fromkeys(runs, pictures * GFLOP) | {"matrix product": PRODUCTS * 2 * SIDE**3 / 1e9}
    for kind, clock in enumerate(("the clock", "the processor's time")):
        rates = {name: [gflop[name] / taken[kind] for taken in times[name]] for name in runs}
        rows = [(name, statistics.median(rates[name]), "GFLOP/s") for name in runs]
        ratios = {
            name: statistics.median(a / b for a, b in zip(rates["transferkit"], rates[name], strict=True))
            for name in runs
            if name != "transferkit"
        }
        rows += [(f"transferkit / {name}", ratio, "times") for name, ratio in ratios.items()]
        table(f"Features of resnet34, by {clock}", rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
