"""Translate weights of other publishers into those of torchvision: names, biases, epsilons, channels."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from transferkit.weights.errors import UnusableFileError

EPSILON = 1e-5  # epsilon of the norms in our ResNets

# {pattern of a layer's name in keras.applications: torchvision's name}. keras.applications counts stages from 2 and
# blocks from 1 or "a"; torchvision counts stages from 1 and blocks from 0.
KERAS_RESNET = {
    r"conv1_conv": "conv1",
    r"conv1_bn": "bn1",
    r"conv(?P<stage>\d)_block(?P<block>\d+)_0_conv": "layer{stage}.{block}.downsample.0",
    r"conv(?P<stage>\d)_block(?P<block>\d+)_0_bn": "layer{stage}.{block}.downsample.1",
    r"conv(?P<stage>\d)_block(?P<block>\d+)_(?P<number>[123])_conv": "layer{stage}.{block}.conv{number}",
    r"conv(?P<stage>\d)_block(?P<block>\d+)_(?P<number>[123])_bn": "layer{stage}.{block}.bn{number}",
    r"predictions": "fc",
}
KERAS_RESNET_2015 = {
    r"conv1": "conv1",
    r"bn_conv1": "bn1",
    r"res(?P<stage>\d)(?P<block>[a-z])_branch1": "layer{stage}.{block}.downsample.0",
    r"bn(?P<stage>\d)(?P<block>[a-z])_branch1": "layer{stage}.{block}.downsample.1",
    r"res(?P<stage>\d)(?P<block>[a-z])_branch2(?P<number>[abc])": "layer{stage}.{block}.conv{number}",
    r"bn(?P<stage>\d)(?P<block>[a-z])_branch2(?P<number>[abc])": "layer{stage}.{block}.bn{number}",
    r"fc1000": "fc",
}
VGG = r"block(\d)_conv(\d)"
KERAS_VGG = {VGG: "features.{index}", r"fc1": "classifier.0", r"fc2": "classifier.3"}
KERAS_VGG |= {r"predictions": "classifier.6"}
TIMM_VGG = {r"pre_logits\.fc1": "classifier.0", r"pre_logits\.fc2": "classifier.3", r"head\.fc": "classifier.6"}


@dataclass(frozen=True)
class Publisher:
    """How the files of one publisher for one family differ from torchvision's.

    Attributes:
        name: name of the publisher, for messages.
        marker: name of a tensor that, together with the layout, identifies the files.
        layout: "torch" or "keras", see `Weights`.
        layers: {pattern of a layer's name: torchvision's name}; a layer without a match keeps its name.
        epsilon: epsilon of the norms, if the convolutions before them have biases, which torchvision's do not have.
        bgr_kernel: name of the first layer, if its kernel expects BGR.
        pixels: a key of `transferkit.pixels.CONVENTIONS`.
        networks: the networks that the weights are for, if others have the same tensors.
        difference: how these networks differ from the others: the end of a sentence.
    """

    name: str
    marker: str
    layout: str
    layers: dict[str, str]
    epsilon: float | None = None
    bgr_kernel: str | None = None
    pixels: str | None = None
    networks: tuple[str, ...] = ()
    difference: str = ""


STRIDE_FIRST = "where the first 1x1 convolution of a block has the stride"
PUBLISHERS = (
    Publisher("timm's VGG", "pre_logits.fc1.weight", "torch", TIMM_VGG),
    Publisher("keras.applications' VGG", "block1_conv1.weight", "keras", KERAS_VGG, None, "features.0", "caffe"),
    Publisher(
        "keras.applications' ResNet",
        "conv2_block1_1_conv.weight",
        "keras",
        KERAS_RESNET,
        epsilon=1.001e-5,
        bgr_kernel="conv1",
        pixels="caffe",
        networks=("resnet50_paper", "resnet101_paper", "resnet152_paper"),
        difference=STRIDE_FIRST,
    ),
    Publisher(
        "keras.applications' ResNet50 of 2015",
        "res2a_branch2a.weight",
        "keras",
        KERAS_RESNET_2015,
        epsilon=1e-3,
        bgr_kernel="conv1",
        pixels="caffe",
        networks=("resnet50_paper",),
        difference=STRIDE_FIRST,
    ),
)
# {name of a layer: why no network of the zoo can use a file with that layer}
UNUSABLE = {
    "bn_data": "is of qubvel's ResNets, pre-activation networks that are not in the zoo: take torchvision's weights,"
    " which are more accurate.",
    "conv2_block1_preact_bn": "is of keras.applications' ResNet V2, pre-activation networks that are not in the zoo:"
    " take torchvision's weights.",
}
UNUSABLE["stage1_unit1_bn1"] = UNUSABLE["bn_data"]


def translate_names(tensors: dict[str, np.ndarray], layout: str) -> tuple[dict, list[str], Publisher | None]:
    """Translate the names and the values of tensors to those of torchvision.

    The bias of a convolution is folded into the mean of the norm after it, and the publisher's epsilon into the
    variance, both exactly. The channels of a first kernel for BGR are reversed.

    Returns:
        The tensors, a list of messages on what was converted, and the publisher, or None if it was not recognised.

    Raises:
        UnusableFileError: the tensors are those of a network that is not in the zoo, or their shapes do not match.
    """
    layers = {name.rpartition(".")[0] for name in tensors}
    if known := layers & UNUSABLE.keys():
        raise UnusableFileError(UNUSABLE[min(known)])
    found = [one for one in PUBLISHERS if one.layout == layout and one.marker in tensors]
    if not found:
        return tensors, [], None
    [publisher] = found
    renamed, indices = {}, _vgg_indices(layers)
    for name, value in tensors.items():
        layer, _, variable = name.rpartition(".")
        name = f"{_translate_layer(layer, publisher.layers, indices)}.{variable}"
        if name in renamed:
            raise UnusableFileError(f"has {name!r} twice, under names of {publisher.name} and of torchvision.")
        renamed[name] = value
    changes = [f"names of {publisher.name} turned into torchvision's"]
    if publisher.epsilon:
        renamed, count = _fold_biases(renamed, publisher.epsilon)
        changes.append(f"{count} biases and an epsilon of {publisher.epsilon:g} folded into the norms")
    if publisher.bgr_kernel:
        first = f"{publisher.bgr_kernel}.weight"
        if first not in renamed or renamed[first].ndim != 4:
            raise UnusableFileError(f"is damaged: it has no {first!r} of four dimensions, the first kernel.")
        renamed[first] = renamed[first][:, :, ::-1]
        changes.append("channels of the first kernel reversed, for RGB: the file has BGR")
    return renamed, changes, publisher


def _translate_layer(name: str, patterns: dict[str, str], indices: dict[str, int]) -> str:
    """The name of a layer in torchvision."""
    for pattern, here in patterns.items():
        if match := re.fullmatch(pattern, name):
            numbers = {group: _parse_number(group, text) for group, text in match.groupdict().items()}
            return here.format(index=indices.get(name), **numbers)
    return name


def _parse_number(group: str, text: str) -> int:
    number = int(text) if text.isdigit() else ord(text) - ord("a") + 1
    return number - 1 if group in ("stage", "block") else number


def _vgg_indices(layers: set[str]) -> dict[str, int]:
    """{`block3_conv2`: index in torchvision's VGG}: a convolution and its ReLU count as two, a pool as one."""
    found = sorted((int(match[1]), int(match[2])) for name in layers if (match := re.fullmatch(VGG, name)))
    per_block = Counter(block for block, _ in found)
    before = {block: sum(2 * per_block[b] + 1 for b in per_block if b < block) for block in per_block}
    return {f"block{block}_conv{conv}": before[block] + 2 * (conv - 1) for block, conv in found}


def _fold_biases(tensors, epsilon):
    """Fold the biases before norms into the means, as x + b - mean = x - (mean - b); also return their number."""
    tensors, count = dict(tensors), 0
    for norm in [name.removesuffix(".running_mean") for name in tensors if name.endswith(".running_mean")]:
        conv = re.sub(r"bn(\d)$", r"conv\1", norm).replace("downsample.1", "downsample.0")
        mean, variance = tensors[f"{norm}.running_mean"], tensors.get(f"{norm}.running_var")
        bias = tensors.pop(f"{conv}.bias", None)
        if bias is not None:
            if bias.shape != mean.shape:  # NumPy would broadcast them
                raise UnusableFileError(
                    f"is damaged: the bias of {conv!r} has shape {bias.shape}, its norm's {mean.shape}."
                )
            tensors[f"{norm}.running_mean"] = mean - bias
            count += 1
        if variance is not None:
            wider = variance.astype("float64") + (epsilon - EPSILON)
            tensors[f"{norm}.running_var"] = wider.astype(variance.dtype)
    return tensors, count
