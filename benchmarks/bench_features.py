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

import dataclasses
import os
import sys
import tempfile
import types
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from figures import Figure, report
from photos import write_photos
from timing import rates, time_in_turn

from transferkit import models
from transferkit.data.listing import list_images
from transferkit.data.parallel import without_autotuning
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
        return model.predict(without_autotuning(files).prefetch(2), verbose=0)  # the end of tuning would be waited for

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


def main(pictures: int = 320, rounds: int = 5):
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_photos(Path(temporary), pictures)
        runs = make_transferkit_and_keras_runs(folder) | make_torch_runs(folder) | make_product_run()
        clocks = zip(("the clock", "processor time"), time_in_turn(runs, rounds), strict=True)
    gflop = dict.fromkeys(runs, pictures * GFLOP) | {"matrix product": PRODUCTS * 2 * MATRIX_SIZE**3 / 1e9}
    ours = "transferkit"
    for clock, seconds in clocks:
        figures = {name: Figure(name, rates(gflop[name], seconds[name]), "GFLOP/s") for name in runs}
        mine = figures.pop(ours)
        pairs = [dataclasses.replace(mine, name=f"{ours} against {peer}", peer=peer) for peer in figures]
        bound = "the convolutions, and decoding beside them"
        pairs = [dataclasses.replace(pair, bound=bound) for pair in pairs]
        report(f"features of {pictures} pictures by resnet34, by {clock}", [*figures.values(), *pairs])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
