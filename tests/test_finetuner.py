"""`FineTuner` and the rules of scikit-learn, whose `check_estimator` runs a single check for pictures."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

import transferkit as tk
from transferkit import console
from transferkit.data.listing import Listing
from transferkit.training import finetuner
from transferkit.training.planning import planner

HEAD = {"weights": "none", "size": 32, "batch_size": 8, "epochs": 2, "head_epochs": 2, "random_state": 3}
BOTH = HEAD | {"epochs": 4, "lr": 0.01}


@pytest.fixture(scope="module")
def listing(pets):
    return tk.list_images(pets)


@pytest.fixture(scope="module")
def X(listing):
    return list(listing.paths)


@pytest.fixture(scope="module")
def y(listing):
    """Numbers that start at 3, and that sort in another order than the folders' names."""
    return np.array([7, 3], "int16")[list(listing.labels)]


@pytest.fixture(scope="module")
def fitted(tiny, X, y, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # the cache folder of tests is one for each test
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("home")))
        return tk.FineTuner(tiny, **BOTH).fit(X, y)


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_init_only_stores_parameters():
    names = list(inspect.signature(tk.FineTuner.__init__).parameters)[1:]
    given = {name: object() for name in names}
    tuner = tk.FineTuner(**given)
    assert len(names) == 14
    assert vars(tuner).keys() == given.keys() and all(getattr(tuner, name) is given[name] for name in names)


def test_params_and_clone():
    knobs = {"optimizer": "sgd"}
    tuner = tk.FineTuner("resnet18", epochs=3, knobs=knobs)
    assert tuner.get_params()["base"] == "resnet18" and tuner.get_params()["knobs"] is knobs
    assert tuner.set_params(lr=0.5, base="tiny") is tuner and (tuner.lr, tuner.base) == (0.5, "tiny")
    copied = clone(tuner)
    assert copied is not tuner and copied.get_params() == tuner.get_params()
    assert repr(copied) == "FineTuner(base='tiny', epochs=3, knobs={'optimizer': 'sgd'}, lr=0.5)"
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rate'"):
        tuner.set_params(learning_rate=1)


def test_a_clone_is_not_fitted(fitted, X):
    bare = clone(fitted)
    assert bare.get_params() == fitted.get_params()
    assert not hasattr(bare, "classes_") and not hasattr(bare, "network_")
    for method in (bare.predict, bare.predict_proba):
        with pytest.raises(NotFittedError):
            method(X)


def test_tags():
    tags = get_tags(tk.FineTuner())
    assert is_classifier(tk.FineTuner()) and tags.no_validation and tags.target_tags.required
    assert tags.input_tags.one_d_array and tags.input_tags.string and not tags.input_tags.two_d_array


def test_predictions(fitted, X, y):
    chances = fitted.predict_proba(X)
    assert fitted.classes_.tolist() == [3, 7] and fitted.classes_.dtype == np.int16
    assert fitted.network_.classes == ("3", "7")
    assert chances.shape == (24, 2) and chances.dtype == np.float64
    np.testing.assert_allclose(chances.sum(1), 1)
    guesses = fitted.predict(X)
    assert guesses.dtype == np.int16 and np.array_equal(guesses, fitted.classes_[chances.argmax(1)])
    assert fitted.score(X, y) == np.mean(guesses == y) > 0.9
    assert fitted.metrics_["n"] == 4 and fitted.metrics_["split"] == "val"
    # rows in the order of X, a picture given twice in two of them, whatever the batch
    rows = [20, 3, 3, 11]
    np.testing.assert_allclose(fitted.predict_proba([X[row] for row in rows]), chances[rows], atol=1e-6)
    assert fitted.predict([]).shape == (0,)


def test_arrays_and_paths_have_the_same_predictions(fitted, listing, X, tmp_path):
    arrays, expected = [opened(path) for path in X], fitted.predict_proba(X)
    tall = [row for row, array in enumerate(arrays) if len(array) == 48]
    for alike in (arrays, np.array(X), np.array(X)[:, None], tuple(map(Path, X)), listing):
        np.testing.assert_allclose(fitted.predict_proba(alike), expected, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(np.stack([arrays[row] for row in tall])), expected[tall], atol=1e-6)
    assert not (tmp_path / "home" / "data").exists()


def test_copy_and_pickle(fitted, X):
    expected = fitted.predict_proba(X)
    for copied in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert "network_" not in vars(copied)
        assert np.array_equal(copied.predict_proba(X), expected)
        assert copied.metrics_ == fitted.metrics_ and copied.get_params() == fitted.get_params()
    assert pickle.loads(pickle.dumps(tk.FineTuner("tiny"))).base == "tiny"


@pytest.mark.slow
def test_another_process(fitted, X, tmp_path):
    joblib.dump((fitted, X), tmp_path / "fitted")
    code = "import joblib, numpy, sys; t, X = joblib.load(sys.argv[1]); numpy.save(sys.argv[2], t.predict_proba(X))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "fitted", tmp_path / "a.npy"], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), fitted.predict_proba(X), atol=1e-6)


def test_skops_needs_no_other_trusted_types(fitted, X):
    skops = pytest.importorskip("skops.io")
    data, names = skops.dumps(fitted), ["transferkit.FineTuner"]
    assert skops.get_untrusted_types(data=data) == names
    assert np.array_equal(skops.loads(data, trusted=names).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.slow
def test_refit_starts_anew_and_is_reproducible(fitted, X, y, tmp_path):
    expected = fitted.predict_proba(X)
    np.random.seed(5)
    tuner = clone(fitted).fit(X, y)
    drawn = np.random.random()
    np.random.seed(5)
    assert np.random.random() == drawn
    np.testing.assert_allclose(tuner.predict_proba(X), expected, atol=1e-6)
    names = np.where(y == 7, "tabby", "husky").astype(object)
    assert (
        tuner.set_params(**HEAD | {"random_state": np.int64(4), "lr": None}).fit([opened(path) for path in X], names)
        is tuner
    )
    assert not (tmp_path / "home" / "data").exists()  # where the pictures of `list_arrays` are
    assert tuner.classes_.tolist() == ["husky", "tabby"] and tuner.network_.classes == ("husky", "tabby")
    assert np.abs(tuner.predict_proba(X) - expected).max() > 1e-3
    assert set(tuner.predict(X)) <= {"husky", "tabby"}


def test_a_listing_has_labels_and_the_run_is_stored(tiny, listing, capfd, tmp_path):
    tuner = tk.FineTuner(tiny, out=tmp_path / "run", **HEAD).fit(listing)
    assert tuner.classes_.tolist() == ["cat", "dog"]
    assert capfd.readouterr() == ("", "")
    assert not console.console.quiet
    run = tk.load_run(tmp_path / "run")
    assert run.metrics == tuner.metrics_ and run.recipe.train.seed == 3 and run.recipe.model.size == 32
    with pytest.raises(ValueError, match="run exists"):
        tuner.fit(listing)
    assert len(tuner.predict(listing)) == 24


def test_verbose_prints_a_line_after_each_fit(tiny, listing, X, y, monkeypatch, finished, capsys):
    monkeypatch.setattr(finetuner, "finetune", lambda *args, **knobs: finished)
    tk.FineTuner(tiny, **HEAD).fit(X, y)
    assert capsys.readouterr().err == ""
    tk.FineTuner(tiny, verbose=1, lr=0.01).fit(X, y)
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"FineTuner\(base='tiny', lr=0.01\): accuracy [\d.]+% \(95%: .*\) on 4 held-out pictures, \d+ s\n", line
    )
    with console.quiet():  # of another fit, in a thread of a search
        tk.FineTuner(tiny, verbose=1, lr=0.01).fit(X, y)
    assert capsys.readouterr().err.startswith("FineTuner(base='tiny', lr=0.01): accuracy")


@pytest.mark.slow
def test_search_in_a_pipeline(tiny, finished, X, y):
    pipe = make_pipeline(FunctionTransformer(list), tk.FineTuner(**HEAD))
    grid = [
        {"finetuner__base": [tiny], "finetuner__lr": np.array([0.01]), "finetuner__epochs": [3]},
        {"finetuner__base": [str(finished.folder)], "finetuner__weights": ["imagenet"]},
    ]
    with pytest.warns(UserWarning, match="The base was trained on"):
        search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 2 and search.best_score_ >= 0.5
    assert search.classes_.tolist() == [3, 7] and search.predict_proba(X).shape == (24, 2)


@pytest.mark.slow
def test_groups_are_routed_and_on_one_side(tiny, listing, X, y, monkeypatch):
    seen = []

    def spy(wanted, splits):
        seen.append((set(splits.train.groups), set(splits.val.groups)))
        return plan(wanted, splits)

    plan = planner.make_plan
    monkeypatch.setattr(planner, "make_plan", spy)
    groups = np.arange(24) // 3
    with sklearn.config_context(enable_metadata_routing=True):
        tuner = tk.FineTuner(tiny, **HEAD).set_fit_request(groups=True)
        folds = StratifiedGroupKFold(2).set_split_request(groups=True)
        scores = cross_val_score(tuner, X, y, cv=folds, params={"groups": groups}, error_score="raise")
    assert scores.shape == (2,)
    assert len(seen) == 2 and all(train and val and not train & val for train, val in seen)


@pytest.mark.slow
def test_calibrated_and_voting(tiny, fitted, X, y):
    frozen = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(X, y)
    assert frozen.score(X, y) > 0.9
    calibrated = CalibratedClassifierCV(tk.FineTuner(tiny, **HEAD), cv=2).fit(X, y)
    assert len(calibrated.calibrated_classifiers_) == 2
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    pair = [("frozen", FrozenEstimator(fitted)), ("new", tk.FineTuner(tiny, **HEAD))]
    voted = VotingClassifier(pair, voting="soft").fit(X, np.where(y == 7, "tabby", "husky"))
    assert voted.classes_.tolist() == ["husky", "tabby"]
    mean = (fitted.predict_proba(X) + voted.named_estimators_["new"].predict_proba(X)) / 2
    np.testing.assert_allclose(voted.predict_proba(X), mean)


def test_unreadable_pictures(tiny, fitted, X, y, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(ValueError, match=r"1 of 25 pictures cannot be read, the first: .*broken.jpg: \w+"):
        fitted.predict([*X, broken])
    with pytest.raises(ValueError, match=r"more than one in five: .*none.jpg \(No such file or directory\)"):
        tk.FineTuner(tiny, **HEAD).fit(["none.jpg"] * 24, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tk.FineTuner(tiny, **HEAD).fit([*X, broken], [*y, 3])
    assert [str(one.message) for one in caught if "broken.jpg cannot be read and is skipped" in str(one.message)]


def test_an_interrupt_is_raised(tiny, fitted, X, y, monkeypatch):
    monkeypatch.setattr(finetuner, "finetune", lambda *args, **knobs: fake)
    fake = type("Run", (), {"folder": Path("run"), "metrics": {"interrupted": True}})
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"")
    tuner = copy.copy(fitted)
    with pytest.raises(KeyboardInterrupt):
        tuner.fit(X, y)
    assert tuner._saved is fitted._saved


@pytest.mark.parametrize(
    ("params", "change", "sentence"),
    [
        ({}, lambda X, y: (X, y[:-1]), r"The labels are of shape \(23,\): expected 24 labels, one for each picture"),
        ({}, lambda X, y: (X, None), "y is None: expected 24 labels"),
        ({}, lambda X, y: (X, y * 0), "y holds one class, 0: expected two or more classes"),
        ({}, lambda X, y: ([], []), "y holds no labels"),
        ({}, lambda X, y: (X, [9, *y[1:]]), "Class '9' has 1 picture; a split needs at least 2"),
        ({}, lambda X, y: (X[0], y), "is a file, but not .csv, .tsv, .txt"),
        ({"validation": 1.5}, None, "validation must be from 0.01 to 0.9, not 1.5"),
        ({"knobs": {"optimiser": "sgd"}}, None, "No knob is called 'optimiser'. Did you mean 'optimizer'"),
        ({"knobs": {"epochs": 3}}, None, "knobs holds 'epochs', which is a parameter of FineTuner: give it as epochs"),
        ({"knobs": {"seed": 3}}, None, "give it as random_state"),
        ({"knobs": {"data": "x"}}, None, "fit gets the pictures: omit it"),
        ({"knobs": "sgd"}, None, "knobs must be a dict"),
        ({"epochs": 0}, None, "epochs must be at least 1, not 0"),
        ({"random_state": -1}, None, "seed must be from 0 to 2147483647, not -1"),
        ({"base": "resnet43"}, None, "No network, run folder or Keras file is called 'resnet43'. Did you mean"),
        ({"base": None}, None, "base is of type NoneType: expected a name or a path"),
    ],
)
def test_errors_are_one_sentence(tiny, X, y, params, change, sentence):
    tuner = tk.FineTuner(**{"base": tiny, **HEAD, **params})
    with pytest.raises(ValueError, match=sentence) as caught:
        tuner.fit(*(change(X, y) if change else (X, y)))
    assert "\n" not in str(caught.value)
    assert not hasattr(tuner, "classes_")


def test_groups_that_do_not_fit(tiny, X, y):
    tuner = tk.FineTuner(tiny, **HEAD)
    with pytest.raises(ValueError, match=r"The groups are of shape \(2,\): expected 24 groups"):
        tuner.fit(X, y, groups=[1, 2])
    with pytest.raises(ValueError, match="pictures of class '.' are of one group"):
        tuner.fit(X, y, groups=np.arange(24) // 12)


def test_a_listing_has_groups(tiny, listing, monkeypatch):
    grouped = Listing(listing.paths, listing.labels, listing.classes, groups=("one",) * 24)
    with pytest.raises(ValueError, match="are of one group, 'one'"):
        tk.FineTuner(tiny, **HEAD).fit(grouped)


def test_muted_output_becomes_python_warnings(capsys):
    with pytest.warns(UserWarning, match="half of it"), console.quiet():
        with console.quiet():
            console.say("a line")
        console.warn("half of it")
        assert console.console.quiet
    console.say("another")
    assert capsys.readouterr().err == "another\n"
