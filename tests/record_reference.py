"""Record what torchvision's networks answer with reference weights. Run by hand, where torch and torchvision are.

    python tests/record_reference.py

Nothing of our networks is used: `data/resnet_reference.json` comes from torchvision alone.
"""

import json
from pathlib import Path

from reference_weights import SIZES, load_torchvision, pictures, torchvision_logits, weight

PATH = Path(__file__).parent / "data" / "resnet_reference.json"
NAMES = "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"
STEP = 63  # of the 1000 outputs, 16 are kept


def record(name: str) -> dict:
    import torch

    network = load_torchvision().models.get_model(name, weights=None)
    counts = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    tensors = {
        key: torch.from_numpy(weight(key, tuple(value.shape)))
        for key, value in network.state_dict().items()
        if key not in counts
    }
    network.load_state_dict(tensors | counts)
    logits = {size: torchvision_logits(network.eval(), pictures(*shape))[:, ::STEP] for size, shape in SIZES.items()}
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tensors": len(tensors),
        "logits": {size: [[float(f"{value:.8g}") for value in row] for row in rows] for size, rows in logits.items()},
    }


def main():
    note = {"torchvision": load_torchvision().__version__, "step": STEP}
    note["networks"] = {name: record(name) for name in NAMES}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(note, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
