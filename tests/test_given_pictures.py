"""What public functions take as pictures: paths, lists, listings, arrays, pictures of Pillow; and what they refuse."""

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK
from pictures import folder
from PIL import Image

import transferkit as tk
from transferkit.data.pillow_reader import read_picture
from transferkit.data.sources.picture_values import check_pictures
from transferkit.data.sources.resolve import as_listings, as_pictures
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.planning.planner import make_plan, plan_pictures

SPEC = tk.FeatureSpec("tiny", "none", size=32)


def opened(path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


# what is taken


@pytest.fixture
def planned(monkeypatch, finished):
    """The plans and folders that would be trained from here on."""
    plans = []

    def record(plan, run_folder, callbacks=()):
        plans.append((plan, str(run_folder)))
        return finished

    monkeypatch.setattr(run_job, "train_plan", record)
    return plans


def test_a_path_is_trained_on_as_the_command_does(tiny, pets, planned, cli):
    run_knobs = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", value)]
    tk.finetune(tiny, pets, **QUICK)
    assert cli("finetune", "--base", tiny, "--data", pets, *run_knobs)[0] == 0
    (python, here), (command, there) = planned
    assert python.splits == command.splits and python.recipe == command.recipe and python.phases == command.phases
    assert python.splits.val_from_train
    assert (here, there) == ("runs/finetune-tiny-pets-1", "runs/finetune-tiny-pets-2")


def test_a_run_of_a_listing_is_named_after_the_base(tiny, listing, planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tk.finetune(tiny, listing, **QUICK)
    assert planned[0][1] == "runs/finetune-tiny-1"


def test_pictures_of_a_training_may_be_given_in_many_ways(tiny, pets, tmp_path):
    listing, knobs = tk.list_images(pets), QUICK
    expected = make_plan(Recipe().override(base=tiny, data=str(pets), **knobs)).splits
    generator = Path(pets).glob("*/*.jpg")
    for train in (listing, str(pets), list(listing.paths), sorted(generator), pd.Series(listing.paths)):
        splits = plan_pictures(tiny, train, None, None, knobs).splits
        assert splits == expected and splits.val_from_train
    folder(tmp_path / "apart" / "val", {"dog": 2, "cat": 2})
    for val in (tmp_path / "apart" / "val", list(map(str, (tmp_path / "apart" / "val").rglob("*.jpg")))):
        splits = plan_pictures(tiny, pets, val, listing[:2], knobs).splits
        assert (len(splits.train), splits.val.classes, splits.val.counts()) == (
            24,
            ("cat", "dog"),
            {"cat": 2, "dog": 2},
        )
        assert splits.test == listing[:2]
    splits = tk.find_splits(pets, validation=0.5)
    assert plan_pictures(tiny, splits, None, None, knobs).splits == splits
    with pytest.raises(tk.UnknownName, match="^train holds val pictures too, and val is given: omit val"):
        plan_pictures(tiny, splits, listing, None, knobs)


def test_knobs_of_a_source_go_with_a_path(tiny, pets):
    plan = plan_pictures(tiny, pets, None, None, QUICK | {"group_by": r"(\d)\d\.jpg"})
    assert set(plan.splits.train.groups) == {"0", "1"} - set(plan.splits.val.groups)
    for train, knobs in ((pets, {"data": "x"}), (tk.list_images(pets), {"group_by": "a"})):
        with pytest.raises(tk.UnknownName, match=f"^{next(iter(knobs))} is a knob of find_splits"):
            plan_pictures(tiny, train, None, None, knobs)


def test_find_splits_of_a_listing(pets):
    listing, splits = tk.list_images(pets), tk.find_splits(pets)
    assert tk.find_splits(listing) == tk.find_splits(list(listing.paths)) == tk.find_splits(splits) == splits
    with pytest.raises(tk.UnknownName, match="^label_col is about a path, and data is of type Listing: omit it"):
        tk.find_splits(listing, label_col="a")


def test_predict_takes_pictures_of_all_kinds(finished, pets):
    listing = tk.list_images(pets)
    expected = finished.predict(listing.paths)
    assert [row["path"] for row in expected] == list(listing.paths)
    for pictures in (pets, str(pets), listing, list(map(Path, listing.paths)), iter(listing.paths)):
        assert finished.predict(pictures) == expected
    assert finished.predict(pd.Series(listing.paths)) == expected
    assert finished.predict(listing.paths[0]) == expected[:1] == finished.predict([listing[0]])
    images = [opened(path) for path in listing.paths]
    bare = [row | {"path": None} for row in expected]
    assert finished.predict(images) == finished.predict(list(map(np.asarray, images))) == bare
    assert finished.predict(images[0]) == finished.predict(np.asarray(images[0])) == bare[:1]
    assert finished.predict(["none.jpg", *listing.paths[:1]])[0]["error"] == "No such file or directory"
    assert finished.predict([]) == []
    assert [len(row["top"]) for row in finished.predict(listing[:2], top=1)] == [1, 1]


def test_evaluate_takes_a_listing(finished, pets):
    listing = tk.list_images(pets)
    expected = finished.evaluate(pets)
    assert expected["n"] == 24
    assert finished.evaluate(listing) == finished.evaluate(listing.paths) == expected
    held_out = finished.evaluate()
    assert held_out == finished.evaluate(finished.splits.val) and held_out["n"] == 4
    assert held_out["accuracy"] == finished.metrics["accuracy"]


def test_evaluate_says_that_the_run_knows_the_pictures(finished, pets, capsys):
    finished.evaluate(finished.splits.val)
    assert "too good" not in capsys.readouterr().err
    finished.evaluate(pets)
    assert "The run was trained on 20 of the 24 pictures, so these figures are too good." in capsys.readouterr().err


def test_features_take_pictures_of_all_kinds(tiny, pets, expected):
    extractor, listing = tk.FeatureExtractor(tiny, weights="none"), tk.list_images(pets)
    images = [opened(path) for path in listing.paths]
    for X in (pets, listing, list(listing.paths), images, list(map(np.asarray, images)), list(listing)):
        np.testing.assert_allclose(extractor.transform(X), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(extractor.transform(images[0]), expected[:1], rtol=1e-3, atol=1e-3)


def test_extract_probe_check_and_neighbours(tiny, pets, tmp_path):
    listing = tk.list_images(pets)
    for number, pictures in enumerate((pets, listing, listing.paths)):
        tk.extract_to(tmp_path / f"{number}.npz", SPEC, pictures)
        found = tk.load_features(tmp_path / f"{number}.npz")
        assert tuple(found.paths) == listing.paths and tuple(found.labels) == listing.labels
        assert tk.check(pictures).class_counts == {"cat": {"train": 12}, "dog": {"train": 12}}
    tk.extract_to(tmp_path / "splits.npz", SPEC, tk.find_splits(pets))
    assert sorted(set(tk.load_features(tmp_path / "splits.npz").splits)) == ["train", "val"]
    near = tk.find_neighbours(tmp_path / "0.npz", listing[:2], top=1)
    assert near == tk.find_neighbours(found, list(listing.paths[:2]), top=1) and near[0]["query"] == listing.paths[0]
    (bare,) = tk.find_neighbours(found, opened(listing.paths[0]), top=1)
    assert bare["query"] is None and bare["neighbours"][0]["path"] == listing.paths[0]  # not known to be itself


def test_probe_takes_a_path_and_one_base(finished, pets):
    rows = [tk.probe(*given, folds=2) for given in ((finished.folder, pets), ([finished.folder], tk.list_images(pets)))]
    assert [row["accuracy"] for (row,) in rows] == [1.0, 1.0]


def test_a_list_of_paths_has_its_folders_as_classes(pets, tmp_path):
    listing = tk.list_images(pets)
    assert tk.list_images(reversed(listing.paths)).labels == listing.labels[::-1]
    assert tk.list_images(listing) is listing
    cats = list(listing.paths[:3])
    with pytest.raises(ValueError, match="^All pictures are in folders named 'cat', which is their class: two or more"):
        tk.list_images(cats)
    assert tk.list_images(cats, min_classes=1).counts() == {"cat": 3}
    with pytest.raises(FileNotFoundError, match="^There is no picture .*01.jpg'. Did you mean '0.*jpg'"):
        tk.list_images([*cats, f"{pets}/cat/01.jpg"])
    with pytest.raises(ValueError, match="cat is a folder: give it alone, or a list of the pictures in it.$"):
        tk.list_images([pets / "cat", pets / "dog"])


def test_pictures_of_pillow_are_read_as_their_files(tmp_path):
    """Upright, palettes and transparency in colour, 16 bits scaled."""
    grey16 = Image.fromarray(np.arange(600, dtype="uint16").reshape(20, 30) * 100)
    palette = Image.fromarray(np.arange(1800, dtype="uint8").reshape(20, 30, 3)).quantize(9)
    turned, exif = Image.fromarray(np.arange(1800, dtype="uint8").reshape(20, 30, 3)), Image.Exif()
    exif[274] = 6
    clear = Image.merge("LA", (Image.new("L", (9, 7), 40), Image.new("L", (9, 7), 128)))
    for image, channels, options in ((grey16, 1, {}), (palette, 3, {}), (turned, 3, {"exif": exif}), (clear, 4, {})):
        image.save(tmp_path / "a.png", **options)
        with Image.open(tmp_path / "a.png") as unread:
            (array,) = check_pictures(unread, "X")
        assert np.array_equal(array, read_picture((tmp_path / "a.png").read_bytes(), channels))
    assert array.shape == (7, 9, 4)


def test_entries_of_pictures(pets):
    listing = tk.list_images(pets)
    column = np.array(listing.paths, object)[:, None]
    assert as_pictures(column, "X") == as_pictures(pd.DataFrame({"a": listing.paths}), "X") == list(listing.paths)
    assert type(as_pictures(np.array(["a"]), "X")[0]) is str
    assert [one.shape for one in as_pictures(np.zeros((2, 4, 5), "uint8"), "X")] == [(4, 5, 1)] * 2
    assert [one.shape for one in as_pictures(np.zeros((4, 5, 3), "uint8"), "X")] == [(4, 5, 3)]
    assert as_listings(listing, "data") == {"train": listing}


# what is refused

WRONG = {
    "None": None,
    "a number": 5,
    "truth": True,
    "bytes": b"pets",
    "dict": {"a": 1},
    "a set": {"a.jpg"},
    "an object": object(),
    "a table": pd.DataFrame({"path": ["a.jpg"], "label": [1]}),
    "numbers": [1, 2],
    "a column of numbers": pd.Series([1, 2]),
    "a list of None": [None],
    "nested": [["a.jpg"]],
    "mixed": ["a.jpg", np.zeros((8, 8, 3), "uint8")],
    "floats": np.full((2, 8, 8, 3), 0.5),
    "rows of features": np.zeros((3, 64), "uint8"),
    "a missing path": "nothing",
    "empty text": "",
}
LABELLED = WRONG | {"empty": [], "arrays": np.zeros((2, 8, 8, 3), "uint8"), "missing pictures": ["nothing.jpg"]}


def raises_one_sentence(call, value):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        call(value)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 500
    assert "transferkit" in caught.traceback[-1].path.parts  # not an error of NumPy, pandas or Keras


@pytest.fixture(scope="module")
def tuner(tiny, pets, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("home")))
        knobs = {"weights": "none", "size": 32, "batch_size": 8, "epochs": 1, "head_epochs": 1}
        return tk.FineTuner(tiny, **knobs).fit(pets)


def test_a_tuner_takes_a_folder(tuner, pets):
    listing = tk.list_images(pets)
    assert tuner.classes_.tolist() == ["cat", "dog"]
    assert np.array_equal(tuner.predict_proba(pets), tuner.predict_proba(listing))
    assert len(tuner.predict(opened(listing.paths[0]))) == 1


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pictures(finished, tuner, name):
    calls = [finished.predict, tuner.predict, tk.FeatureExtractor("tiny", weights="none").transform]
    calls.append(lambda x: tk.explain_pictures(finished, x))
    for call in calls:
        raises_one_sentence(call, WRONG[name])


@pytest.mark.parametrize("name", LABELLED)
def test_wrong_labelled_pictures(tiny, finished, listing, tmp_path, name):
    calls = (
        lambda x: tk.finetune(tiny, x, out=tmp_path / "run", **QUICK),
        lambda x: tk.lr_find(tiny, x, weights="none"),
        lambda x: tk.probe([finished.folder], x),
        lambda x: tk.extract_to(tmp_path / "f.npz", SPEC, x),
        tk.check,
        tk.list_images,
        tk.find_splits,
        tk.FineTuner(tiny, weights="none").fit,
        lambda x: tk.list_arrays(x, [0]) if name != "arrays" else finished.evaluate(x),
    )
    for call in calls:
        raises_one_sentence(call, LABELLED[name])
    calls = (
        finished.evaluate,
        lambda x: tk.compare(finished, finished, x),
        lambda x: tk.finetune(tiny, listing, x, out=tmp_path / "run", **QUICK),
    )
    for call in calls:
        if name != "None":  # the held-out pictures
            raises_one_sentence(call, LABELLED[name])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_names_and_paths(finished, listing, tmp_path, name):
    value = WRONG[name]
    calls = [
        tk.load_run,
        tk.resume,
        lambda x: tk.compare(finished, x),
        lambda x: tk.compare(finished, finished, group_by=0 if x is None else x),
        tk.load_features,
        lambda x: tk.find_neighbours(x, listing),
        lambda x: tk.extract_to(tmp_path / "f.npz", x, listing),
        tk.FeatureSpec if not isinstance(value, str) else tk.load_run,
        lambda x: tk.find_neighbours("f.npz", listing, metric=x),
        lambda x: tk.probe([finished.folder], listing, classifier=x),
    ]
    if not isinstance(value, str):  # names that are not known are tested elsewhere
        calls += [tk.inspect, tk.create, tk.list_models, tk.download_weights]
        calls += [tk.verify, lambda x: tk.export(x, tmp_path / "m.onnx", to="onnx"), lambda x: tk.push(x, "hf://a/b")]
        calls += [lambda x: tk.finetune(x, listing), lambda x: tk.create("lenet5", weights=x)]
    if value is not None and not isinstance(value, (list, set, dict)):
        calls.append(lambda x: tk.probe(x, listing) if not isinstance(x, (str, pd.DataFrame)) else tk.load_run(x))
    if not isinstance(value, (int, type(None))) or isinstance(value, bool):
        counts = [lambda x: finished.predict(listing, top=x), lambda x: tk.probe([finished.folder], listing, folds=x)]
        calls += [*counts, lambda x: tk.list_images("pets", min_classes=x), lambda x: tk.find_splits(listing, seed=x)]
        calls += [
            lambda x: tk.find_splits(listing, validation=x),
            lambda x: tk.create("lenet5", weights="none", size=x),
        ]
    for call in calls:
        raises_one_sentence(call, value)


def test_each_public_function_is_tried():
    """A new public function must be tried with wrong values above."""
    source = inspect.getsource(inspect.getmodule(test_wrong_pictures))
    functions = {name for name in tk.__all__ if inspect.isfunction(getattr(tk, name))}
    assert not [name for name in functions if f"tk.{name}" not in source]
