"""Export: same logits in plain Keras, SavedModel, LiteRT and ONNX."""

import functools
import gc
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from reference_weights import assert_near, fill, pictures

from transferkit import models, zoo
from transferkit.network import Network, for_inference

slow = pytest.mark.slow
BIG = 20_000_000  # parameters
QUICK = ("lenet5", "allcnn_c", "resnet20_cifar", "efficientnet_lite0", "googlenet")  # one of each family
SAVED = ["googlenet(aux=true)", *zoo.variants()]
EXPORTED = [  # one of each family, and several outputs
    "lenet5",
    "allcnn_c",
    pytest.param("resnet20_cifar", marks=slow),
    pytest.param("efficientnet_lite0", marks=slow),
    pytest.param("googlenet_paper", marks=slow),
    pytest.param("googlenet", marks=slow),
    pytest.param("googlenet(aux=true)", marks=slow),
    pytest.param("resnet18", marks=slow),
    pytest.param("alexnet", marks=slow),
    pytest.param("alexnet_paper", marks=slow),
    pytest.param("zfnet", marks=slow),
    pytest.param("vgg11_lrn", marks=slow),
]


# fixtures of the module: all tests of a network follow each other, and it is built once
@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=() if one in QUICK else slow) for one in SAVED],
)
def name(request):
    return request.param


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request):
    return request.param


@functools.lru_cache(1)
def filled(name):
    """A network whose logits depend on everything in it, the head included, which starts at zero."""
    gc.collect()  # the network before, in cycles: up to half a gigabyte
    row = zoo.variant(name)
    model = zoo.build(name, pixels=row.pixels, num_classes=7)
    fill(model)
    return Network(model, row.pixels, tuple("abcdefg"), row.head, name)


def images_for(model):
    _, height, width, channels = model.input_shape
    return pictures(2, height or 64, width or 75)[..., :channels].astype("float32")


def logits_of(model, images) -> dict:
    answers = model(images, training=False)
    answers = answers if isinstance(answers, dict) else {"logits": answers}
    return {name: np.asarray(logits) for name, logits in answers.items()}


def assert_alike(answers, expected, tolerance):
    """Of several outputs a format may have lost the names and the order."""
    assert len(answers) == len(expected)
    for logits in expected.values():
        assert np.std(logits) > 0
        nearest = min(answers, key=lambda answer: np.abs(answer - logits).max())
        assert_near(nearest, logits, tolerance)


PLAIN_KERAS = """
import sys
sys.modules["transferkit"] = None  # importing it fails
import gc, keras, numpy
for line in sys.stdin:
    gc.collect()
    folder = line.rstrip("\\n")
    try:
        model = keras.models.load_model(f"{folder}/model.keras")
        answers = model(numpy.load(f"{folder}/pictures.npy"), training=False)
        answers = answers if isinstance(answers, dict) else {"logits": answers}
        numpy.savez(f"{folder}/logits.npz", **answers)
        print("done", flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


@pytest.fixture(scope="module")
def plain_keras(tmp_path_factory):
    """A process with Keras and without transferkit: of a folder with a model and pictures it writes the logits."""
    errors = tmp_path_factory.mktemp("plain_keras") / "errors.txt"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", PLAIN_KERAS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        ) as process,
    ):

        def answer(folder):
            print(folder, file=process.stdin, flush=True)
            said = process.stdout.readline()
            assert said == "done\n", said or errors.read_text()
            return np.load(folder / "logits.npz")

        yield answer
        process.stdin.close()


def test_plain_keras_loads_saved_models(name, plain_keras, tmp_path):
    network = filled(name)
    images = images_for(network.model)
    np.save(tmp_path / "pictures.npy", images)
    models.save(network, tmp_path / "model.keras")
    answers, expected = plain_keras(tmp_path), logits_of(for_inference(network).model, images)
    (tmp_path / "model.keras").unlink()  # up to half a gigabyte
    assert set(answers) == set(expected)
    for output, logits in expected.items():
        assert np.std(logits) > 0
        assert_near(answers[output], logits, 1e-5)


def test_saved_model(exported, tmp_path):
    tf = pytest.importorskip("tensorflow")
    model = filled(exported).model
    model.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    loaded, images = tf.saved_model.load(tmp_path / "saved"), images_for(model)
    answers = loaded.serve(images)
    answers = list(answers.values()) if isinstance(answers, dict) else [answers]
    assert_alike([answer.numpy() for answer in answers], logits_of(model, images), 1e-4)


# TensorFlow 2.21 still has the interpreter that it says went with 2.20
@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")
def test_litert(exported, tmp_path):
    tf = pytest.importorskip("tensorflow")
    model = filled(exported).model
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    images, interpreter = images_for(model), tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    (wanted,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(wanted["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(wanted["index"], images)
    interpreter.invoke()
    answers = [interpreter.get_tensor(found["index"]) for found in interpreter.get_output_details()]
    assert_alike(answers, logits_of(model, images), 1e-4)


@pytest.mark.filterwarnings("ignore:In the future `np.object` will be defined:FutureWarning")  # tf2onnx 1.17
def test_onnx(exported, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = filled(exported).model
    if zoo.variant(exported).params > BIG:  # tf2onnx takes fifty times a network's size in memory
        model = keras.Model(model.input, model.get_layer("flat").output)
    images = images_for(model)
    expected = logits_of(model, images)  # first: Keras exports no model to ONNX that was never called
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    (wanted,) = session.get_inputs()
    assert_alike(session.run(None, {wanted.name: images}), expected, 1e-4)
