"""Help is within a screen, in groups, and `--help-all` shows every option."""

import re

import click
import pytest
from test_commands import pages

from transferkit import commands, recipe
from transferkit.commands import help_pages

OWN = {("probe", "folds"), ("extract", "workers")}  # options of these commands with the name of a knob


def shown(out: str) -> dict[str, list[str]]:
    """The options under each heading of a help."""
    found: dict[str, list[str]] = {}
    for line in out.splitlines():
        if heading := re.fullmatch(r"(\w+):", line):
            options = found.setdefault(heading[1], [])
        elif option := re.match(r"  (?:-h, )?--([a-z0-9-]+)", line):
            options.append(option[1])
    return found


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setattr(click.formatting, "FORCED_WIDTH", 100)


@pytest.mark.parametrize("words", list(pages(commands.group)), ids=" ".join)
def test_help_is_within_a_screen(cli, wide, words):
    lines = cli(*words, "--help")[1].splitlines()
    assert len(lines) < 60 and max(map(len, lines)) <= 100


@pytest.mark.parametrize("words", [(), *pages(commands.group)], ids=" ".join)
def test_examples_are_not_broken_in_80_columns(cli, words):
    assert max(map(len, cli(*words, "--help")[1].splitlines())) <= 80


@pytest.mark.parametrize("command", ["finetune", "train", "lr-find", "extract", "probe"])
def test_help_shows_the_basic_knobs_under_the_headings_of_their_sections(cli, wide, command):
    few, every = (shown(cli(command, flag)[1]) for flag in ("--help", "--help-all"))
    for section, knobs in ((name, recipe.list_knobs(name)) for name in ("data", "model", "train", "augment")):
        for knob in knobs:
            flag, heading = knob.name.replace("_", "-"), help_pages.GROUPS[section]
            if flag in sum(every.values(), []) and (command, flag) not in OWN:
                assert flag in every[heading]
                assert (
                    (flag in few.get(heading, [])) == knob.metadata["basic"] or command == "probe" and flag == "folds"
                )
    assert few["Output"] == every["Output"] and few["Output"][-2:] == ["help-all", "help"]


def test_help_all_has_every_option(cli, wide):
    options = {param.name for param in commands.group.commands["finetune"].params} | {"help"}
    found = shown(cli("finetune", "--help-all", "--data", "nowhere-but-not-looked-at")[1])
    assert len(sum(found.values(), [])) == len(options)
    assert (
        10 <= sum(len(group) for heading, group in shown(cli("finetune", "-h")[1]).items() if heading != "Output") <= 16
    )


def test_descriptions_stand_in_one_column(cli, wide):
    lines = [line for line in cli("finetune", "--help")[1].splitlines() if line.startswith("  --")]
    starts = {
        found.end() for line in lines if (found := re.match(r"  --\S+( \S+)*  +", line)) and found.end() < len(line)
    }
    assert len(starts) == 1
