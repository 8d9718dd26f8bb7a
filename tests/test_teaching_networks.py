"""The small networks for teaching: counts by hand, what they compute, training, and saving for plain Keras."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from reference_weights import without_weights

from transferkit import zoo
from transferkit.lookup import UnknownName
from transferkit.zoo import teaching

NAMES = ["simple_cnn", "local_cnn", "mlp"]


def model_of(name, size=None):
    return zoo.build(name, pixels=zoo.variant(name).pixels, num_classes=10, size=size)


def params(name):
    with without_weights():
        return sum(math.prod(weight.shape) for weight in model_of(name).trainable_weights)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # (inputs of a unit + bias) x maps, and the classifier
        ("simple_cnn(depth=1, width=8, kernel=5)", (25 * 3 + 1) * 8 + (16 * 16 * 8 + 1) * 10),
        ("simple_cnn(depth=2, width=32, top=average)", (9 * 3 + 1) * 32 + (9 * 32 + 1) * 64 + (64 + 1) * 10),
        # 32, 30, 15, 13, 6 pixels
        ("simple_cnn(depth=2, padding=valid, pool=average)", (27 + 1) * 16 + (144 + 1) * 32 + (36 * 32 + 1) * 10),
        ("simple_cnn(depth=2, norm=batch, lrn=true)", (27 + 3) * 16 + (144 + 3) * 32 + (64 * 32 + 1) * 10),
        ("simple_cnn(depth=1, pool=stride, top=average)", (27 + 1) * 16 + (4 * 16 + 1) * 16 + 17 * 10),
        # the same for each of the 32x32, 16x16 and 8x8 places
        ("local_cnn", 1024 * (27 + 1) * 16 + 256 * (144 + 1) * 32 + 64 * (288 + 1) * 64 + 1025 * 10),
        ("local_cnn(depth=1, kernel=5, padding=valid)", 28 * 28 * (75 + 1) * 16 + (14 * 14 * 16 + 1) * 10),
        ("mlp(hidden=300-100)", 3073 * 300 + 301 * 100 + 101 * 10),
        ("mlp(hidden=512)", 3072 * 512 + 512 + 513 * 10),
    ],
)
def test_counts(name, expected):
    assert params(name) == expected


def kernel_at(kernel, size, maps):
    """A kernel of the locally connected layer as one of a convolution for each place."""
    return kernel.reshape(*kernel.shape[:2], size, size, maps, kernel.shape[-1])


@pytest.mark.parametrize("options", [{}, {"padding": 0}, {"stride": 2}, {"kernel": 2}, {"kernel": 1}], ids=str)
def test_a_locally_connected_layer_against_a_loop(options):
    size, stride = options.get("kernel", 3), options.get("stride", 1)
    maps = keras.Input((7, 9, 3))
    layer = keras.Model(maps, teaching.local(maps, 4, **{"kernel": 3} | options, name="local"))
    random = np.random.default_rng(0)
    kernel, bias = layer.get_layer("local").get_weights()
    kernel, bias = random.normal(size=kernel.shape), random.normal(size=bias.shape)
    layer.get_layer("local").set_weights([kernel, bias])
    x = random.normal(size=(2, 7, 9, 3))
    before = options.get("padding", size // 2)
    after = size - 1 - before if stride == 1 and "padding" not in options else before
    padded = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    found, kernels = np.asarray(layer(x)), kernel_at(kernel, size, 3)
    assert found.shape[1:] == (*kernel.shape[:2], 4)
    for i, j in np.ndindex(kernel.shape[:2]):
        window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
        expected = np.einsum("nabc,abcf->nf", window, kernels[i, j]) + bias[i, j]
        np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-4, atol=1e-5)


def test_with_one_kernel_at_all_places_it_is_the_convolution():
    shared, local = model_of("simple_cnn"), model_of("local_cnn")
    for stage in (1, 2, 3):
        kernel, bias = shared.get_layer(f"conv{stage}").get_weights()
        own = local.get_layer(f"conv{stage}")
        flat = kernel.reshape(-1, kernel.shape[-1])
        own.set_weights([np.broadcast_to(flat, own.kernel.shape), np.broadcast_to(bias, own.bias.shape)])
    head = np.random.default_rng(0).normal(size=(1024, 10)), np.zeros(10)
    for model in (shared, local):
        model.get_layer("classifier").set_weights(head)
    x = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3))
    np.testing.assert_allclose(local(x), shared(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [*NAMES, "simple_cnn(norm=group, lrn=true, pool=stride)", "local_cnn(pool=stride)"])
def test_a_step_of_training_lowers_the_loss(name):
    keras.utils.set_random_seed(0)
    model = model_of(name)
    # eagerly: a graph takes longer to compile than to run
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    labels = np.arange(20) % 10
    images = np.random.default_rng(0).uniform(0, 120, (20, 32, 32, 3)) + labels[:, None, None, None] * 12
    first = model.evaluate(images, labels, verbose=0)
    assert first == pytest.approx(math.log(10), rel=1e-4)  # the classifier begins at zero
    before = [np.asarray(weight) for weight in model.trainable_weights]
    model.fit(images, labels, epochs=3, batch_size=20, verbose=0)
    assert model.evaluate(images, labels, verbose=0) < first
    assert all((old != np.asarray(new)).any() for old, new in zip(before, model.trainable_weights, strict=True))


PLAIN = """
import sys
sys.modules["transferkit"] = None
import keras, numpy
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{sys.argv[1]}/{name}.keras", safe_mode=True)
    numpy.save(f"{sys.argv[1]}/{name}.npy", model(numpy.load(f"{sys.argv[1]}/pictures.npy"), training=False))
"""


@pytest.mark.slow
def test_plain_keras_loads_them(tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.save(tmp_path / "pictures.npy", images)
    names = [*NAMES, "local_cnn(kernel=4, pool=average, pool_size=3)", "resnet20_cifar(norm=group, widen=0.5)"]
    expected = {}
    for number, name in enumerate(names):
        model = model_of(name)
        for weight in model.weights:
            weight.assign(np.random.default_rng(1).normal(0, 0.05, weight.shape))
        model.save(tmp_path / f"{number}.keras")
        expected[number] = np.asarray(model(images, training=False))
    subprocess.run([sys.executable, "-c", PLAIN, tmp_path, *map(str, expected)], check=True, capture_output=True)
    for number, logits in expected.items():
        assert np.std(logits) > 0
        np.testing.assert_allclose(np.load(tmp_path / f"{number}.npy"), logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "least"),
    [("simple_cnn", 8), ("simple_cnn(depth=5)", 32), ("simple_cnn(depth=2, padding=valid, kernel=5)", 16)],
)
def test_minimum_size(name, least):
    assert zoo.minimum_size(name) == least
    with without_weights():
        model = model_of(name, least)
    last = [layer.output.shape for layer in model.layers if layer.name.startswith("stage")][-1]
    assert last[1:3] == (1, 1)
    with pytest.raises(UnknownName, match=f"needs pictures of at least {least} pixels, not {least - 1}"):
        model_of(name, least - 1)
