"""`FeatureExtractor` and the rules of scikit-learn, whose own checks do not support pictures."""

import inspect
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_no_attributes_set_in_init, check_parameters_default_constructible
from sklearn.utils.validation import check_is_fitted

import transferkit as tk
from transferkit.features import feature_model
from transferkit.lookup import UnknownName


def tiny(**words):
    return tk.FeatureExtractor("tiny", weights="none", **words)


def probe(**words):
    return make_pipeline(tiny(**words), LogisticRegression(max_iter=1000))


@pytest.fixture(scope="module")
def paths(listing):
    return list(listing.paths)


@pytest.fixture(scope="module")
def names(listing):
    return [listing.classes[label] for label in listing.labels]


def test_init_only_stores_parameters():
    check_parameters_default_constructible("FeatureExtractor", tk.FeatureExtractor())
    check_no_attributes_set_in_init("FeatureExtractor", tk.FeatureExtractor())
    names = list(inspect.signature(tk.FeatureExtractor).parameters)
    given = {name: object() for name in names}  # nonsense: nothing looks at it before fit
    made = tk.FeatureExtractor(**given)
    assert all(getattr(made, name) is given[name] for name in names)
    assert set(made.get_params()) == set(names)


def test_clone_and_set_params(paths):
    made = tiny(layer=["stage1", "pooled"], l2=True).fit()
    copy = clone(made)
    assert copy.get_params() == made.get_params() and not hasattr(copy, "identity_")
    assert copy.set_params(layer="stage1") is copy and copy.transform(paths[:2]).shape == (2, 8)
    assert repr(tiny(size=48)) == "FeatureExtractor(base='tiny', size=48, weights='none')"


def test_parameters_are_checked_in_fit():
    for words, error, sentence in (
        ({"base": "tinny"}, UnknownName, "Did you mean 'tiny'?"),
        ({"pool": "agv"}, UnknownName, "Did you mean 'avg'?"),
        ({"pool": "none"}, ValueError, "'flatten' keeps the same values"),
        ({"on_error": "drop"}, ValueError, "on_error must be 'raise' or 'nan', not 'drop'"),
        ({"layer": []}, ValueError, "layer must be one or more names of layers"),
    ):
        with pytest.raises(error, match=sentence):
            tiny().set_params(**words).fit()


def test_fit_learns_nothing_and_returns_itself(paths):
    made = tiny()
    check_is_fitted(made)
    before = made.transform(paths[:3])
    assert made.fit(paths[3:6], ["a", "b", "c"]) is made and made.fit() is made
    assert np.array_equal(made.transform(paths[:3]), before)
    assert np.array_equal(tiny().fit_transform(paths[:3], [0, 1, 0]), before)


def test_x_may_be_paths_arrays_or_a_listing(listing, paths):
    expected = tiny().transform(paths)
    assert expected.shape == (24, 16) and expected.dtype == np.float32
    for same in (listing, np.array(paths), np.array(paths, object)[:, None], tuple(paths)):
        assert np.array_equal(tiny().transform(same), expected)
    grey = np.random.default_rng(0).integers(0, 256, (3, 40, 40), "uint8")
    assert np.array_equal(tiny().transform(grey), tiny().transform(list(grey)))
    with pytest.raises(ValueError, match="Entry 0 of X is float64"):
        tiny().transform(np.zeros((2, 64)))


def test_rows_are_never_dropped(paths, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"none")
    mixed = [paths[0], str(tmp_path / "bad.png"), paths[1]]
    with pytest.raises(ValueError, match=r"bad.png cannot be read: .*; on_error='nan' returns a row of NaN instead"):
        tiny().transform(mixed)
    found = tiny(on_error="nan").transform(mixed)
    assert np.isnan(found[1]).all() and np.array_equal(found[[0, 2]], tiny().transform(paths[:2]))


def test_names_of_features(paths):
    made = tiny(layer=["stage1", "pooled"]).fit()
    assert list(made.get_feature_names_out())[6:10] == ["stage1_6", "stage1_7", "pooled_0", "pooled_1"]
    frame = made.set_output(transform="pandas").transform(paths[:2])
    assert list(frame.columns) == list(made.get_feature_names_out()) and frame.shape == (2, 24)
    assert list(tiny(layer="stage1", pool="flatten").get_feature_names_out())[-1] == "stage1_2047"
    union = FeatureUnion([("a", tiny()), ("b", tiny(layer="stage1", pool="max"))])
    assert union.fit_transform(paths[:2]).shape == (2, 24)
    assert union.get_feature_names_out()[16] == "b__stage1_0"


def test_a_column_of_a_data_frame(paths):
    import pandas as pd

    frame = pd.DataFrame({"path": paths[:4], "size": [1.0, 2, 3, 4]})
    made = ColumnTransformer([("picture", tiny(), ["path"]), ("rest", "passthrough", ["size"])])
    assert made.fit_transform(frame).shape == (4, 17)


def test_pipelines_searches_and_scores(paths, names):
    assert probe().fit(paths, names).score(paths, names) == 1.0
    assert cross_val_score(probe(), paths, names, cv=3).mean() > 0.9
    layers = ["stage1", "pooled", ["stage1", "pooled"]]
    search = GridSearchCV(probe(), {"featureextractor__layer": layers, "logisticregression__C": [0.1, 1]}, cv=2)
    search.fit(paths, names)
    assert len(search.cv_results_["params"]) == 6 and search.best_score_ > 0.9
    arrays = np.random.default_rng(0).integers(0, 256, (12, 40, 40, 3), "uint8")
    assert probe().fit(arrays, [0, 1] * 6).predict(arrays).shape == (12,)
    bases = GridSearchCV(probe(), {"featureextractor__base": ["tiny", "resnet20_cifar"]}, cv=2).fit(paths, names)
    assert len(set(bases.cv_results_["param_featureextractor__base"])) == 2


def test_a_search_computes_each_picture_once(paths, names, monkeypatch):
    seen = []
    compute_features = feature_model.compute_features
    monkeypatch.setattr(
        feature_model,
        "compute_features",
        lambda pictures, spec: seen.extend(pictures) or compute_features(pictures, spec),
    )
    GridSearchCV(probe(), {"logisticregression__C": [0.01, 0.1, 1, 10]}, cv=3).fit(paths, names)
    assert sorted(seen) == sorted(paths)


def test_calibration_and_votes(paths, names):
    svm = make_pipeline(tiny(), LinearSVC())
    calibrated = CalibratedClassifierCV(svm, cv=2).fit(paths, names)
    assert calibrated.predict_proba(paths).shape == (24, 2) and calibrated.score(paths, names) > 0.9
    votes = VotingClassifier([("a", probe()), ("b", probe(layer="stage1"))], voting="soft").fit(paths, names)
    assert is_classifier(votes) and votes.score(paths, names) > 0.9
    with pytest.raises(NotFittedError):
        make_pipeline(tiny(), LinearSVC()).predict(paths)


def test_routed_metadata_is_ignored(paths, names):
    with sklearn.config_context(enable_metadata_routing=True):
        made = make_pipeline(tiny(), LogisticRegression().set_fit_request(sample_weight=True))
        made.fit(paths, names, sample_weight=np.ones(24))
    assert made.predict(paths[:1]) == ["cat"]


READ = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    made = pickle.load(file)
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
print(made.transform([sys.argv[2]]).tobytes().hex())
assert "keras" not in sys.modules, "the cache had it"
"""


def test_a_pickle_does_not_contain_the_network(paths, tmp_path):
    made = tk.FeatureExtractor("resnet20_cifar", weights="none").fit()
    expected = made.transform(paths[:1])
    content = pickle.dumps(made)
    assert len(content) < 2000
    (tmp_path / "made.pickle").write_bytes(content)
    words = [sys.executable, "-c", READ, str(tmp_path / "made.pickle"), paths[0]]
    out = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ).stdout
    assert bytes.fromhex(out.strip()) == expected.tobytes()


def test_replaced_weights_are_refused(paths, tmp_path):
    first, second = (str(tmp_path / f"{i}.weights.h5") for i in range(2))
    for path in (first, second):
        tk.create("tiny", weights="none").save_weights(path)
    made = tk.FeatureExtractor("tiny", weights=first).fit()
    made.transform(paths[:1])
    os.replace(second, first)
    with pytest.raises(ValueError, match="The weights of tiny have changed since this extractor was fitted"):
        made.transform(paths[:1])
    assert made.fit().transform(paths[:1]).shape == (1, 16)


def test_a_keras_model_is_a_base(paths):
    model = tk.create("tiny", weights="none")
    made = tk.FeatureExtractor(model, pixels="raw", size=32)
    assert made.fit_transform(paths[:2]).shape == (2, 16)
    assert clone(made).get_params()["pixels"] == "raw"
