"""Public names: the same for type checkers as at run time, each with an example; types of knobs match the recipe."""

import ast
import inspect
import json
from pathlib import Path

import pytest
import record_knobs

import transferkit as tk
from transferkit.data.audit.problems import KINDS


def test_names_for_type_checkers_are_those_at_run_time():
    tree = ast.parse(Path(tk.__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "transferkit" in node.module]
    assert {alias.asname: node.module for node in imports for alias in node.names if alias.asname} == tk._HOMES
    assert Path(tk.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize("name", tk.__all__)
def test_each_public_name_is_documented(name):
    public = getattr(tk, name)
    doc = inspect.getdoc(public)
    assert doc and doc.splitlines()[0].endswith(".")
    if inspect.isfunction(public):
        assert "Example:" in doc and ">>>" in doc, f"{name} has no example"


def test_types_of_knobs_are_those_of_the_recipe():
    assert record_knobs.PATH.read_text("utf-8") == record_knobs.source(), "run python tests/record_knobs.py"


def test_check(pets, tmp_path, cli):
    result = tk.check(pets)
    assert result.class_counts == {"cat": {"train": 12}, "dog": {"train": 12}} and len(result.paths) == 24
    assert {problem.kind for problem in result.problems} <= set(KINDS)
    status, out, _ = cli("check", pets, "--json")
    assert [row["path"] for row in json.loads(out)["problems"]] == [problem.path for problem in result.problems]
    with pytest.raises(tk.UnknownName, match="No knob of a source is called 'group'. Did you mean 'group_by'"):
        tk.check(pets, group="a")


def test_list_models_and_inspect():
    (lenet,) = tk.list_models("LeNet5")
    assert (lenet["name"], lenet["params"], lenet["size"]) == ("lenet5", tk.inspect("lenet5").to_dict()["params"], 32)
    with pytest.raises(tk.UnknownName, match="No network matches 'lenett'"):
        tk.list_models("lenett")
    assert tk.inspect("lenet5").layers[0].output == (32, 32, 1)
    with pytest.raises(tk.UnknownName, match="weight set of resnet18"):
        tk.download_weights("resnet18.nothing")


def test_lr_find(tiny, pets):
    splits = tk.find_splits(pets)
    knobs = {"weights": "none", "size": 32, "batch_size": 8, "start": "fresh", "devices": "cpu"}
    search = tk.lr_find(tiny, splits.train, splits.val, **knobs)
    assert len(search.rates) > 10 and search.suggestion > 0
    with pytest.raises(tk.UnknownName, match="folds is of no use in lr_find"):
        tk.lr_find(tiny, splits.train, splits.val, folds=3)
    with pytest.raises(tk.UnknownName, match="^group_by is a knob of find_splits"):
        tk.lr_find(tiny, splits.train, splits.val, group_by="a")
