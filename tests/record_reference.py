"""Record what public torch networks answer with reference weights. Run by hand, where torch and torchvision are.

    pip install --no-deps torchvision efficientnet-lite-pytorch
    python tests/record_reference.py

Nothing of our networks is used: the answers in `data/reference.json` come from those packages alone.
"""

import json
from pathlib import Path

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
STEP = 63  # of the 1000 outputs, 16 are kept


def record(network, pixels, sizes) -> dict:
    tensors = fill_torch(network)
    logits = {
        f"{height}x{width}": torch_logits(network.eval(), pictures(count, height, width), *pixels)[:, ::STEP]
        for count, height, width in sizes
    }
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tensors": len(tensors),
        "logits": {size: [[float(f"{value:.8g}") for value in row] for row in rows] for size, rows in logits.items()},
    }


def main():
    torchvision = load_torchvision()
    networks = {
        name: record(
            torchvision.models.get_model(name, weights=None, **OPTIONS.get(name, {})), TORCHVISION_PIXELS, sizes
        )
        for name, sizes in SIZES.items()
    }
    # this one is padded for 224 pixels, so each stride must meet an even side
    networks["efficientnet_lite0"] = record(EfficientNet.from_name("efficientnet-lite0"), LITE_PIXELS, [(2, 64, 96)])
    note = {"torchvision": torchvision.__version__, "step": STEP, "networks": networks}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(note, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
