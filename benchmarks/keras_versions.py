"""Check which versions of Keras load the models that transferkit saves, and compute the same outputs.

Each version is installed alone into a temporary folder, which comes before the environment's packages on the path.

    python benchmarks/keras_versions.py [VERSION ...]
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from transferkit import models

VERSIONS = ("3.6.0", "3.7.0", "3.8.0", "3.9.2", "3.10.0", "3.11.3", "3.12.0", "3.13.2", "3.14.0")
BASES = (
    *("lenet5", "alexnet", "zfnet", "vgg11", "allcnn_c", "googlenet", "resnet18", "resnet20_cifar"),
    *("efficientnet_lite0", "keras:MobileNetV2", "keras:MobileNetV3Small", "keras:EfficientNetV2B0", "keras:Xception"),
    *("keras:DenseNet121", "keras:NASNetMobile", "keras:ConvNeXtTiny"),
)
LOAD = """
import sys, keras, numpy as np
for path in sys.argv[1:]:
    try:
        model = keras.saving.load_model(path)
        print(path, float(np.abs(model.predict_on_batch(np.load(path + ".npy"))).sum()))
    except Exception as error:
        print(path, "nan", type(error).__name__)
"""


def main(*versions: str):
    rng, sums = np.random.default_rng(0), {}
    with TemporaryDirectory() as temporary:
        for base in BASES:
            network = models.load_for_training(base, "none", size=64 if base.startswith("keras:") else None)
            for weight in network.model.trainable_weights:  # the logits of a fresh head are all 0
                weight.assign(np.asarray(weight) + rng.normal(0, 0.02, weight.shape))
            path = str(Path(temporary) / f"{base.replace(':', '-')}.keras")
            models.save(network, Path(path))
            np.save(f"{path}.npy", rng.integers(0, 256, (2, *network.pixels.shape, 3)).astype("float32"))
            keras.backend.clear_session()
        paths = sorted(map(str, Path(temporary).glob("*.keras")))
        sums[keras.__version__] = sum_outputs(paths, None)
        for version in versions or VERSIONS:
            with TemporaryDirectory() as packages:
                arguments = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, f"keras=={version}"]
                subprocess.run([sys.executable, *arguments], check=True)
                sums[version] = sum_outputs(paths, packages)
    print_table(sums)


def sum_outputs(paths: list[str], packages: str | None) -> dict[str, float]:
    """The sum of each network's absolute outputs in one version of Keras, by file name; NaN if it cannot load the file.

    Args:
        packages: folder with that version; None for the version of the environment.
    """
    environment = os.environ | ({"PYTHONPATH": packages} if packages else {})
    command = [sys.executable, "-W", "ignore", "-c", LOAD, *paths]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split() for line in lines if ".keras " in line]
    return {Path(row[0]).stem: float(row[1]) for row in rows}


def print_table(sums: dict[str, dict[str, float]]):
    """Print a Markdown table: whether each version computes the same sum as this one, a row for each network."""
    (_, expected), *others = sums.items()
    print(f"\n| network | {' | '.join(version for version, _ in others)} |\n|---|{'---|' * len(others)}")
    for name, value in expected.items():
        same = [np.isclose(version_sums.get(name, np.nan), value, rtol=1e-4) for _, version_sums in others]
        print(f"| {name} | {' | '.join('yes' if equal else 'no' for equal in same)} |")
    print(json.dumps(sums), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
