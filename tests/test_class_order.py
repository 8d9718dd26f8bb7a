"""Class names of a foreign model's outputs: unknown until a file or an order gives them."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import transferkit as tk
from transferkit import models
from transferkit.data import class_names
from transferkit.lookup import UnknownName
from transferkit.network import cut_network, with_head
from transferkit.recipe import Model, Recipe
from transferkit.training.fitting import distillation
from transferkit.training.planning import plan_completion, planner

GREY = {str(number): 10 + 20 * number for number in range(12)}  # of the pictures in the folder of that number


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Folders 0 to 11, a grey of its own in each."""
    folder = tmp_path_factory.mktemp("numbers")
    for name, grey in GREY.items():
        (folder / name).mkdir()
        for shift in range(2):
            Image.fromarray(np.full((16, 16, 3), grey + shift, "uint8")).save(folder / name / f"{shift}.png")
    return folder


def by_keras(folder) -> list[str]:
    """The classes of a folder as Keras itself has them, which is what its users' models are trained on."""
    return keras.utils.image_dataset_from_directory(folder, image_size=(16, 16), verbose=False).class_names


@pytest.fixture
def greys(numbers, tmp_path):
    """The file of a model that knows all greys, its outputs in the order of Keras' loader: no training needed."""
    centres = np.array([GREY[name] / 255 for name in by_keras(numbers)])
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), layers.Dense(12)]
    )
    # -(grey - centre)^2, but for what is the same of all classes
    model.layers[-1].set_weights([1e4 * np.tile(2 * centres, (3, 1)) / 3, -1e4 * centres**2])
    model.save(tmp_path / "greys.keras")
    return tmp_path / "greys.keras"


@pytest.mark.parametrize("names", [GREY, ["b", "a", "B", "Ä", "a b", "a-b"], ["c10", "c2", "c1"], ["007", "7", "70"]])
def test_known_class_orders(names, tmp_path):
    for name in names:
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((16, 16, 3), "uint8")).save(tmp_path / name / "a.png")
    assert class_names.sort_classes("keras", names) == tuple(by_keras(tmp_path))
    assert class_names.sort_classes("natural", names) == tk.list_images(tmp_path).classes


def test_evaluate_asks_for_the_order(cli, greys, numbers, tmp_path):
    status, out, err = cli("evaluate", greys, "--data", numbers, "--json")
    assert (status, out) == (2, "")
    assert (
        "does not say which class each of its 12 outputs is: give --class-order keras if they are 0, 1, 10, 11" in err
    )
    assert "--class-order natural if they are 0, 1, 2, 3" in err and "or --classes FILE" in err
    (tmp_path / "names.txt").write_text("\ufeff" + "\r\n".join(by_keras(numbers)) + "\r\n\n", "utf-8")
    for words, accuracy in (
        (["--class-order", "keras"], 1.0),
        (["--class-order", "natural"], 2 / 12),
        (["--classes", "names.txt"], 1.0),
    ):
        status, out, err = cli("evaluate", greys, "--data", numbers, "--json", *words)
        assert status == 0, err
        assert json.loads(out)["accuracy"] == pytest.approx(accuracy)


def test_predict_shows_outputs_as_numbers(cli, greys, numbers, tmp_path):
    picture = numbers / "10" / "0.png"
    assert json.loads(cli("predict", greys, picture, "--json")[1])[0]["label"] == "output 2"
    (tmp_path / "names.txt").write_text("\n".join(by_keras(numbers)), "utf-8")
    status, out, _ = cli("predict", greys, picture, "--json", "--classes", "names.txt")
    assert (status, json.loads(out)[0]["label"]) == (0, "10")
    status, out, _ = cli("inspect", greys)
    assert status == 0 and "12: their names are unknown" in out


def planned(base, data, **knobs):
    knobs = {"head_epochs": 0, "epochs": 1} | knobs
    return planner.make_plan(Recipe().override(base=str(base), data=str(data), **knobs))


def test_fine_tuning_keeps_the_head_only_if_the_order_is_given(greys, numbers, capsys):
    kernel = models.load(greys).model.layers[-1].get_weights()[0]

    def kept(plan):
        return np.array_equal(plan.network.model.get_layer(plan.network.head).get_weights()[0], kernel)

    plan = planned(greys, numbers)
    assert plan.network.loaded[0] == "head 12 -> 12 new; 0/2 tensors loaded" and not kept(plan)
    assert plan.splits.train.classes == plan.network.classes == tuple(GREY)
    assert "Without that, its classifier is replaced by a new one." in capsys.readouterr().err
    for order in ("keras", "natural"):
        plan = planned(greys, numbers, class_order=order)
        assert kept(plan) and plan.network.loaded[0] == "2/2 tensors loaded"
        assert plan.network.classes == plan.splits.train.classes == plan.splits.val.classes
        assert plan.network.classes == class_names.sort_classes(order, GREY)
        folder = [path.split("/")[-2] for path in plan.splits.val.paths]
        assert [plan.network.classes[label] for label in plan.splits.val.labels] == folder
        assert kept(plan_completion.renew_plan(plan))
    assert "Without that" not in capsys.readouterr().err


def test_partly_matching_names_make_a_new_head(greys, numbers, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(["zero", *by_keras(numbers)[1:]]), "utf-8")
    plan = planned(greys, numbers, classes=str(tmp_path / "names.txt"))
    assert plan.network.loaded[0] == "head 12 -> 12 new; 0/2 tensors loaded"


def test_columns_of_a_fine_tuner_are_those_of_its_labels(greys, numbers, tmp_path):
    """`fit` sorts them as numbers, the head that is kept has them in the order that was said."""
    plan, tuner = planned(greys, numbers, class_order="keras"), tk.FineTuner(str(greys))
    models.save(plan.network, tmp_path / "kept.keras")
    tuner.classes_, tuner._saved = np.arange(12), (tmp_path / "kept.keras").read_bytes()
    assert tuner.network_.classes[2] == "10"
    assert tuner.predict([str(numbers / "2" / "0.png")]).tolist() == [2]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--classes", "gone.txt"], 2, "'gone.txt' does not exist"),
        (["--classes", "few.txt"], 1, "few.txt names 2 classes, and greys.keras has 12 outputs: expected a line for"),
        (["--classes", "twice.txt"], 1, "twice.txt, line 3: 'cat' is there twice"),
        (["--classes", "gap.txt"], 1, "gap.txt, line 2: expected the name of a class, not an empty line"),
        (["--classes", "picture.txt"], 1, "picture.txt is not a text file in UTF-8"),
        (["--classes", "few.txt", "--class-order", "keras"], 2, "few.txt gives the order too: omit --class-order"),
        (["--class-order", "kears"], 2, "'kears' is not one of 'keras', 'natural'"),
        (["--class-order", "keras", "--data", "{pets}"], 2, "12 outputs and does not say what they are, and the pict"),
        (["--data", "{pets}"], 2, "the pictures have 2 classes, so no order of these matches them: give --classes"),
    ],
)
def test_error_messages(cli, greys, numbers, pets, tmp_path, words, status, sentence):
    files = {"few": b"cat\ndog", "twice": b"cat\ndog\ncat\n", "gap": b"cat\n\ndog", "picture": b"\x89PNG\r\n\xff"}
    for name, content in files.items():
        (tmp_path / f"{name}.txt").write_bytes(content)
    found, out, err = cli("evaluate", "greys.keras", "--data", numbers, *(word.format(pets=pets) for word in words))
    assert (found, out, sentence in err) == (status, "", True), err


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0 cat\n1 big dog\n", ("cat", "big dog")),  # Teachable Machine's labels.txt
        ("1: cat\n2: dog\n", ("cat", "dog")),
        ("1,dog\n0,cat", ("cat", "dog")),
        ("0\tcat\n1\tdog\n2\tcow", ("cat", "dog", "cow")),
        ("0 cat\n2 dog\n", ("0 cat", "2 dog")),
        ("0 cat\n0 dog\n", ("0 cat", "0 dog")),
        ("7 up\n8 ball\n", ("7 up", "8 ball")),
        ("0 cat\ndog\n", ("0 cat", "dog")),
        ("0\n1\n10\n", ("0", "1", "10")),
    ],
)
def test_numbers_before_names_give_the_order(tmp_path, text, names):
    (tmp_path / "labels.txt").write_text(text)
    assert class_names.read_class_names(str(tmp_path / "labels.txt")) == names


def test_a_network_with_names_takes_no_order(tiny):
    network = with_head(models.load(tiny, "none"), ["cat", "dog"])
    with pytest.raises(UnknownName, match="says what its classes are, cat, dog: omit --class-order"):
        class_names.name_outputs(network, Model(class_order="natural"), ("cat", "dog"))
    with pytest.raises(UnknownName, match="has no classifier whose classes could be named: omit --classes"):
        class_names.name_outputs(cut_network(network, "stage1"), Model(classes="names.txt"))


def test_equal_orders_are_shown_once(greys):
    network = models.load(greys)
    letters = tuple("abcdefghijkl")
    assert "--class-order keras if they are a, b, c" in class_names.missing_names_message(network, letters)
    assert "natural" not in class_names.missing_names_message(network, letters)
    many = with_head(network, [f"output {i}" for i in range(1200)])
    shown = class_names.missing_names_message(many, tuple(f"{i:03}" for i in range(1200)))
    assert "(..., 09" not in shown and "099, 100, 1000, 1001, " in shown and "099, 100, 101, 102, " in shown


def test_weights_of_another_number_of_classes_have_no_names(tiny, tmp_path):
    """A checkpoint of 4 outputs says nothing of folders called 0 to 3; a run's own file does."""
    network = with_head(models.load(tiny, "none"), ["a", "b", "c", "d"])
    network.model.save(tmp_path / "bare.keras")
    loaded = models.load(tiny, tmp_path / "bare.keras")
    assert (loaded.classes[3], loaded.has_class_names) == ("output 3", False)
    models.save(loaded, tmp_path / "four.keras")
    assert not models.load(tmp_path / "four.keras").has_class_names
    models.save(network, tmp_path / "named.keras")
    assert models.load(tmp_path / "named.keras").classes == models.load(tiny, tmp_path / "named.keras").classes
    assert models.load(tmp_path / "named.keras").has_class_names


def test_a_teacher_without_names_cannot_teach(greys, tiny):
    with pytest.raises(ValueError, match=r"greys.keras does not name the classes of its 12 outputs: give a run"):
        distillation.load_teacher(str(greys), models.load(tiny, "none"), "float32")
