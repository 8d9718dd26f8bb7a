"""Recipes, and the rules that choose open knobs."""

from pathlib import Path

import pytest

from transferkit import recipe, recipe_files, rules
from transferkit.lookup import UnknownName
from transferkit.pixels import Pixels
from transferkit.recipe import Recipe


def facts(pictures=240, smallest_class=50, side=375, minimum=1, gpu=False, probes=False):
    return rules.RuleInputs(
        pictures=pictures,
        smallest_class=smallest_class,
        shorter_side=side,
        pixels=Pixels(),
        minimum_size=minimum,
        has_gpu=gpu,
        can_fit_head=probes,
        head_layers=("stage3", "pooled"),
    )


def test_knobs_are_unique_and_have_help():
    knobs = recipe.list_knobs("data", "augment", "model", "train")
    assert len({knob.name for knob in knobs}) == len(knobs)
    assert all(knob.metadata["help"].endswith(".") for knob in knobs)


def test_override_sets_knobs_of_every_section():
    changed = Recipe().override(base="resnet18", epochs=3, augment="none", validation=0.5)
    assert (changed.model.base, changed.train.epochs, changed.augment.augment, changed.data.validation) == (
        "resnet18",
        3,
        "none",
        0.5,
    )


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"epoch": 3}, "No knob is called 'epoch'. Did you mean 'epochs'?"),
        ({"epochs": 0}, "epochs must be at least 1, not 0."),
        ({"epochs": 2.5}, "epochs must be of type int, not 2.5."),
        ({"epochs": True}, "epochs must be of type int, not True."),
        ({"validation": 2}, "validation must be from 0.01 to 0.9, not 2."),
        ({"optimizer": "adam"}, "optimizer must be one of adamw, sgd, sgd_l2, lars, lamb, not 'adam'."),
        ({"base": None}, "base must be of type str, not None."),
    ],
)
def test_override_refuses_invalid_values(knobs, sentence):
    with pytest.raises(ValueError) as error:
        Recipe().override(**knobs)
    assert str(error.value).startswith(sentence)


def test_toml_round_trip(tmp_path):
    resolved, _ = rules.choose_knobs(Recipe().override(base='a "quoted" näme', lr=0.001), facts())
    (tmp_path / "r.toml").write_text(recipe_files.dumps(resolved), "utf-8")
    assert recipe_files.load(tmp_path / "r.toml") == resolved


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs = 3", "No section of the recipe"),
        ("[train]\nepoch = 3", "No knob in [train]"),
        ("[model]\nepochs = 3", "No knob in [model]"),
        ("[train]\nepochs = 'x'", "epochs must be of type int"),
        ("[train", "is not a recipe"),
        ("train = 3", "[train] must be a table"),
    ],
)
def test_an_invalid_file_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ValueError) as error:
        recipe_files.load(tmp_path / "r.toml")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_rules_choose_every_open_knob_with_a_reason():
    resolved, choices = rules.choose_knobs(Recipe(), facts())
    open_knobs = {
        knob.name for knob in recipe.list_knobs("augment", "model", "train") if knob.default is recipe.BY_RULE
    }
    assert {choice.knob for choice in choices} == open_knobs
    assert all(choice.reason for choice in choices)
    assert rules.choose_knobs(resolved, facts())[1] == []


def test_rules_keep_knobs_set_by_the_user():
    resolved, choices = rules.choose_knobs(Recipe().override(size=96, lr=0.5), facts())
    assert (resolved.model.size, resolved.train.lr) == (96, 0.5)
    assert not {"size", "lr"} & {choice.knob for choice in choices}


@pytest.mark.parametrize(
    ("given", "about", "expected"),
    [
        ({}, {"side": 32}, {"size": 64, "augment": "crop(0.7)"}),
        ({}, {"side": 64}, {"size": 128, "augment": "light"}),
        ({}, {"side": 8, "gpu": True}, {"size": 128, "augment": "crop(0.7)"}),
        ({}, {"smallest_class": 5}, {"label_smoothing": 0.0}),
        ({}, {"pictures": 5}, {"batch_size": 5}),
        ({}, {"pictures": 5000}, {"batch_size": 32, "bn": "train"}),
        ({}, {"probes": True}, {"start": "probe", "head_epochs": 0, "epochs": 10, "batch_size": 16, "lr": 4.24e-4}),
        ({}, {}, {"start": "fresh", "head_epochs": 5, "epochs": 15, "views": 0}),
        ({}, {"probes": True, "smallest_class": 1}, {"start": "fresh"}),
        ({}, {"probes": True, "pictures": 10**6}, {"start": "fresh", "head_epochs": 5, "epochs": 7}),
        ({"unfreeze": "head"}, {"probes": True}, {"start": "probe", "head_epochs": 15, "epochs": 15, "views": 1}),
        ({"unfreeze": "last-stage"}, {}, {"views": 4}),
        ({"unfreeze": "last-stage,all"}, {}, {"views": 4}),
        ({"unfreeze": "head", "epochs": 4}, {}, {"head_epochs": 4}),
        ({"epochs": 1}, {}, {"head_epochs": 0}),
        ({"epochs": 3}, {}, {"head_epochs": 1}),
        ({"head_epochs": 0}, {"pictures": 10**6}, {"epochs": 2}),
        ({"batch_size": 64}, {}, {"lr": 8.49e-4}),
        ({"weights": "none", "batch_size": 32}, {"pictures": 1200}, {"epochs": 40, "head_epochs": 0, "lr": 0.001}),
        ({"optimizer": "sgd", "batch_size": 64}, {}, {"lr": 0.02, "head_lr": 0.1}),
        ({}, {"side": 8, "minimum": 96}, {"size": 96, "channels": 3}),
    ],
)
def test_rules(given, about, expected):
    resolved, _ = rules.choose_knobs(Recipe().override(**given), facts(**about))
    found = {knob: getattr(getattr(resolved, recipe.map_knobs_to_sections()[knob]), knob) for knob in expected}
    assert found == expected


def test_unknown_name_is_a_value_error():
    assert issubclass(UnknownName, ValueError)


def test_an_installed_package_has_its_own_recipes(tmp_path, monkeypatch):
    """What lies beside it is another package's."""
    for place in ("transferkit/recipes/ours.toml", "recipes/theirs.toml"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    monkeypatch.setattr(recipe_files, "__file__", str(tmp_path / "transferkit" / "recipe.py"))
    assert recipe_files.find_recipe("ours") == tmp_path / "transferkit" / "recipes" / "ours.toml"
    with pytest.raises(UnknownName, match="No recipe is called 'theirs'"):
        recipe_files.find_recipe("theirs")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "recipes").glob("*.toml")), ids=lambda p: p.name
)
def test_all_recipes_load(path):
    assert (recipe_files.load(path) != Recipe()) == (path.stem != "balanced")  # which names the defaults
