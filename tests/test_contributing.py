"""What whoever carries on finds: the Makefile's help, the hooks, templates, decisions, recipes, the first change."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import documents
import pytest
import record_recipes
import yaml
from documents import ROOT

DECISIONS = ROOT / "docs" / "decisions.md"
COPIED = ("transferkit", "tests", "docs", "recipes", "pyproject.toml")
FIGURE = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?:e-?\d+)?(?![\w])")


def call(*words, cwd: Path = ROOT, **environment) -> str:
    """What a command prints. A `make` within `make test` prints what it does alone."""
    outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    ended = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=cwd, env=outer | environment)
    assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def make_targets() -> set[str]:
    (names,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    return set(names.split())


def test_help_lists_what_people_call():
    listed = re.findall(r"^make ([a-z-]+) +\S.*$", call("make", "--silent", "help"), flags=re.M)
    assert make_targets() - set(listed) == {"ruff", "ruff-format", "mypy"}  # `lint` is all three
    assert set(listed) <= make_targets()


def test_hooks_are_targets_of_the_makefile():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert local["repo"] == "local"  # nothing is fetched
    entries = [hook["entry"].split() for hook in local["hooks"]]
    assert [words[:2] for words in entries] == [["make", "--silent"]] * 3
    lint = call("make", "-n", "lint", "VENV=there").splitlines()
    commands = [call("make", "-n", target, "VENV=there").splitlines()[-1] for *_, target in entries]
    assert lint[-3:] == commands
    assert [line.partition("bin/")[2] for line in commands] == ["ruff check .", "ruff format --check .", "mypy"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem)
def test_issue_templates_are_forms(path):
    """https://docs.github.com/communities/using-templates: name, description and body, and a label for each field."""
    form = yaml.safe_load(path.read_text("utf-8"))
    assert form["name"] and form["description"] and form["body"]
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert (
            field["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
            and field["attributes"]["label"]
        )
    assert any(field.get("validations", {}).get("required") for field in form["body"])


@pytest.mark.parametrize("path", documents.PAGES, ids=lambda path: path.name)
def test_targets_that_documents_name_exist(path):
    named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)(?=[`\n]| +#| [A-Z]+=)", path.read_text("utf-8"), flags=re.M))
    assert named <= make_targets()


def decisions() -> list[str]:
    return re.split(r"^## ", DECISIONS.read_text("utf-8"), flags=re.M)[1:]


@pytest.mark.parametrize("text", decisions(), ids=lambda text: text.partition(".")[0])
def test_figures_of_a_decision_are_those_of_its_source(text):
    measured = text.partition("**Measured**")[2]
    paths = [(DECISIONS.parent / target).resolve() for target in re.findall(r"\]\(([^)]+)\)", measured)]
    assert paths, "a decision names where it was measured"
    there = {figure for path in paths for figure in FIGURE.findall(path.read_text("utf-8"))}
    claimed = FIGURE.findall(re.sub(r"\]\([^)]+\)", "", measured))
    assert claimed and not [figure for figure in claimed if figure not in there]


def test_a_wrong_figure_is_found():
    text = decisions()[0].replace("72.9%", "82.9%")
    with pytest.raises(AssertionError):
        test_figures_of_a_decision_are_those_of_its_source(text)


def test_recipes_page_is_up_to_date():
    assert record_recipes.PATH.read_text("utf-8") == record_recipes.source(), "run python tests/record_recipes.py"


def test_interval_of_three_seeds():
    """By hand: the standard deviation of 1, 2, 3 is 1; Student's 97.5% quantile of two degrees of freedom is 4.303."""
    assert abs(record_recipes.margin([1.0, 2.0, 3.0]) - 4.303 / 3**0.5) < 1e-3


@pytest.mark.slow
def test_the_first_change_passes(tmp_path):
    """The change that CONTRIBUTING.md walks through, in a copy of the repository."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (change,) = [each.code for each in documents.read_blocks(ROOT / "CONTRIBUTING.md") if each.language == "python"]
    path = tmp_path / "transferkit" / "data" / "augment" / "color.py"
    before, table, after = path.read_text("utf-8").partition("OPS = {")
    path.write_text(f"{before}{change}\n\n\n{table}{after.replace('blur)', 'blur, noise)')}", "utf-8")
    environment = {"PYTHONPATH": str(tmp_path)}
    call(sys.executable, "tests/record_augmentations.py", cwd=tmp_path, **environment)
    assert "`noise(8)`" in (tmp_path / "docs" / "augmentations.md").read_text("utf-8")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_augment_steps.py", "-k", "noise or page")
    assert re.search(r"\b6 passed", call(sys.executable, *words, cwd=tmp_path, **environment))
