"""Networks on the Hub: `push`, and names as `hf://USER/NAME`, with a server on this machine that speaks its protocol.

Warnings of huggingface_hub itself are no errors here.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import hub_site
import huggingface_hub
import keras
import numpy as np
import pytest
import yaml
from huggingface_hub import constants

import transferkit as tk
from transferkit import atomic, bases, hub, models, recipe_files
from transferkit.evaluation import shift
from transferkit.exchange import push as pushing
from transferkit.features import network_digest
from transferkit.features.feature_spec import FeatureSpec
from transferkit.report import model_card
from transferkit.training.planning.advice import find_leaks

pytestmark = pytest.mark.filterwarnings("ignore:.*content=.*:DeprecationWarning")
PETS = "hf://ada/pets"
UPLOADED = {
    "README.md", "calibration.json", "classes.txt", "config.json", "metadata.json", "metrics.json", "model.keras",
    "model.weights.h5", "recipe.toml", "shift.npz",
}  # fmt: skip


@pytest.fixture
def site(monkeypatch):
    """A site, to which a token may write."""
    with hub_site.serve() as running:
        for name, value in {"HF_ENDPOINT": running.url, "HF_TOKEN": hub_site.WRITER, "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        # read from the environment when it is imported
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own
        hub.forget()
        yield running
        huggingface_hub.close_session()


@pytest.fixture
def uploaded(site, finished):
    return tk.push(finished, PETS)


@pytest.fixture
def saved(finished):
    return (finished.folder / "model.keras").read_bytes()


def members(saved: bytes) -> dict[str, bytes]:
    """The files that Keras itself saves to hf://."""
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        return {name: archive.read(name) for name in hub.LAYOUT}


def test_what_is_uploaded(site, finished, uploaded):
    files = site.repositories["ada/pets"].files
    assert set(files) == UPLOADED | {".gitattributes"} and set(uploaded.files) == UPLOADED
    assert uploaded.url == f"{site.url}/ada/pets" and uploaded.commit == site.repositories["ada/pets"].refs["main"]
    assert files["classes.txt"].decode().split() == list(finished.classes)
    assert json.loads(files["metrics.json"]) == finished.metrics
    assert members(files["model.keras"]) == {name: files[name] for name in hub.LAYOUT}
    assert len(site.repositories["ada/pets"].commits) == 1


def test_front_matter(uploaded, site):
    _, front, text = site.repositories["ada/pets"].files["README.md"].decode().split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["library_name"] == "keras" and facts["pipeline_tag"] == "image-classification"
    assert facts["model-index"][0]["name"] == "pets" and facts["metrics"] == ["accuracy"]
    assert "transferkit predict hf://ada/pets picture.jpg" in text
    huggingface_hub.ModelCard(f"---\n{front}---\n{text}")  # raises on results that it cannot read


def test_nothing_names_a_path_or_a_picture(site, finished, tmp_path, pets):
    """Even of a run whose base, weights, teacher and figures are files of this machine."""
    secret = tmp_path / "geheim (mine)"
    run = shutil.copytree(finished.folder, secret / "run")
    network = models.load_file(run / "model.keras")
    object.__setattr__(network, "base", f"tiny ({secret}/w.pth)")
    models.save(network, run / "model.keras")
    knobs = {"data": str(pets), "base": f"{secret}/own.keras", "teacher": f"{secret}/t", "log": f"mlflow:{secret}"}
    atomic.write(run / "recipe.toml", recipe_files.dumps(finished.recipe.override(**knobs)))
    atomic.write(run / "metrics.json", finished.metrics | {"worst": f"{secret}/a.jpg", "best": ["a.jpg", 1.0]})
    tk.push(run, PETS)
    files = site.repositories["ada/pets"].files
    with zipfile.ZipFile(io.BytesIO(files["model.keras"])) as archive:
        assert json.loads(archive.read("transferkit.json"))["base"] == "tiny (w.pth)"
        contents = [*files.values(), *map(archive.read, archive.namelist())]
    private = [str(secret), "geheim", str(pets), str(finished.folder), os.path.expanduser("~/"), "/a.jpg"]
    private += [Path(path).name for path in finished.learned]
    for content in contents:
        assert not [text for text in private if text.encode() in content]
    card = files["README.md"].decode()
    assert "- Base: own.keras" in card
    assert json.loads(files["metrics.json"])["best"] == [1.0]


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("efficientnet_lite0 (imagenet)", "efficientnet_lite0 (imagenet)"),
        ("/home/ada (new)/best.keras", "best.keras"),
        ("resnet34 (C:\\ada\\w.pth)", "resnet34 (w.pth)"),
        ("runs/pets/", "pets"),
        ("hf://ada/pets", "hf://ada/pets"),
        ("resnet34(output_stride=8)", "resnet34(output_stride=8)"),
    ],
)
def test_without_folders(name, public):
    assert model_card.without_folders(name) == public


def test_classes_with_slashes_stay():
    figures = {"per_class": {"n/a": 1, "/home/x": 2}, "confused": [["n/a", "b", 1]], "split": "val"}
    kept = pushing.without_paths(figures, frozenset({"n/a", "b"}))
    assert kept == {"per_class": {"n/a": 1}, "confused": [["n/a", "b", 1]], "split": "val"}


def test_the_name_of_the_shift_file():
    assert pushing.SHIFT == shift.FILE and set(pushing.PASSING[:2]) < set(hub.RUN_FILES)


def test_a_report_and_exports_come_and_go(site, finished, tmp_path):
    (tmp_path / "pets.onnx").write_bytes(b"onnx")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_bytes(b"pb")
    found = tk.push(finished, PETS, exports=[tmp_path / "pets.onnx", tmp_path / "served"], with_report=True)
    more = {"report.html", "exports/pets.onnx", "exports/served/saved_model.pb"}
    assert set(found.files) == UPLOADED | more
    again = tk.push(finished, PETS)
    assert set(site.repositories["ada/pets"].files) == UPLOADED | {".gitattributes"}
    assert again.commit != found.commit
    # the earlier upload is still there
    assert set(site.repositories["ada/pets"].commits[found.commit]) >= more


def test_own_card_and_a_private_repository(site, finished, tmp_path, cli, monkeypatch):
    (tmp_path / "card.md").write_text("---\nlibrary_name: keras\n---\n# Mine\n")
    status, out, err = cli("push", finished.folder, PETS, "--private", "--card", tmp_path / "card.md", "--json")
    assert status == 0 and json.loads(out)["name"] == PETS
    assert err == f"Uploading {finished.folder} to {PETS} ...\n"  # without the bars of huggingface_hub
    assert site.repositories["ada/pets"].private
    assert site.repositories["ada/pets"].files["README.md"].endswith(b"# Mine\n")
    # it is read with the token, and not without
    assert hub.fetch(PETS).is_dir()
    monkeypatch.delenv("HF_TOKEN")
    hub.forget()
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "other"))
    with pytest.raises(tk.UnknownName, match="There is no hf://ada/pets, or it is private: .* HF_TOKEN"):
        hub.fetch(PETS)


def test_a_card_that_the_hub_refuses(site, finished, tmp_path):
    (tmp_path / "card.md").write_text("---\nlibrary_name: [1]\n---\n")
    with pytest.raises(ValueError, match='^hf://ada/pets: Invalid metadata in README.md. - "library_name" must be a'):
        tk.push(finished, PETS, card=tmp_path / "card.md")
    assert not site.repositories["ada/pets"].commits and not site.objects


def test_another_repository_is_not_written_to(site, finished):
    site.add("ada/pets", {"pytorch_model.bin": b"weights", "README.md": b"# Bert"})
    with pytest.raises(FileExistsError, match=r"holds something that is not a run \(pytorch_model.bin\)"):
        tk.push(finished, PETS)
    assert site.repositories["ada/pets"].files["README.md"] == b"# Bert"
    tk.push(finished, PETS, overwrite=True)
    assert site.repositories["ada/pets"].files["pytorch_model.bin"] == b"weights"


def test_predict_downloads_once(site, finished, uploaded, pets, cli):
    picture = next((pets / "cat").iterdir())
    (expected,), (first,) = finished.predict([str(picture)]), json.loads(cli("predict", PETS, picture, "--json")[1])
    assert sorted(site.downloads()) == sorted(hub.RUN_FILES)
    hub.forget()
    (second,) = tk.load_run(PETS).predict([str(picture)])
    for found in (first, second):
        assert found["label"] == expected["label"]
        assert found["probability"] == pytest.approx(expected["probability"], abs=1e-4)
        assert found["unlike"] == pytest.approx(expected["unlike"], abs=1e-3)
    assert sorted(site.downloads()) == sorted(hub.RUN_FILES)


def test_sets_of_a_run_on_the_hub(uploaded, pets, cli):
    status, out, err = cli("predict", PETS, pets / "dog", "--sets", "0.5", "--json")
    assert status == 0 and all(row["set"] for row in json.loads(out)), err


@pytest.mark.parametrize(("how", "why"), [("offline", "HF_HUB_OFFLINE does not let"), ("gone", ":9 cannot be reached")])
def test_without_the_hub_the_cache_is_read(site, uploaded, monkeypatch, how, why):
    hub.fetch(PETS)
    hub.forget()
    if how == "gone":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port of nobody
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(site.asked)
    assert tk.create(PETS).output_shape == (None, 2)
    assert len(site.asked) == asked
    with pytest.raises(OSError, match=f"hf://ada/birds is not in the cache, and .*{why}"):
        hub.fetch("hf://ada/birds")


def test_revisions(site, uploaded, finished, tmp_path):
    tk.load_run(PETS)  # a push that follows is seen
    other = shutil.copytree(finished.folder, tmp_path / "other")
    atomic.write(other / "metrics.json", finished.metrics | {"accuracy": 0.25})
    later = tk.push(other, PETS)
    site.repositories["ada/pets"].refs["first/one"] = uploaded.commit
    found = {name: tk.load_run(f"{PETS}{name}").metrics["accuracy"] for name in ("", "@first/one", f"@{later.commit}")}
    assert found == {"": 0.25, "@first/one": finished.metrics["accuracy"], f"@{later.commit}": 0.25}
    with pytest.raises(tk.UnknownName, match="hf://ada/pets has no revision 'v9': expected a branch"):
        tk.load_run(f"{PETS}@v9")


def test_a_pulled_run(uploaded, finished, pets, cli):
    run = tk.load_run(PETS)
    assert run.classes == finished.classes and run.recipe.data.data == "" and not run.learned
    assert run.evaluate(pets)["accuracy"] == finished.evaluate(pets)["accuracy"]
    with pytest.raises(FileNotFoundError, match=r"There is no .*split.csv, .*\(on the Hub no run has it\)"):
        run.evaluate()
    status, out, _ = cli("evaluate", PETS, "--data", pets, "--json")
    assert status == 0 and json.loads(out)["networks"] == [PETS]


@pytest.mark.slow
def test_finetune_from_the_hub(uploaded, pets, cli, tmp_path):
    words = ("--epochs", 1, "--head-epochs", 1, "--batch-size", 8, "--unfreeze", "head", "--refit", "off")
    status, _, err = cli("finetune", "--base", PETS, "--data", pets, "--out", "run", *words)
    assert status == 0, err
    assert tk.load_run("run").recipe.model.base == PETS
    front = yaml.safe_load((tmp_path / "run" / "MODEL_CARD.md").read_text("utf-8").split("---\n")[1])
    assert front["base_model"] == "ada/pets"


def test_leaks_are_possible_where_classes_are_the_same(uploaded, finished, listing):
    hub.fetch(PETS)
    others = tk.Splits(*(replace(part, classes=("fox", "owl")) for part in (listing, listing)))
    assert not list(find_leaks(PETS, others, "base"))
    (sentence,) = find_leaks(PETS, finished.splits, "base")
    assert sentence.startswith("hf://ada/pets has classes of these pictures and does not say which")


def test_features_of_the_hub_have_an_identity(site, uploaded, finished):
    identity = network_digest.identify_network(PETS, "imagenet", "")
    assert identity == network_digest.identify_network(str(bases.find_model(PETS)), "imagenet", "")
    assert identity != network_digest.identify_network(f"{finished.folder}/classes.txt", "imagenet", "")
    assert FeatureSpec(PETS).with_absolute_paths().base == PETS


def test_keras_layout_is_read(site, saved, finished, cli):
    """A repository that Keras itself saved to hf:// has no model.keras."""
    site.add("ada/plain", members(saved) | {"README.md": b"", "run.py": b"boom"})
    network = models.load("hf://ada/plain", pixels="raw")
    for own, expected in zip(network.model.get_weights(), finished.network.model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, expected)
    assert "run.py" not in site.downloads()
    count = len(site.downloads())
    assert cli("inspect", "hf://ada/plain")[0] == 0
    assert len(site.downloads()) == count


@pytest.mark.slow
def test_keras_alone_loads_it(site, uploaded, finished, tmp_path):
    """By hf://, in a process of its own, without transferkit and without unsafe code."""
    code = "import keras; m = keras.saving.load_model('hf://ada/pets', safe_mode=True); print(m.count_params())"
    env = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    env.pop("PYTHONPATH", None)
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout.split()[-1:] == [str(finished.network.model.count_params())], ended.stderr


def test_a_lambda_is_not_run(site, tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten()])
    model.save(tmp_path / "m.keras")
    site.add("eve/trap", {"model.keras": (tmp_path / "m.keras").read_bytes()})
    with pytest.raises(ValueError, match="hf://eve/trap has a Lambda layer 'lambda.*', whose Python code is not run"):
        models.load("hf://eve/trap")


def test_a_download_that_breaks_off_goes_on_later(site, uploaded, saved):
    file = f"/ada/pets/resolve/{uploaded.commit}/model.keras"
    site.broken[file] = "cut"
    with pytest.raises(OSError, match="hf://ada/pets: "):
        hub.fetch(PETS)
    assert hub.find_here(PETS) is None
    del site.broken[file]
    site.asked.clear()
    with zipfile.ZipFile(hub.fetch(PETS) / "model.keras") as archive:
        assert archive.testzip() is None
    assert site.downloads().count("model.keras") == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.keras": b"nothing"}, "hf://eve/x is not a file of a Keras model, or it is cut short"),
        ({"saved_model.pb": b"program", "README.md": b""}, "hf://eve/x does not hold a Keras model: expected"),
        ({"config.json": b"{}", "metadata.json": b"{}"}, "it lacks model.keras and model.weights.h5"),
        ({"config.json": b"{", "metadata.json": b"{}", "model.weights.h5": b"no"}, "hf://eve/x .*"),
    ],
    ids=["no zip", "SavedModel", "no weights", "damaged"],
)
def test_no_model(site, files, message):
    site.add("eve/x", files)
    with pytest.raises(ValueError, match=message) as error:
        models.load("hf://eve/x")
    assert "home" not in str(error.value)  # the path of the cache


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "hf://pets", "a.jpg"), "'hf://pets' is no name on the Hub: expected hf://USER/NAME"),
        (("inspect", "hf://ada/pets/model.keras"), "is no name on the Hub"),
        (("inspect", "https://huggingface.co/ada/pets"), "Did you mean 'hf://ada/pets'?"),
        (("inspect", "hf://huggingface.co/ada/pets"), "Did you mean 'hf://ada/pets'?"),
        (("inspect", "hf://ada/birds"), "There is no hf://ada/birds, or it is private"),
        (("finetune", "--base", "hf://ada/a..b", "--data", "."), "hf://ada/a..b is no name on the Hub"),
        (("inspect", "hf://ada/open"), "is open to those who have accepted its terms"),
        (("explain", "hf://ada/pets", ".", "--weights", "none"), "has weights of its own: omit --weights none"),
        (("push", "nothing", PETS), "There is no run or file 'nothing'."),
        (("push", ".", f"{PETS}@v1"), "push writes to the branch main: omit @v1"),
        (("push", ".", PETS, "--export", "pets.onnx"), "There is no pets.onnx to upload."),
    ],
)
def test_wrong_names(site, pets, cli, words, message, monkeypatch):
    site.add("ada/open", {"model.keras": b""}, gated=True)
    monkeypatch.setattr("transferkit.data.lazy_tensorflow.load", lambda: None)
    (Path.cwd() / "a.jpg").write_bytes(b"")
    status, _, err = cli(*(pets if word == "." and words[0] != "push" else word for word in words))
    assert message in " ".join(err.split()) and status == 2, err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("token", "broken", "message"),
    [
        ("", {}, "There is no token for http://127.0.0.1"),
        ("hf_unknown", {}, "does not know the token: make another one there"),
        (hub_site.READER, {}, "the token may not do that"),
        (hub_site.WRITER, {"/objects/": 403}, "the token may not do that"),
        (hub_site.WRITER, {"/api/models/ada/pets/commit": 500}, "answered with status 500: try again later"),
    ],
)
def test_a_push_that_fails(site, finished, cli, monkeypatch, tmp_path, token, broken, message):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    site.broken |= broken
    status, out, err = cli("push", finished.folder, PETS)
    assert status == 1 and message in " ".join(err.split()) and not out and "Traceback" not in err
    assert not any(repository.commits for repository in site.repositories.values())


def test_an_unfinished_run(site, finished, tmp_path):
    run = shutil.copytree(finished.folder, tmp_path / "run")
    (run / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="is not finished"):
        tk.push(run, PETS)
    with pytest.raises(ValueError, match="holds a run for each fold"):
        (run / "model.keras").unlink()
        (run / "fold-1").mkdir()
        atomic.write(run / "metrics.json", finished.metrics)
        tk.push(run, PETS)
    assert not site.repositories


def test_the_extra_is_missing(monkeypatch, cli):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    status, _, err = cli("predict", PETS, "a.jpg")
    assert status == 2 and "pip install 'transferkit[hub]'" in " ".join(err.split())


def test_public_weights_of_the_hub_are_the_base_model(finished, tmp_path):
    run = shutil.copytree(finished.folder, tmp_path / "run")
    for weights, expected in {"a1_in1k": "timm/resnet18.a1_in1k", "none": ""}.items():
        recipe = finished.recipe.override(base="resnet18", weights=weights)
        atomic.write(run / "recipe.toml", recipe_files.dumps(recipe))
        assert model_card.find_base_model(tk.load_run(run)) == expected
