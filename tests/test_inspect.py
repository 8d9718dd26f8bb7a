"""`transferkit inspect` and `transferkit models --filter`."""

import json

import keras
import pytest

from transferkit import zoo
from transferkit.commands import inspect


def test_cut_points_alone(cli):
    status, out, _ = cli("inspect", "resnet18", "--cuts", "--json")
    layers = json.loads(out)["layers"]
    assert status == 0 and [layer["name"] for layer in layers] == [
        "stem",
        *(f"stage{i}" for i in range(1, 5)),
        "pooled",
    ]
    assert layers[3]["output"] == [14, 14, 256]
    status, out, _ = cli("inspect", "alexnet", "--cuts")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert status == 0 and lines["fc6"][:2] == ["4096", "4,096"] and "conv5" in lines and len(lines) < 15


def test_json_keys(cli):
    status, out, _ = cli("inspect", "resnet18", "--json")
    document = json.loads(out)
    assert status == 0
    assert list(document) == ["name", "params", "multiply_adds", "layers"]
    row = zoo.variant("resnet18")
    assert (document["name"], document["params"], document["multiply_adds"]) == (
        "resnet18",
        row.params,
        row.multiply_adds,
    )
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["layer4.1.conv2"] == {
        "name": "layer4.1.conv2",
        "kind": "Conv2D",
        "output": [7, 7, 512],
        "params": 512 * 512 * 9,
        "multiply_adds": 512 * 512 * 9 * 49,
        "receptive_field": 435,
        "stride": 32,
    }
    assert {"conv1.pad", "relu", "stem", "pooled"} <= set(layers)
    assert (layers["pooled"]["output"], layers["pooled"]["receptive_field"], layers["pooled"]["stride"]) == (
        [512],
        None,
        None,
    )


def test_a_readable_table(cli):
    status, out, _ = cli("inspect", "resnet18")
    assert status == 0
    assert "56x56x64" in out
    assert "11,689,512" in out
    assert "1,814,073,344" in out
    assert "435 pixels, 32 apart, at stage4" in out
    assert "stem, stage1, stage2, stage3, stage4, pooled" in out
    assert "imagenet1k_v1" in out
    assert "output_stride=32|16|8" in out
    assert "20 BatchNormalization" in out
    assert "layer1.0.bn1" not in out
    assert "layer1.0.bn1" in cli("inspect", "resnet18", "--all")[1]


def test_another_size(cli, tiny):
    document = json.loads(cli("inspect", tiny, "--size", "64", "--json")[1])
    assert [layer["output"] for layer in document["layers"] if layer["kind"] == "Identity"] == [
        [32, 32, 8],
        [16, 16, 16],
    ]
    assert "at 64x64" in cli("inspect", tiny, "--size", "64")[1]


def test_knobs(cli):
    document = json.loads(cli("inspect", "resnet18( stem = small )", "--size", "32", "--json")[1])
    assert document["name"] == "resnet18(stem=small)"
    assert document["layers"][-2]["name"] == "pooled"
    assert next(layer for layer in document["layers"] if layer["name"] == "stage1")["output"] == [32, 32, 64]


def test_a_run_and_its_file(cli, finished):
    for path in (finished.folder, finished.folder / "model.keras"):
        status, out, _ = cli("inspect", path, "--verbose")
        assert status == 0
        assert "at 32x32" in out
        assert "2: cat, dog" in out
        assert "all weights loaded" in out
    document = json.loads(cli("inspect", finished.folder, "--json")[1])
    assert document["layers"][-1]["output"] == [2]


def test_a_model_whose_pixels_are_unknown(cli, tmp_path):
    """Its table is that of plain Keras; what looks at pictures still asks."""
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), *(layer(4, 3) for layer in [keras.layers.Conv2D] * 2), keras.layers.Flatten()]
        + [keras.layers.Dense(3, activation="softmax")]
    )
    name = "my.keras"
    model.save(tmp_path / name)
    status, out, _ = cli("inspect", name)
    assert status == 0 and "is unknown: commands that read pictures need --pixels" in " ".join(out.split())
    assert "3: their names are unknown" in out and "as told" not in out and "mean" not in out
    status, out, _ = cli("inspect", name, "--json")
    document = json.loads(out)
    assert (status, document["params"]) == (0, model.count_params())
    kernels = [layer["output"] for layer in document["layers"] if layer["params"]]
    assert kernels == [list(layer.output.shape[1:]) for layer in model.layers if layer.weights]
    assert cli("inspect", name, "resnet18", "--cuts")[0] == 0
    status, _, err = cli("predict", name, tmp_path)
    assert status != 0
    (tmp_path / "a.png").write_bytes(b"")
    status, _, err = cli("predict", name, tmp_path / "a.png")
    assert (status, "give --pixels torch, caffe, tf, unit or raw" in err) == (2, True)


def test_two_networks_side_by_side(cli):
    status, out, _ = cli("inspect", "resnet18", "plain18")
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["parameters", "11.69", "M", "11.52", "M", "-0.17", "M"] in lines
    assert ["stage4", "7x7x512", "7x7x512"] in lines
    assert ["stage4", "435", "435", "0"] in lines
    assert [document["name"] for document in json.loads(cli("inspect", "resnet18", "plain18", "--json")[1])] == [
        "resnet18",
        "plain18",
    ]


def test_cut_points_of_both_in_order():
    assert inspect._merge(["stem", "stage1", "pooled"], ["stem", "conv2", "stage1", "stage2", "pooled"]) == [
        "stem",
        "conv2",
        "stage1",
        "stage2",
        "pooled",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["inspect", "resnt18"], "Did you mean 'resnet18'?"),
        (["inspect", "resnet18", "resnet43"], "Did you mean 'resnet34'?"),
        (["inspect", "resnet18(stam=small)"], "Did you mean 'stem'?"),
        (["inspect", "resnet18", "--size", "0"], "size must be a side in pixels, as 224, or height x width"),
        (["inspect", "nowhere/model.keras"], "There is no run or file 'nowhere/model.keras'"),
        (["models", "--filter", "rasnet18"], "No network matches 'rasnet18'. Did you mean 'resnet18'?"),
        (["models", "--filter", "renset*", "--json"], "No network matches 'renset*'."),
    ],
)
def test_errors(cli, words, sentence):
    status, out, err = cli(*words)
    assert (status, out) == (2, "")
    assert sentence in err


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("resnet1*", {"resnet18", "resnet101", "resnet152", "resnet101_paper", "resnet152_paper", "resnet110_cifar"}),
        ("PLAIN?8", {"plain18"}),
        ("Lite", {f"efficientnet_lite{n}" for n in range(5)}),
        ("plain34", {"plain34"}),
    ],
)
def test_filter(cli, pattern, names):
    assert {net["name"] for net in json.loads(cli("models", "--filter", pattern, "--json")[1])} == names
    first = [line.split()[0] for line in cli("models", "--filter", pattern)[1].splitlines() if line]
    assert names <= set(first)
    assert "vgg16" not in first


def test_models_are_one_table_and_those_that_are_here_come_first(cli, tmp_path, monkeypatch):
    out = cli("models", "--filter", "resnet18")[1]
    assert "a1_in1k" in out and "cc-by-nc-4.0" not in out
    assert "cc-by-nc-4.0" in cli("models", "--filter", "resnet18", "--licences")[1]
    monkeypatch.setattr("transferkit.weights.model_list.find_weights", lambda each: each.network == "vgg16" or None)
    rows = [line.split() for line in cli("models")[1].splitlines()[1:] if line]
    assert rows[0][0] == "vgg16" and rows[0][-1] == "keras*" and rows[1][0] == "alexnet"
    assert sum("*" in word for row in rows[1:-1] for word in row) == 0
