"""`.skops` files of other authors: loaded if they hold only the types that we write, otherwise refused."""

import copy
import json
import shutil
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skops import io

import transferkit as tk
from transferkit.features import skops_file


@pytest.fixture(scope="module")
def pipeline(tiny, listing, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("home")))
        made = make_pipeline(tk.FeatureExtractor(tiny, weights="none"), LogisticRegression())
        return made.fit(listing.paths, listing.labels)


@pytest.fixture(scope="module")
def tuner(tiny, finished):
    """As a `FineTuner` is that has learnt."""
    made = tk.FineTuner(tiny, weights="none")
    made.classes_, made.metrics_ = np.array(["cat", "dog"]), {}
    made._saved = (finished.folder / "model.keras").read_bytes()
    return made


OF_EXTRACTOR = {
    "base": [5, ["tiny"], None],
    "weights": [3, None, {"a": 1}],
    "layer": [5, [], ["pooled", "pooled"], ["a", 3]],
    "size": [10**6, "99999x99999", [224], 1, True],
    "channels": [10**9, 0, "3", True],
    "crops": [10**9, "5"],
    "pool": [["avg"], "none", 3],
    "fit_mode": [{"a": 1}, "no such fit"],
    "identity_": [5, ["a"]],
    "on_error": [["raise"], "ignore"],
    "spec": [LogisticRegression()],  # hides a method
    "transform": ["a"],
}
OF_TUNER = {
    "_saved": ["text", None, [1]],
    "classes_": [None, ["cat", "dog"], "cat"],
    "metrics_": ["none"],
    "base": [5, ["tiny"]],
    "network_": [LogisticRegression()],  # what is made of `_saved`
    "_folded": [LogisticRegression()],
    "predict": ["a"],
}
CASES = [(kind, name, at) for kind, some in (("pipeline", OF_EXTRACTOR), ("tuner", OF_TUNER))
         for name, values in some.items() for at in range(len(values))]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "at"), CASES)
def test_types_that_we_never_write(request, tmp_path, kind, name, at):
    value = (OF_EXTRACTOR if kind == "pipeline" else OF_TUNER)[name][at]
    made = copy.deepcopy(request.getfixturevalue(kind))
    # what a `FineTuner` leaves out as it is saved, a stranger does not
    state = {**(made[0] if kind == "pipeline" else made).__dict__, name: value}
    if kind == "pipeline":
        made[0].__dict__.update(state)
    else:
        made = type(made)()
        made.__dict__.update(state)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(tk.FineTuner, "__getstate__")
        io.dump(made, tmp_path / "a.skops")
    with pytest.raises(ValueError, match=r"a\.skops cannot be read: ") as error:
        skops_file.load_pipeline(tmp_path / "a.skops")
    assert "\n" not in str(error.value) and "Error" not in str(error.value)


def test_valid_files(pipeline, tuner, cli, listing, tmp_path):
    for name, made in {"pipeline": pipeline, "tuner": tuner}.items():
        skops_file.save_pipeline(made, tmp_path / f"{name}.skops")
        status, out, error = cli("predict", f"{name}.skops", listing.paths[0], "--json")
        assert status == 0 and len(json.loads(out)) == 1, error
    io.dump(pipeline, tmp_path / "packed.skops", compression=zipfile.ZIP_DEFLATED)
    assert skops_file.load_pipeline(tmp_path / "packed.skops").classes_.tolist() == [0, 1]


def test_a_zip_bomb(pipeline, tmp_path):
    """A hundred megabytes of zeros in a tenth of one; of gigabytes it is the same sentence, at once."""
    skops_file.save_pipeline(pipeline, tmp_path / "a.skops")
    with zipfile.ZipFile(tmp_path / "a.skops", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(100_000_000))
    with pytest.raises(ValueError, match=r"a.skops cannot be read: it unpacks to 100,[0-9,]+ bytes, out of proportion"):
        skops_file.load_pipeline(tmp_path / "a.skops")


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", '{"protocol": 0}'])
def test_schemas(pipeline, tmp_path, text):
    skops_file.save_pipeline(pipeline, tmp_path / "good.skops")
    with zipfile.ZipFile(tmp_path / "good.skops") as old, zipfile.ZipFile(tmp_path / "a.skops", "w") as new:
        for member in old.namelist():
            new.writestr(member, text if member == "schema.json" else old.read(member))
    with pytest.raises(ValueError, match=r"a\.skops cannot be read: "):
        skops_file.load_pipeline(tmp_path / "a.skops")


def test_members_outside_the_folder(pipeline, tmp_path):
    """Nothing is unpacked to the disk, so their names mean nothing."""
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    skops_file.save_pipeline(pipeline, place / "a.skops")
    shutil.copy(place / "a.skops", place / "c.skops")
    with zipfile.ZipFile(place / "c.skops", "a") as archive:
        archive.writestr("../../evil", "x")
    skops_file.load_pipeline(place / "c.skops")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "a.skops", "b", "c.skops"]
