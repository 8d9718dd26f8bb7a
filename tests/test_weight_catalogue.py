"""The catalogue of public weight sets is complete, and finds sets by the names that people use."""

import re
import subprocess
import sys

import pytest

from transferkit import zoo
from transferkit.lookup import UnknownName
from transferkit.pixels import CONVENTIONS, Pixels
from transferkit.weights.catalogue import (
    WeightSet,
    describe_licence,
    find_weight_set,
    networks_with_weights,
    weight_sets,
)

ALL = [found for network in networks_with_weights() for found in weight_sets(network)]
OF_TORCHVISION = list(dict.fromkeys(found.network for found in ALL if found.source == "torchvision"))


def test_a_licence_in_words():
    assert describe_licence(find_weight_set("resnet18", "a1_in1k")) == "Their licence, as timm states it: apache-2.0."
    line = "Their licence, as torchvision states it: bsd-3-clause; the terms of ImageNet, on which they were trained, "
    assert describe_licence(find_weight_set("resnet18", "imagenet1k_v1")) == f"{line}may hold too."
    lines = [describe_licence(found) for found in ALL]
    assert not [line for line in lines if "+" in line or "\n" in line or len(line) > 120]


def test_every_network_with_sets_is_in_the_zoo():
    assert set(networks_with_weights()) <= zoo.variants().keys()


@pytest.mark.parametrize("network", networks_with_weights())
def test_a_network_has_its_sets_under_tags_of_their_own(network):
    tags = [found.tag for found in weight_sets(network)]
    assert len(tags) == len(set(tags)) > 0
    assert all(tag == tag.lower() for tag in tags)


@pytest.mark.parametrize("found", ALL, ids=lambda found: f"{found.network}.{found.tag}")
def test_every_set_has_the_fields_for_download_and_display(found: WeightSet):
    assert found.source and found.licence and found.file
    assert found.mb > 0
    assert found.bytes is None or found.mb == found.bytes / 1e6
    assert bool(found.url) != bool(found.package and found.path)
    assert (found.url or found.path).endswith(f"/{found.file}")
    assert bool(found.sha256) + bool(found.md5) == (found.source != "timm")
    assert found.sha256 is None or re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", found.sha256)
    assert found.md5 is None or re.fullmatch("[0-9a-f]{32}", found.md5)
    assert found.top1 is None or 0 < found.top1 < (found.top5 or 100) <= 100
    pixels = found.pixels
    assert len(pixels.mean) == len(pixels.std) == zoo.variant(found.network).pixels.channels
    assert 0 <= min(pixels.mean) <= max(pixels.mean) <= 255 and min(pixels.std) > 0
    assert pixels.crop == zoo.variant(found.network).size <= pixels.resize
    assert pixels.interpolation in ("bilinear", "bicubic")


@pytest.mark.parametrize("found", [found for found in ALL if found.sha256], ids=lambda found: found.file)
def test_digests_begin_as_in_the_file_name(found):
    assert found.sha256.startswith(re.search("-([0-9a-f]{8})[.]pth$", found.file)[1])


@pytest.mark.parametrize("found", [found for found in ALL if found.package], ids=lambda found: found.file)
def test_digests_of_files_in_packages_are_complete(found):
    assert len(found.sha256) == 64


def test_addresses():
    assert find_weight_set("resnet50").url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    hub = "https://huggingface.co/timm/resnet34.a1_in1k/resolve/main/model.safetensors"
    assert find_weight_set("resnet34", "a1_in1k").url == hub
    assert find_weight_set("vgg11_bn", "tv_in1k").url == hub.replace("resnet34.a1", "vgg11_bn.tv")
    store = "https://storage.googleapis.com/tensorflow/keras-applications"
    file = "_weights_tf_dim_ordering_tf_kernels.h5"
    assert find_weight_set("vgg16", "keras").url == f"{store}/vgg16/vgg16{file}"
    assert find_weight_set("resnet101_paper").url == f"{store}/resnet/resnet101{file}"


@pytest.mark.parametrize("found", [found for found in ALL if found.tag == "keras"], ids=lambda found: found.network)
def test_sets_of_keras_applications(found):
    assert found.pixels == CONVENTIONS["caffe"]
    assert found.licence == ("cc-by-4.0" if found.network.startswith("vgg") else "mit")
    assert found is not find_weight_set(found.network) or found.network.endswith("_paper")


@pytest.mark.parametrize("network", OF_TORCHVISION)
def test_the_default_is_torchvisions_first(network):
    assert find_weight_set(network) is find_weight_set(network, "imagenet") is weight_sets(network)[0]
    assert (weight_sets(network)[0].source, weight_sets(network)[0].tag) == ("torchvision", "imagenet1k_v1")
    assert weight_sets(network)[0].pixels.resize == 256


def test_conventions_of_the_sets_that_differ():
    assert find_weight_set("resnet50", "imagenet1k_v2").pixels.resize == 232
    assert find_weight_set("resnet18", "a1_in1k").pixels.resize == 235  # floor(224 / 0.95)
    assert find_weight_set("resnet34", "ra4_e3600_r224_in1k").pixels.mean == (127.5, 127.5, 127.5)
    assert find_weight_set("googlenet").pixels == CONVENTIONS["tf"]
    assert all(found.pixels == zoo.variant(found.network).pixels for found in ALL if found.package)
    assert find_weight_set("efficientnet_lite2").pixels == Pixels((127.0,) * 3, (128.0,) * 3, 260, 292, "bicubic")
    assert find_weight_set("resnet18", "fb_ssl_yfcc100m_ft_in1k").licence == "cc-by-nc-4.0"


@pytest.mark.parametrize("tag", ["a1_in1k", "A1_in1k", "resnet18.a1_in1k", "ResNet18.A1_IN1K"])
def test_a_tag_in_any_case_with_or_without_its_network(tag):
    assert find_weight_set("resnet18", tag).tag == "a1_in1k"


def test_an_unknown_tag():
    with pytest.raises(UnknownName, match="No weight set of resnet18 is called 'a1_in2k'. Did you mean 'a1_in1k'?"):
        find_weight_set("resnet18", "a1_in2k")


def test_a_network_without_public_weights():
    assert weight_sets("plain34") == ()
    with pytest.raises(ValueError) as caught:
        find_weight_set("plain34")
    assert str(caught.value) == (
        "No public weights are known for plain34: give a file with --weights PATH,"
        " or train from scratch with --weights none."
    )


def test_neither_keras_nor_tensorflow_is_imported():
    code = (
        "import sys, transferkit.weights.fetch; sys.exit(bool({'keras', 'tensorflow', 'torch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
