"""Record what public torch networks answer with reference weights. Run by hand, where torch and torchvision are.

    pip install --no-deps torchvision efficientnet-lite-pytorch
    python tests/record_reference.py

Nothing of our networks is used: the answers in `data/reference.json` come from those packages alone.
"""

import json
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from reference_weights import TORCHVISION_PIXELS, load_torchvision, pictures, torch_logits, weight

PATH = Path(__file__).parent / "data" / "reference.json"
RESNETS = "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"
LITE_PIXELS = [127 / 255] * 3, [128 / 255] * 3
STEP = 63  # of the 1000 outputs, 16 are kept


def record(network, pixels, sizes) -> dict:
    state = network.state_dict()
    for name, value in state.items():
        public = ".".join(part.removeprefix("_") for part in name.split("."))
        if not name.endswith("num_batches_tracked"):
            state[name] = torch.from_numpy(weight(public, tuple(value.shape)))
    network.load_state_dict(state)
    logits = {
        f"{height}x{width}": torch_logits(network.eval(), pictures(count, height, width), *pixels)[:, ::STEP]
        for count, height, width in sizes
    }
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tensors": sum(not name.endswith("num_batches_tracked") for name in state),
        "logits": {size: [[float(f"{value:.8g}") for value in row] for row in rows] for size, rows in logits.items()},
    }


def main():
    torchvision = load_torchvision()
    networks = {
        # even and odd sides: strides and padding meet both
        name: record(torchvision.models.get_model(name, weights=None), TORCHVISION_PIXELS, [(2, 64, 80), (1, 75, 97)])
        for name in RESNETS
    }
    # this one is padded for 224 pixels, so each stride must meet an even side
    networks["efficientnet_lite0"] = record(EfficientNet.from_name("efficientnet-lite0"), LITE_PIXELS, [(2, 64, 96)])
    note = {"torchvision": torchvision.__version__, "step": STEP, "networks": networks}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(note, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
