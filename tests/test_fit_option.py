"""`--fit`: chosen once, saved with the network, and can be changed in every command that reads pictures."""

import dataclasses
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from conftest import QUICK
from PIL import Image

import transferkit as tk
from transferkit import models, rules
from transferkit.data.audit import before_training, file_scan
from transferkit.features import skops_file
from transferkit.features.feature_spec import FeatureSpec, cache_key
from transferkit.lookup import UnknownName
from transferkit.network import with_fit
from transferkit.pixels import Pixels
from transferkit.recipe import Recipe

RUN = ("--epochs", 1, "--head-epochs", 0, "--batch-size", 8, "--size", 32)


@pytest.fixture(scope="module")
def bordered(tmp_path_factory):
    """Wide pictures whose class is told by what lies at their left and right ends alone."""
    root, rng = tmp_path_factory.mktemp("bordered"), np.random.default_rng(0)
    for number in range(24):
        name, colour = (("left", (230, 40, 40)), ("right", (40, 60, 230)))[number % 2]
        values = rng.integers(90, 166, (24, 96, 3)).astype("uint8")
        values[:, :24] = values[:, -24:] = colour
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(values).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def squashed(finished, bordered, tmp_path_factory):
    splits = tk.find_splits(bordered)
    knobs = QUICK | {"weights": "imagenet", "fit": "squash", "start": "probe", "epochs": 2, "head_epochs": 0}
    out = tmp_path_factory.mktemp("runs") / "run"
    return tk.finetune(str(finished.folder), splits.train, splits.val, out=out, **knobs)


def answered(cli, *words):
    status, out, err = cli(*words, "--json")
    assert status == 0, err
    return json.loads(out)


def test_borders_are_visible_with_squash_and_pad(tiny, bordered, cli):
    found = {
        fit: answered(cli, "probe", "--base", tiny, "--weights", "none", "--data", bordered, "--folds", 3, "--fit", fit)
        for fit in ("crop", "squash", "pad")
    }
    shares = {fit: rows[0]["accuracy"] for fit, rows in found.items()}
    assert shares["squash"] == shares["pad"] == 1 and shares["crop"] < 0.8


@pytest.mark.slow
def test_a_run_stores_its_fit_for_later_commands(squashed, bordered, cli):
    assert squashed.network.pixels.fit == squashed.recipe.model.fit == "squash"
    assert (
        json.loads(zipfile.ZipFile(squashed.folder / "model.keras").read("transferkit.json"))["pixels"]["fit"]
        == "squash"
    )
    pictures = sorted(str(path) for path in bordered.glob("*/*.png"))
    rows = answered(cli, "predict", squashed.folder, *pictures)
    assert rows == answered(cli, "predict", squashed.folder, *pictures, "--fit", "squash")
    assert rows != answered(cli, "predict", squashed.folder, *pictures, "--fit", "crop")
    figures = answered(cli, "evaluate", squashed.folder, "--data", bordered)
    assert figures["accuracy"] == np.mean([row["label"] in row["path"] for row in rows])
    assert figures["loss"] != answered(cli, "evaluate", squashed.folder, "--data", bordered, "--fit", "pad")["loss"]


@pytest.mark.slow
def test_a_run_based_on_another_uses_its_fit(squashed, bordered, cli):
    plan = answered(cli, "finetune", "--base", squashed.folder, "--data", bordered, "--dry-run")
    assert plan["recipe"]["model"]["fit"] == "squash"
    (choice,) = (choice for choice in plan["chosen"] if choice["knob"] == "fit")
    assert choice["reason"] == "the network's own"
    plan = answered(cli, "finetune", "--base", squashed.folder, "--data", bordered, "--dry-run", "--fit", "crop")
    assert plan["recipe"]["model"]["fit"] == "crop" and not [one for one in plan["chosen"] if one["knob"] == "fit"]


def test_features_of_a_run_use_its_fit(squashed, bordered):
    def features(fit_mode=None):
        return tk.FeatureExtractor(squashed.folder, fit_mode=fit_mode).transform(tk.list_images(bordered))

    assert np.array_equal(features(), features("squash"))
    assert not np.allclose(features(), features("crop"), atol=1e-3)


def test_the_initial_regression_uses_the_same_view(squashed):
    """Its accuracy is that of what the fit shows: of the centre alone it would be chance."""
    assert squashed.history[0]["phase"] == "probe" and float(squashed.history[0]["accuracy"]) == 1


def test_weights_of_a_run_have_its_fit(squashed, tiny):
    assert models.load(tiny, squashed.folder).pixels.fit == "squash"


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_the_plan_prints_the_fit(tiny, pets, cli, fit):
    status, out, err = cli(
        "finetune", "--base", tiny, "--weights", "none", "--data", pets, *RUN, "--dry-run", "--fit", fit
    )
    words = {"crop": "shorter side to 37, centre 32x32", "squash": "squashed to 32x32", "pad": "padded to 32x32"}
    assert status == 0 and f"pictures: {words[fit]}, bilinear" in " ".join(out.split())


def test_a_file_without_a_fit_is_cropped(finished, tmp_path):
    shutil.copy(finished.folder / "model.keras", tmp_path / "older.keras")
    _rewrite(tmp_path / "older.keras", lambda pixels: pixels.pop("fit"))
    assert models.load_file(tmp_path / "older.keras").pixels == finished.network.pixels


def test_a_file_with_an_unknown_fit(finished, tmp_path):
    shutil.copy(finished.folder / "model.keras", tmp_path / "newer.keras")
    _rewrite(tmp_path / "newer.keras", lambda pixels: pixels.update(fit="stretch"))
    with pytest.raises(ValueError, match="newer.keras cannot be used: its transferkit.json No fit is called 'stretch'"):
        models.load_file(tmp_path / "newer.keras")


def _rewrite(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    note = json.loads(members["transferkit.json"])
    change(note["pixels"])
    members["transferkit.json"] = json.dumps(note).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_saved_classifier_keeps_its_fit(tiny, bordered, tmp_path, cli):
    base = ("--base", tiny, "--weights", "none", "--data", bordered, "--folds", 2)
    answered(cli, "probe", *base, "--fit", "squash", "--out", tmp_path / "f.skops")
    pipeline = skops_file.load_pipeline(tmp_path / "f.skops")
    assert pipeline[0].fit_mode == "squash" and pipeline[0].spec().fit == "squash"
    rows = answered(cli, "predict", tmp_path / "f.skops", bordered)
    assert all(row["label"] in row["path"] for row in rows)
    status, _, err = cli("predict", tmp_path / "f.skops", bordered, "--fit", "pad")
    assert status == 2 and "omit --weights, --pixels, --fit and --classes" in " ".join(err.split())
    answered(cli, "extract", *base[:-2], "--fit", "pad", "--out", tmp_path / "pad.npz")
    status, _, err = cli("predict", tmp_path / "f.skops", tmp_path / "pad.npz")
    assert status == 1 and "differ in fit (pad in place of squash)" in " ".join(err.split())
    assert tk.load_features(tmp_path / "pad.npz").spec.fit == "pad"


def test_an_extractor_of_a_version_without_fit(tiny, listing):
    extractor = tk.FeatureExtractor(tiny, weights="none")
    del extractor.__dict__["fit_mode"]
    assert extractor.spec().fit is None and extractor.transform(listing).shape == (24, 16)


def test_the_cache_distinguishes_fits_except_the_default(tiny, finished):
    bare = FeatureSpec(tiny, "none")
    kinds = {fit: cache_key(dataclasses.replace(bare, fit=fit), "pooled") for fit in (None, "crop", "squash", "pad")}
    assert kinds[None] == kinds["crop"] and len(set(kinds.values())) == 3
    run = FeatureSpec(str(finished.folder))
    assert len({cache_key(dataclasses.replace(run, fit=fit), "pooled") for fit in (None, "crop", "pad")}) == 3


def test_a_preview_shows_the_fit(pets, cli, tmp_path):
    sheets = {}
    for fit in (None, "crop", "squash", "pad"):
        words = ("--fit", fit) if fit else ()
        answered(cli, "data", "preview", pets, "--size", 32, "--augment", "none", *words, "--out", tmp_path / "p.png")
        sheets[fit] = (tmp_path / "p.png").read_bytes()
    assert sheets[None] == sheets["squash"] and len(set(sheets.values())) == 3


@pytest.mark.slow
def test_lr_find_uses_the_fit(tiny, pets, cli, tmp_path):
    words = ("lr-find", "--base", tiny, "--weights", "none", "--data", pets, "--size", 32, "--fit", "pad")
    assert "suggestion" in answered(cli, *words, "--out", tmp_path / "lr.png")


def test_an_unknown_fit(finished, tiny, pets, cli):
    with pytest.raises(
        UnknownName, match=re.escape("fit must be one of crop, squash, pad, not 'squish'. Did you mean 'squash'?")
    ):
        Recipe().override(fit="squish")
    with pytest.raises(UnknownName, match="fit must be one of crop, squash, pad, not 'pat'. Did you mean 'pad'?"):
        tk.FeatureExtractor(tiny, fit_mode="pat").fit()
    with pytest.raises(UnknownName, match="No fit is called 'corp'. Did you mean 'crop'?"):
        with_fit(finished.network, "corp")
    for words in (("predict", finished.folder, pets), ("evaluate", finished.folder), ("probe", "--data", pets)):
        status, _, err = cli(*words, "--fit", "squish")
        assert status == 2 and "'crop', 'squash', 'pad'" in " ".join(err.split())


@pytest.mark.parametrize(
    ("own", "aspect", "probes", "expected"),
    [
        ("pad", 2.0, True, "pad"),
        ("crop", 2.0, True, "squash"),
        ("crop", 1.05, True, "crop"),
        ("crop", 2.0, False, "crop"),
    ],
)
def test_the_rule_squashes_long_pictures_where_a_new_head_is_fitted(own, aspect, probes, expected):
    facts = rules.RuleInputs(
        pictures=240,
        smallest_class=50,
        shorter_side=375,
        aspect_ratios=(1.0, 1.0, aspect),
        pixels=Pixels(fit=own),
        minimum_size=1,
        has_gpu=False,
        can_fit_head=probes,
        head_layers=("pooled",),
    )
    choices = rules.choose_knobs(Recipe(), facts)[1]
    assert next(choice for choice in choices if choice.knob == "fit").value == expected


def test_the_audit_returns_picture_shapes(pets, bordered):
    assert before_training.audit_listing(tk.list_images(pets)).aspect_quartiles == pytest.approx((4 / 3,) * 3)
    assert before_training.audit_listing(tk.list_images(bordered)).aspect_quartiles == (4, 4, 4)
    looks = tuple(
        file_scan.FileScan(width=width, height=height) for width, height in ((9, 9), (8, 4), (3, 9), (16, 4), (5, 25))
    )
    assert before_training.Audit(tk.list_images(pets), (), looks).aspect_quartiles == (2, 3, 4)
