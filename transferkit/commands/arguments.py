"""What is checked of a command line before the command runs, and TensorFlow is imported: networks and pictures that
are not there, or in each other's place."""

import os
import re
import shlex
from typing import Any

import click

from transferkit import base_names, hub, path_kinds, recipe_files, zoo
from transferkit.commands import help_pages
from transferkit.lookup import UnknownName
from transferkit.recipe import AUTO, Model

# what a parameter takes: a network, a folder of pictures or a list of them, pictures one by one, features
ROLES = {
    "network": "network",
    "networks": "network",
    "other": "network",
    "base": "network",
    "teacher": "network",
    "data": "folder",
    "source": "folder",
    "sources": "pictures",
    "queries": "pictures",
    "feats": "features",
}
FITTING = {  # the kinds of `path_kinds.find_kind` that suit each
    "network": ("name", "run", "model"),
    "folder": ("pictures", "list"),
    "pictures": ("pictures", "list", "picture"),
    "features": ("features",),
}
ALSO_FITTING = {
    ("predict", "network"): ("pipeline",),
    ("predict", "pictures"): ("features",),
    ("extract", "folder"): ("picture",),  # labels are not needed
}
EXPECTED = {
    "network": "a network",
    "folder": "a folder of pictures",
    "pictures": "pictures",
    "features": "features",
}
NOUNS = {
    "name": "the name of a network",
    "run": "a run",
    "runs": "a folder of runs",
    "model": "the file of a model",
    "weights": "a file of weights",
    "pipeline": "a classifier that `transferkit probe` saved",
    "pictures": "a folder of pictures",
    "picture": "a picture",
    "list": "a list",
    "features": "a file of features",
    "recipe": "a recipe",
}
BASE_AND_DATA = "[--base {network}] --data {pictures}"
LINES = {  # the right order; what is in brackets may be omitted
    "predict": "{network} {pictures}",
    "explain": "{network} {pictures}",
    "evaluate": "{network} --data {pictures}",
    "compare": "{network} RUN_B",
    "inspect": "{network}",
    "finetune": BASE_AND_DATA,
    "train": BASE_AND_DATA,
    "lr-find": BASE_AND_DATA,
    "probe": BASE_AND_DATA,
    "extract": f"{BASE_AND_DATA} --out {{out}}",
    "similar": "{features} {pictures}",
    "check": "{pictures}",
    "data preview": "{pictures}",
    "data pca": "{pictures}",
    "data pack": "{pictures} --out {out}",
}
# the right command for a value in a wrong place, where it is another one
OTHERWISE = {
    ("inspect", "pictures"): "transferkit check {value} looks at pictures",
    ("inspect", "picture"): "transferkit predict {network} {value} classifies it",
    ("evaluate", "picture"): "transferkit predict {network} {value} classifies it",
    ("check", "run"): "transferkit evaluate {value} measures a run",
    ("check", "name"): "transferkit inspect {value} shows a network",
    ("similar", "picture"): "transferkit extract --data FOLDER --out FEATURES.npz makes features",
    ("similar", "pictures"): "transferkit extract --data {value} --out FEATURES.npz makes them",
    ("similar", "run"): "transferkit extract --base {value} --data FOLDER --out FEATURES.npz makes them",
    ("similar", "name"): "transferkit extract --base {value} --data FOLDER --out FEATURES.npz makes them",
}
UNFREEZE = {  # other words for the parts of a network; none is a layer of ours
    "head": ("top", "none", "false", "last-layer", "linear-probe"),
    "last-stage": ("last", "last-block", "1"),
    "last-2": ("last-stages", "2"),
    "all": ("full", "everything", "whole", "true", "body"),
}


def check(group: click.Group, words: list[str]):
    """Check the networks and the pictures of a command line, if it can be parsed.

    Args:
        group: all commands.
        words: the command line.

    Raises:
        click.UsageError: a network stands where pictures are expected, or the other way round.
        UnknownName, FileNotFoundError: there is no such network, run, recipe, or part to unfreeze.
    """
    command, name, rest = find_command(group, words)
    if name not in LINES:
        return
    given = parse_raw(command, name, rest)
    if given.get("help"):
        return
    values = [(ROLES[key], value) for key in given if key in ROLES for value in _split(key, given[key])]
    ctx = click.Context(command, info_name=f"transferkit {name}", **help_pages.CONTEXT)
    for role, value in values:
        kind = _find_kind(role, value)
        if kind and kind not in (*FITTING[role], *ALSO_FITTING.get((name, role), ())):
            sentence = f"{value} is {NOUNS[kind]}, not {EXPECTED[role]}: "
            raise click.UsageError(sentence + _right_line(name, value, kind, values, given.get("out")), ctx)
    for role, value in values:
        if role == "network" and value != AUTO:
            base_names.check_name(value)
    if (run := given.get("resume")) and not os.path.exists(run):
        raise FileNotFoundError(base_names.missing_path_message(run))
    if recipe := given.get("recipe_name"):
        recipe_files.find_recipe(recipe)
    if zoo.is_network(given.get("base") or Model().base):
        _check_unfreeze(given.get("unfreeze") or "")


def find_command(group: click.Group, words: list[str]) -> tuple[click.Command, str, list[str]]:
    """The command of a command line, its name with that of its group, and the words after it."""
    command: click.Command = group
    names, rest = [], list(words)
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        names.append(rest.pop(0))
        command = command.commands[names[-1]]
    return command, " ".join(names), rest


def parse_raw(command: click.Command, name: str, words: list[str]) -> dict[str, Any]:
    """{parameter: the text given, or several}; what is wrong with the line is ignored here, as click will say it.

    Options may stand anywhere; a missing argument is not in it.
    """
    ctx = click.Context(command, info_name=name, resilient_parsing=True, **help_pages.CONTEXT)
    try:
        given = command.make_parser(ctx).parse_args(list(words))[0]
    except click.UsageError:
        return {}
    return {key: value for key, value in given.items() if isinstance(value, (str, tuple, list, bool))}


def _split(key: str, value) -> list[str]:
    """The values of a parameter: several arguments, or the names of `probe --base`."""
    if key == "base":
        return [text for text in re.split(r"\s*,\s*(?![^(]*\))", value) if text]
    return [text for text in ([value] if isinstance(value, str) else value) if isinstance(text, str) and text != "-"]


def _find_kind(role: str, value: str) -> str:
    """The kind of a value; the name of a network comes before a path as a network, and after it as pictures."""
    is_name = zoo.is_network(value) or base_names.is_application(value) or hub.is_hub(value)
    if is_name and role == "network":
        return "name"
    if value.startswith("tfds:"):
        return "pictures"
    return path_kinds.find_kind(value) or ("name" if is_name else "")


def _right_line(name: str, value: str, kind: str, values: list[tuple[str, str]], out: str | None) -> str:
    """What to type instead."""
    found: dict[str, str] = {}  # what was given for each
    data = "folder" if "--data" in LINES[name] else "pictures"
    for role, text in reversed(values):
        kind_of_text = _find_kind(role, text)
        found |= {each: shlex.quote(text) for each in ("network", data, "features") if kind_of_text in FITTING[each]}
    if kind == "weights":
        return f"give the network by its name, and --weights {shlex.quote(value)}."
    if kind == "recipe":
        return f"give it as --recipe {shlex.quote(value)}."
    runs = path_kinds.find_runs(value if kind == "runs" else "runs", 1)
    slots = {"network": runs[0] if runs else "RUN", "features": "FEATURES.npz"} | found
    slots |= {"pictures": found.get(data, "FOLDER"), "value": shlex.quote(value), "out": shlex.quote(out or "OUT")}
    if (name, kind) in OTHERWISE and not (name == "similar" and "features" in found):
        return OTHERWISE[name, kind].format(**slots) + "."
    line = LINES[name] if "network" in found or kind == "runs" else re.sub(r"\[.*?\] ", "", LINES[name])
    return f"transferkit {name} {re.sub(r'[][]', '', line).format(**slots)}"


def _check_unfreeze(text: str):
    """Raise `UnknownName` for another word for a part of a network of ours."""
    for part in map(str.strip, text.lower().replace("_", "-").split(",")):
        meant = next((ours for ours, others in UNFREEZE.items() if part in others), "")
        if meant or part.isdecimal():
            nearest = f" Did you mean {meant!r}?" if meant else ""
            raise UnknownName(
                f"--unfreeze takes head, last-stage, last-2, all, or the name of a layer, not {part!r}.{nearest}"
            )
