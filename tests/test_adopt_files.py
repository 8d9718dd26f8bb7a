"""Files of Keras models, `keras:NAME` and SavedModel folders as a base; error messages for unusable ones."""

import json
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from test_adopt import backbone, cnn, noise, same, shaken

import transferkit as tk
from transferkit import adopt, models, trust
from transferkit.lookup import UnknownName
from transferkit.network import with_head

QUICK = ["--epochs", "2", "--head-epochs", "1", "--batch-size", "8", "--lr", "0.01"]


@pytest.fixture
def saved(tmp_path):
    """saved(model, name) writes a model and gives the path."""

    def to(model, name):
        model.save(tmp_path / name)
        return tmp_path / name

    return to


@pytest.mark.parametrize("name", ["my.keras", "my.h5"])
def test_a_file(saved, name):
    model = cnn(layers.Rescaling(1 / 255), layers.RandomFlip())
    network = models.load(saved(model, name))
    assert same(network, model)
    assert network.base.endswith(name)
    assert network.loaded[:2] == ("6/6 tensors loaded", "pixels: raw, by its own Rescaling")
    assert tk.create(model, num_classes=5).output_shape == (None, 5)
    with pytest.raises(UnknownName, match="has weights of its own: omit --weights none"):
        models.load(saved(model, name), "none")


def test_a_saved_network_of_the_zoo(tiny, tmp_path):
    """A run's model that plain Keras loaded and saved: its note is lost, its marks are not doubled."""
    network = models.load(tiny, "none")
    again = adopt.adopt_model(shaken(network.model))
    marks = [layer.name for layer in again.model.layers if isinstance(layer, layers.Identity)]
    assert marks == ["stage1", "stage2", "pooled"]
    assert again.pixels.std == pytest.approx(network.pixels.std)
    np.testing.assert_allclose(again.model(noise()), network.model(noise()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_fine_tuning_starts_from_a_file(saved, cli, pets, tmp_path):
    """The whole way: a model of one's own, the command, a run, and its model in plain Keras."""
    whole = cnn(layers.Rescaling(1.0))
    body = keras.Model(whole.inputs, whole.get_layer("two").output, name="body")
    path = saved(keras.Sequential([keras.Input((32, 32, 3)), body]), "my.keras")
    status, out, err = cli("finetune", "--base", path, "--data", pets, "--out", "run", "--pixels", "tf", *QUICK)
    assert status == 0, err
    assert "head 0 -> 2 new; pixels: tf, as told; it has no classifier" in err
    code = (
        "import sys; sys.modules['transferkit'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('run/model.keras')\n"
        "assert [layer.name for layer in model.layers][:2] == ['pictures', 'pixels']\n"
        "print(model(np.ones((1, 32, 32, 3))).shape)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "(1, 2)" in out
    picture = next((pets / "cat").iterdir())
    status, out, _ = cli("predict", "run", picture, "--json")
    assert (status, json.loads(out)[0]["label"] in ("cat", "dog")) == (0, True)
    status, out, err = cli("evaluate", "run", "--json", "--pixels", "tf")
    assert (status, "has a pixel convention of its own: omit --pixels tf" in err) == (2, True)


@pytest.mark.slow
def test_predict_prints_its_assumptions(saved, cli, pets):
    path, picture = saved(cnn(layers.Rescaling(1 / 255)), "my.keras"), next((pets / "cat").iterdir())
    status, out, err = cli("predict", path, picture, "--json")
    assert (status, json.loads(out)[0]["label"] in ("output 0", "output 1", "output 2")) == (0, True)
    assert "pixels: raw, by its own Rescaling" in err
    path = saved(cnn(), "other.keras")
    status, _, err = cli("predict", path, picture)
    assert (status, "give --pixels torch, caffe, tf, unit or raw" in err) == (2, True)
    status, _, err = cli("predict", path, picture, "--pixels", "unit")
    assert (status, "pixels: unit, as told" in err) == (0, True)
    path = saved(backbone(), "features.keras")
    for words in (["predict", path, picture], ["evaluate", path, "--data", pets]):
        status, _, err = cli(*words)
        assert status == 1
        assert "features.keras has no classifier, so it cannot classify: transferkit finetune --base" in err


@keras.saving.register_keras_serializable("mine")
class Own(layers.Layer):
    def call(self, x):
        return x * 2.0


def unregistered(path):
    """The file of a model with a layer that is unknown where it is read."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b"mine>Own", b"hers>Own").replace(b'"tests.', b'"hers.')
    members["config.json"] = members["config.json"].replace(b'"module": "test_adopt_files"', b'"module": "hers"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def damaged(path):
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] if path.suffix == ".h5" else content[:half] + bytes(300) + content[half + 300 :])
    return path


def weights_alone(path):
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    return path


def renamed(path):
    return path.rename(path.with_suffix(".keras" if path.suffix == ".h5" else ".h5"))


def text(path):
    path.write_text("no model at all")
    return path


@pytest.mark.parametrize(
    ("name", "first", "change", "sentence"),
    [
        ("my.keras", layers.Lambda(lambda x: x), str, "has a Lambda layer 'code', whose Python code is not run"),
        ("my.h5", layers.Lambda(lambda x: x), str, "has a Lambda layer 'code', whose Python code is not run"),
        ("my.keras", Own(), unregistered, "has a layer 'code' of class 'Own', which Keras does not have"),
        ("my.keras", None, damaged, "is damaged"),
        ("my.h5", None, damaged, "is damaged"),
        ("my.h5", None, weights_alone, "holds weights and no network: give the network's name as --base and --weights"),
        ("my.h5", None, renamed, "must be called my.h5, for what it holds"),
        ("my.keras", None, text, "is not a file of a Keras model, or it is cut short"),
    ],
)
def test_files_that_cannot_be_a_base(saved, name, first, change, sentence):
    if first:
        first.name = "code"
    path = change(saved(cnn(*filter(None, [first])), name))
    with pytest.raises(ValueError, match=sentence) as error:
        models.load(path, pixels="raw")
    assert str(error.value).startswith(str(path).removesuffix("x"))
    assert "\n" not in str(error.value)


def test_names_of_keras_applications(monkeypatch, tmp_path, capsys):
    network = adopt.load_application("keras:mobilenet", "none")
    assert (network.base, network.loaded, network.pixels.crop) == ("keras:MobileNet (fresh)", (), 224)
    assert (network.classes[0], network.head) == ("tench", "conv_preds")
    with pytest.raises(UnknownName, match="No network of keras.applications is called 'ResNet49'. Did you mean"):
        models.load("keras:ResNet49")
    with pytest.raises(UnknownName, match="keras:VGG16 has no weights called 'best': expected imagenet, none or the"):
        models.load("keras:vgg16", "best")
    with pytest.raises(FileNotFoundError, match="There is no gone.h5: expected the weights of keras:VGG16"):
        models.load("keras:VGG16", "gone.h5")

    def offline(name, origin, **_):
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    with pytest.raises(OSError, match=r"could not be downloaded from https://\S+\.h5 \(\[Errno -2\] Name or.*give one"):
        models.load("keras:MobileNetV2")
    assert ".h5 has a licence of its own" in capsys.readouterr().err


def test_an_error_of_keras_is_not_a_failed_download(monkeypatch):
    def changed(**knobs):
        raise TypeError("MobileNetV2() got an unexpected keyword argument 'weights'")

    monkeypatch.setattr(keras.applications, "MobileNetV2", changed)
    with pytest.raises(TypeError, match="unexpected keyword"):
        models.load("keras:MobileNetV2")


@pytest.mark.slow
def test_unnamed_layers_are_numbered_in_their_network():
    names = [
        [layer.name for layer in adopt.load_application("keras:InceptionV3", "none").model.layers] for _ in range(2)
    ]
    assert names[0] == names[1]
    assert "conv2d_93" in names[0]


@pytest.mark.slow
def test_weights_of_keras_applications_from_a_file(tmp_path):
    build = keras.applications.MobileNetV2
    for name, knobs in (
        ("a.weights.h5", {}),
        ("b.weights.h5", {"classes": 4}),
        ("c.weights.h5", {"include_top": False}),
    ):
        model = shaken(build(weights=None, **knobs))
        model.save_weights(tmp_path / name)
        network = models.load("keras:MobileNetV2", tmp_path / name)
        assert len(network.classes) == {"a": 1000, "b": 4, "c": 0}[name[0]]
        if network.classes:
            assert same(network, model, "tf", 224)
    with pytest.raises(ValueError, match="c.weights.h5 is not a weights file of keras:MobileNet: it holds") as error:
        models.load("keras:MobileNet", tmp_path / "c.weights.h5")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("last", "said"), [("softmax", "probabilities"), (None, "logits")])
def test_a_saved_model_can_only_predict(cli, pets, tmp_path, last, said):
    model = cnn(last=last)
    model.export(tmp_path / "served", verbose=False)
    trust.allow(tmp_path / "served")
    with pytest.raises(UnknownName, match="is a SavedModel, which does not say how pixels are scaled"):
        models.load(tmp_path / "served")
    network = models.load(tmp_path / "served", pixels="tf")
    assert network.loaded[1:] == (f"its outputs are {said}", "pixels: tf, as told")
    pictures = noise()
    wanted = keras.ops.softmax(model(pictures / 127.5 - 1)) if last is None else model(pictures / 127.5 - 1)
    np.testing.assert_allclose(keras.ops.softmax(network.model(pictures)), wanted, atol=1e-5)
    status, out, err = cli("predict", "served", next((pets / "cat").iterdir()), "--pixels", "tf", "--json", "--trust")
    assert (status, json.loads(out)[0]["label"] in ("output 0", "output 1", "output 2")) == (0, True), err
    with pytest.raises(UnknownName, match="served has no layers .*keras"):
        with_head(network, ["a", "b"])


class Subclass(keras.Model):
    def call(self, x):
        return x


def two(outputs):
    return keras.Model(given := keras.Input((8, 8, 3)), [layers.Flatten()(given)] * outputs)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: keras.Sequential([layers.Dense(2)]), "does not know the shape of its pictures"),
        (lambda: Subclass(), "is a subclass of keras.Model, Subclass, with a call of its own"),
        (lambda: two(2), "has 1 input and 2 outputs, expected one of each"),
        (lambda: keras.Sequential([keras.Input((28, 28)), layers.Flatten()]), r"takes \(None, 28, 28\), expected"),
        (lambda: keras.Sequential([keras.Input((3, 8, 8)), layers.Flatten()]), "channels last"),
        (lambda: cnn(shape=(32, 48, 3)), "takes pictures of 32 x 48 pixels, expected squares"),
        (lambda: cnn(layers.Lambda(lambda x: x / 255)), "has a Lambda layer 'lambda', whose Python code"),
        (lambda: cnn(layers.Resizing(32, 48)), "resizes to 32 x 48 pixels: expected squares"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Reshape((8, 24))]), "expected the scores of classes"),
    ],
)
def test_models_that_cannot_be_networks(make, sentence):
    keras.backend.clear_session()  # numbers in the names of layers
    with pytest.raises(ValueError, match=sentence) as error:
        adopt.adopt_model(make(), "raw", source="x.keras")
    assert str(error.value).startswith("x.keras ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["my.keras", "my.h5"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_nan_weights_are_named(saved, cli, name, value):
    model = cnn(layers.Rescaling(1 / 255))
    kernel, bias = model.layers[-1].get_weights()
    kernel[0, 0] = value
    model.layers[-1].set_weights([kernel, bias])
    path = saved(model, name)
    status, _, err = cli("inspect", path)
    assert status == 1 and f"{path} holds weights that are NaN or infinite: " in err
    assert err.rstrip().endswith("/kernel. Take an earlier checkpoint.")


def test_nan_weights_are_named_in_a_weight_file(tiny, tmp_path):
    network = models.load(tiny, "none").model
    network.get_layer("layer1.bn").moving_variance.assign(np.full(8, np.nan))
    network.save_weights(path := tmp_path / "tiny.weights.h5")
    with pytest.raises(ValueError, match=r"tiny.weights.h5 holds .*infinite: layer1.bn/moving_variance\. Take"):
        models.load(tiny, str(path))


def test_advice_for_several_inputs_works():
    pictures, more = keras.Input((8, 8, 3)), keras.Input((4,))
    x = layers.GlobalAveragePooling2D()(pictures)
    both = layers.Dense(2, name="both")(layers.Concatenate()([x, more]))
    with pytest.raises(ValueError, match=r"has 2 inputs and 1 output, expected one of each\.$"):
        adopt.adopt_model(keras.Model([pictures, more], both))
    model = keras.Model([more, pictures], [both, layers.Dense(3, name="alone")(x)])
    with pytest.raises(ValueError, match=r"keras.Model\(model.inputs\[1\], model.outputs\[1\]\)\.$"):
        adopt.adopt_model(model)
    assert adopt.adopt_model(keras.Model(model.inputs[1], model.outputs[1]), "raw").model.output_shape == (None, 3)
