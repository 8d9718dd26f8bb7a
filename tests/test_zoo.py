"""Every network of the zoo: counts, names, cut points, saving for plain Keras, precisions, another backend."""

import dataclasses
import functools
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from reference_weights import assert_near, build, fill, pictures, without_weights

from transferkit import models, zoo
from transferkit.explain import geometry
from transferkit.lookup import UnknownName
from transferkit.network import Network, cut_points, find_output, with_policy, with_size
from transferkit.pixels import Pixels

FAMILIES = "resnet18", "efficientnet_lite0"
PIXELS = Pixels((120.0, 115.0, 100.0), (60.0, 59.0, 58.0), 64, 73, "bicubic")


@pytest.fixture(scope="module", params=zoo.variants())
def sketch(request):
    """(row, model) of every network, without the memory of its weights."""
    row = zoo.variant(request.param)
    with without_weights():
        yield row, zoo.build(request.param, pixels=row.pixels, num_classes=row.classes)


@functools.cache
def filled(name):
    """A network whose logits depend on everything in it, the head included, which starts at zero."""
    model = zoo.build(name, pixels=PIXELS, num_classes=7)
    fill(model)
    return Network(model, PIXELS, tuple("äbcdefg"), "fc", name)


def run(script, *arguments, **environment):
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_trainable_parameters(sketch):
    row, model = sketch
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == row.params


def test_multiply_adds(sketch):
    """A convolution and a dense layer use every number of their kernel once for every place of their output; a locally
    connected layer has a kernel for each place."""
    row, model = sketch
    layers = [layer for layer in model.layers if any(weight.name == "kernel" for weight in layer.weights)]
    shapes = keras.Model(model.input, [layer.output for layer in layers]).compute_output_shape(
        (1, row.size, row.size, row.pixels.channels)
    )
    places = [
        1 if isinstance(layer, keras.layers.EinsumDense) else math.prod(shape[1:-1])
        for layer, shape in zip(layers, shapes, strict=True)
    ]
    assert sum(math.prod(layer.kernel.shape) * n for layer, n in zip(layers, places, strict=True)) == row.multiply_adds


def test_measured_layers_add_up_to_the_table(sketch):
    row, model = sketch
    measured = geometry.measure_layers(model, row.size)
    assert geometry.sum_costs(measured) == (row.params, row.multiply_adds)
    assert [layer.name for layer in measured] == [layer.name for layer in model.layers]
    shapes = keras.Model(model.input, [layer.output for layer in model.layers]).compute_output_shape(
        (1, row.size, row.size, model.input_shape[-1])
    )
    assert [layer.output for layer in measured] == [tuple(shape[1:]) for shape in shapes]


def test_input_and_output(sketch):
    row, model = sketch
    side = row.size if zoo.has_fixed_size(model.name) else None
    assert zoo.variant(model.name) is row
    assert model.input_shape == (None, side, side, row.pixels.channels)
    assert model.output_shape == (None, row.classes)
    assert model.output.dtype == "float32"
    first = model.layers[1]
    assert (first.name, first.compute_dtype, first.input) == ("pixels", "float32", model.input)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


def test_no_layer_has_a_default_name(sketch):
    _, model = sketch
    classes = {type(layer): layer for layer in model.layers}
    own = [cls.from_config(layer.get_config() | {"name": None}).name for cls, layer in classes.items()]
    keras_names = {re.sub(r"_\d+$", "", found) for found in own}
    for layer in model.layers:
        assert re.sub(r"_\d+$", "", layer.name) not in keras_names
        assert not any(part.startswith("_") for part in layer.name.split("."))


def test_cut_points(sketch):
    row, model = sketch
    names = [layer.name for layer in model.layers]
    stages = [cut for cut in cut_points(model) if re.fullmatch(r"stage\d", cut)]
    assert len(stages) >= 2 and stages == [f"stage{number}" for number in range(1, len(stages) + 1)]
    if "pooled" in names:  # All-CNN has none
        assert model.get_layer("pooled").output.shape == (None, row.features)
    assert model.get_layer(row.head).input.shape[-1] == row.features


def test_minimum(sketch, monkeypatch):
    """Every layer has a map of at least a pixel, and a pixel below one has not."""
    row, model = sketch

    def computes(side):
        try:
            fixed = zoo.has_fixed_size(model.name)
            whole = zoo.build(model.name, pixels=row.pixels, num_classes=2, size=side) if fixed else model
            every_layer = keras.Model(whole.input, [layer.output for layer in whole.layers])
            shapes = every_layer.compute_output_shape((1, side, side, row.pixels.channels))
        except ValueError:
            return False
        return all(size > 0 for shape in shapes for size in shape[1:])

    below = row.minimum - 1
    with pytest.raises(UnknownName, match=f"at least {row.minimum} pixels, not {below}|size must be a side in pixels"):
        zoo.build(model.name, pixels=row.pixels, num_classes=2, size=below)
    monkeypatch.setitem(zoo.variants(), model.name, dataclasses.replace(row, minimum=0))  # or it would be refused
    assert computes(row.minimum)
    assert not below or not computes(below)


@pytest.mark.parametrize(
    ("name", "asked", "meant"),
    [
        ("resnet18", "layer4", "layer4.1.relu"),
        ("resnet18", "layer2.0", "layer2.0.relu"),
        ("resnet50", "layer1", "layer1.2.relu"),
        ("resnet18", "conv1", "conv1"),
        ("resnet18", "stage3", "stage3"),
        ("efficientnet_lite0", "blocks.1", "blocks.1.bn2"),
        ("efficientnet_lite0", "blocks", "blocks.15.bn2"),
        ("efficientnet_lite0", "pooled", "pooled"),
    ],
)
def test_layer_outputs(name, asked, meant):
    assert find_output(build(name), asked) is build(name).get_layer(meant).output


def test_output_of_an_unknown_layer():
    with pytest.raises(UnknownName, match=r"'layer4.1.rellu'. Did you mean 'layer4.1.relu'\? Known: .*stage1"):
        find_output(build("resnet18"), "layer4.1.rellu")


def test_the_table_does_not_load_keras():
    script = (
        "import sys; from transferkit import zoo; zoo.variants(); print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    assert run(script).strip() == "set()"


# A None in sys.modules would do for most, but Keras looks there to see whether TensorFlow is in use.
BLOCKED = """
import sys
class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "{}":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked)
"""


def test_note_in_the_saved_file(tmp_path):
    network, path = filled("resnet18"), tmp_path / "resnet18.keras"
    models.save(network, path)
    with zipfile.ZipFile(path) as archive:
        note = json.loads(archive.read("transferkit.json"))
    assert note["classes"] == list("äbcdefg")
    assert note["pixels"] == {
        "mean": [120.0, 115.0, 100.0],
        "std": [60.0, 59.0, 58.0],
        "crop": 64,
        "resize": 73,
        "interpolation": "bicubic",
        "repeat": False,
        "fit": "crop",
    }
    again = models.load_file(path)
    assert (again.classes, again.pixels, again.head) == (network.classes, PIXELS, "fc")


@pytest.mark.parametrize("name", FAMILIES)
def test_mixed_precision(name, tmp_path):
    images = pictures(2, 64, 75)
    expected = np.asarray(filled(name).model(images, training=False))
    network = with_policy(filled(name), "mixed_bfloat16")
    assert {layer.compute_dtype for layer in network.model.layers} == {"float32", "bfloat16"}
    assert {layer.name for layer in network.model.layers if layer.compute_dtype == "float32"} <= {
        "pictures",
        "pixels",
        "fc",
    }
    assert {weight.dtype for weight in network.model.weights} == {"float32"}
    logits = network.model(images, training=False)
    assert logits.dtype == "float32"
    assert_near(logits, expected, 0.1)
    models.save(network, tmp_path / "mixed.keras")
    again = models.load_file(tmp_path / "mixed.keras").model
    assert {layer.compute_dtype for layer in again.layers} == {"float32"}
    assert_near(again(images, training=False), expected, 1e-5)


ON_JAX = """
sys.path.insert(0, sys.argv[1])
import keras, numpy
from reference_weights import fill, pictures
from transferkit import models, zoo
from transferkit.pixels import Pixels
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
model = zoo.build("resnet18", pixels=Pixels(), num_classes=7)
fill(model)
numpy.save(sys.argv[2], model(pictures(2, 64, 75), training=False))
"""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed")
def test_jax(tmp_path):
    folder = os.path.dirname(__file__)
    run(BLOCKED.format("tensorflow") + ON_JAX, folder, tmp_path / "logits.npy", KERAS_BACKEND="jax")
    model = zoo.build("resnet18", pixels=Pixels(), num_classes=7)
    fill(model)
    expected = np.asarray(model(pictures(2, 64, 75), training=False))
    assert_near(np.load(tmp_path / "logits.npy"), expected, 1e-4)


def smallest_of_families():
    """The network of fewest parameters of each family; the larger ones of them are for the slow tests."""
    found = {}
    for name, row in sorted(zoo.variants().items(), key=lambda item: item[1].params):
        found.setdefault(re.match("[a-z]+", name)[0], pytest.param(name, marks=[pytest.mark.slow] * (row.params > 5e6)))
    return found.values()


@pytest.mark.parametrize("name", smallest_of_families())
def test_pictures_of_minimum_size_run_compiled(name):
    row = zoo.variant(name)
    model = zoo.build(name, pixels=row.pixels, num_classes=2, size=row.minimum)
    images = pictures(1, row.minimum, row.minimum)[..., : row.pixels.channels]
    assert np.isfinite(model.predict(images, verbose=0)).all()


@pytest.mark.parametrize(
    ("name", "size"), [("alexnet", 64), pytest.param("googlenet(aux=true)", 15, marks=pytest.mark.slow)]
)
def test_a_last_map_of_one_pixel_runs_compiled(name, size):
    """Keras' adaptive average of one pixel fails there: built at this size, and brought to it."""
    pixels = Pixels(crop=size, resize=size)
    built = zoo.build(name, pixels=pixels, num_classes=2, size=size)
    brought = with_size(
        Network(zoo.build(name, pixels=pixels, num_classes=2), pixels, ("a", "b"), "", name), size
    ).model
    for model in (built, brought):
        answers = keras.tree.flatten(model.predict(pictures(1, size, size), verbose=0))
        assert {answer.shape for answer in answers} == {(1, 2)}
