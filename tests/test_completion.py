"""What a shell completes, through click's own interface."""

import os

import pytest
from click.shell_completion import ShellComplete
from test_layering import run as run_python

from transferkit import commands


def complete(*words: str) -> set[str]:
    """The words that the last one may become, and <file> or <dir> where names of files may follow too."""
    *args, incomplete = words
    shell = ShellComplete(commands.group, {}, "transferkit", "_TRANSFERKIT_COMPLETE")
    found = shell.get_completions(list(args), incomplete)
    return {item.value if item.type == "plain" else f"<{item.type}>" for item in found}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    for name in ("runs/pets-1", "elsewhere/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "recipe.toml").touch()
    (tmp_path / "runs" / "no-run").mkdir()
    monkeypatch.chdir(tmp_path)


def test_base(runs):
    assert complete("finetune", "--base", "resnet34") == {"resnet34", "<file>"}
    assert {"resnet34", "auto", "runs/pets-1"} <= complete("finetune", "--base", "")
    assert complete("finetune", "--base", "runs/") == {"runs/pets-1", "<file>"}
    assert complete("predict", "elsewhere/") == {"elsewhere/other", "<file>"}
    assert complete("probe", "--base", "resnet18,vgg16") == {f"resnet18,vgg16{end}" for end in ("", "_bn", "c")} | {
        "<file>"
    }


def test_weights():
    assert complete("finetune", "--base", "resnet18", "--weights", "tv") == {"tv_in1k", "<file>"}
    assert complete("predict", "vgg16", "cat.jpg", "--weights", "") == {
        *("imagenet", "none", "imagenet1k_v1", "tv_in1k", "keras", "<file>")
    }
    assert complete("weights", "fetch", "vgg16.") == {"vgg16.imagenet1k_v1", "vgg16.tv_in1k", "vgg16.keras"}
    assert "resnet34" in complete("weights", "fetch", "resnet18", "resn")


def test_recipes_runs_and_choices(runs):
    assert complete("train", "--recipe", "resn") == {"resnet", "resnet_cifar", "resnet20_digits", "<file>"}
    assert complete("finetune", "--resume", "r") == {"runs/pets-1", "<dir>"}
    assert complete("finetune", "--optimizer", "sg") == {"sgd", "sgd_l2"}
    assert "finetune" in complete("fine")


def test_completion_loads_nothing_heavy():
    calls = "t.complete('finetune', '--base', ''); t.complete('finetune', '--weights', '')"
    heavy = "{'tensorflow', 'keras', 'sklearn', 'matplotlib', 'numpy'} & set(sys.modules)"
    place = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})"
    assert run_python(f"{place}; import test_completion as t; {calls}; print({heavy})").strip() == "set()"
