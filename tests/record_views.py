"""Record the views of papers' tests by torchvision, in tests/data/torchvision_views.json.

python tests/record_views.py
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from reference_weights import TORCHVISION_PIXELS, fill_torch, load_torchvision, torch_logits

PATH = Path(__file__).parent / "data" / "torchvision_views.json"
RESIZE, CROP, SCALES = 64, 56, (48, 64)
DENSE_SCALES = (256, 288)  # of AlexNet
STEP = 8  # of every eighth row and column is recorded


def draw_waves(width: int = 130, height: int = 90) -> Image.Image:
    """A smooth picture, the same everywhere."""
    y, x, channel = np.ogrid[:height, :width, :3]
    return Image.fromarray(np.round(127.5 + 100 * np.sin(x / (9 + 2 * channel) + y / (7 + channel))).astype("uint8"))


def thin(view: Image.Image) -> list:
    return np.asarray(view)[::STEP, ::STEP].tolist()


def measure_dense(torchvision, picture: Image.Image) -> list[float]:
    """The mean probabilities of AlexNet as convolutions over the picture and its mirror image, at each scale."""
    import torch

    network = torchvision.models.alexnet(weights=None, num_classes=3).eval()
    fill_torch(network)
    classifier = network.classifier
    for number, shape in ((1, (4096, 256, 6, 6)), (4, (4096, 4096, 1, 1)), (6, (3, 4096, 1, 1))):
        convolution = torch.nn.Conv2d(shape[1], shape[0], shape[2])
        convolution.weight.data, convolution.bias.data = (
            classifier[number].weight.reshape(shape),
            classifier[number].bias,
        )
        classifier[number] = convolution
    dense = torch.nn.Sequential(network.features, classifier)
    found = []
    for scale in DENSE_SCALES:
        view = np.asarray(torchvision.transforms.Resize(scale)(picture))
        scores = torch_logits(dense, np.stack((view, view[:, ::-1])), *TORCHVISION_PIXELS).mean((2, 3))
        found.append(torch.softmax(torch.from_numpy(scores), 1).numpy())
    return np.concatenate(found).mean(0).tolist()


def main():
    torchvision, picture = load_torchvision(), draw_waves()
    resize = torchvision.transforms.Resize
    wholes = [resize(scale)(picture) for scale in SCALES]
    document = {
        "crops": list(map(thin, torchvision.transforms.TenCrop(CROP)(resize(RESIZE)(picture)))),
        "wholes": list(map(thin, wholes)),
        "sizes": [whole.size for whole in wholes],
        "dense": measure_dense(torchvision, draw_waves(390, 270)),
    }
    PATH.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
