"""docs/notes.md: every point is there, and the commands and functions that it names exist and run."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
from PIL import Image

from transferkit import zoo
from transferkit.commands import group
from transferkit.data.example_digits import write_digits
from transferkit.lab import experiments

NOTES = (Path(__file__).parent.parent / "docs" / "notes.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", NOTES, flags=re.M)
COMMANDS = sorted({code for _, _, how in ROWS for code in re.findall(r"`transferkit ([^`]+)`", how)})
CALLS = sorted({code for _, _, how in ROWS for code in re.findall(r"`(transferkit\.[\w.]+)\(", how)})
TRAINS = ("train", "finetune", "probe", "extract", "doctor")  # commands that take minutes, unless only planned


def test_every_point_is_there_and_says_how():
    assert {int(number) for number, _, _ in ROWS} == set(range(1, 148))
    assert all("`" in how or "context only" in how.lower() for _, _, how in ROWS)


def parse(words: list[str]) -> click.Context:
    """The context of a command line, whose options and values click has checked."""
    command, context = group.commands[words[0]], None
    words = words[1:]
    if isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    return command.make_context("transferkit", words, parent=context)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the commands name: digits, the same as pets, and a picture."""
    folder = tmp_path_factory.mktemp("notes")
    for name in ("digits", "pets", "imagenet"):
        write_digits(folder / name, most=100)
    for name in ("tabby.jpg", "cat.jpg"):
        Image.effect_mandelbrot((96, 80), (-2, -1, 1, 1), 60).convert("RGB").save(folder / name)
    return folder


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_parse_and_name_what_exists(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    name, *rest = shlex.split(words)
    if name == "lab":
        assert rest[0] in experiments.by_name()
    for each in rest if name == "inspect" else ():
        if re.match(r"[a-z0-9_]+(\(|$)", each) and each not in ("stage3",):
            assert zoo.spell(each)
    assert parse([name, *rest])


@pytest.mark.parametrize("call", CALLS)
def test_functions_exist(call):
    module, _, name = call.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def is_slow(words: str) -> bool:
    """Whether a command trains, or repeats an experiment with random numbers: other tests run these small."""
    name, *rest = shlex.split(words)
    if name == "lab":
        return bool(experiments.by_name()[rest[0]].seeds)
    return name in TRAINS and "--dry-run" not in rest


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in COMMANDS if not is_slow(words)])
def test_commands_run(words, cli, folder, finished, monkeypatch):
    monkeypatch.chdir(folder)
    run = str(finished.folder)
    args = [run if word in ("RUN", "RUN1", "RUN2", "runs/a", "runs/b") else word for word in shlex.split(words)]
    if "evaluate" in args:
        args = [word for word in args if word not in ("--data", "digits/", "pets/")]
    status, _, said = cli(*args)
    assert not status, said
