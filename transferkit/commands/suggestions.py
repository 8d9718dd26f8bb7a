"""What a flag, a command or a value of another tool is called here: the answers to command lines that click refuses."""

import re
import shlex
from collections.abc import Iterator
from difflib import get_close_matches

import click

from transferkit import base_names, path_kinds, recipe_files, zoo
from transferkit.commands import help_pages
from transferkit.commands.arguments import find_command, parse_raw
from transferkit.commands.flag_names import COMMANDS, COUNTERPARTS, NO_COUNTERPART, SHORT, VALUES
from transferkit.lookup import join_or, quote, suggest_nearest

BASE, DATA = "--base", "--data"
ARGUMENTS = {  # the arguments of commands that stand for a flag of others
    "network": BASE,
    "networks": BASE,
    "sources": DATA,
    "data": DATA,
    "source": DATA,
    "queries": DATA,
}
MOST_NAMED = 3  # commands or flags in a sentence


def explain(error: click.ClickException, group: click.Group, words: list[str]) -> click.ClickException:
    """The error with what was meant, if that is known.

    Args:
        group: all commands.
        words: the command line.
    """
    message = _explain_usage(error, group, words) if isinstance(error, click.UsageError) else ""
    return click.UsageError(message, getattr(error, "ctx", None)) if message else error


def _explain_usage(error: click.UsageError, group: click.Group, words: list[str]) -> str:
    command, name, rest = find_command(group, words)
    if isinstance(error, click.NoSuchOption):
        return _explain_flag(group, command, name, _whole_word(error.option_name, rest), rest)
    if isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        return _explain_command(group, command, name, rest[0])
    if isinstance(error, click.BadParameter) and isinstance(getattr(error.param, "type", None), click.Choice):
        return error.format_message() + _suggest_choice(error.param, parse_raw(command, name, rest))
    if type(error) is click.UsageError and (extra := _extra_arguments(error, command, rest)):
        return _explain_extra(command, name, extra)
    return ""


def _whole_word(option: str, words: list[str]) -> str:
    """The flag as it was typed: of `-lr`, click names `-l`."""
    if option.startswith("--"):
        return option
    return next((word.partition("=")[0] for word in words if word.startswith(option)), option)


def _explain_flag(group: click.Group, command: click.Command, name: str, flag: str, words: list[str]) -> str:
    flags, bare = _flags(command), flag.strip("-").lower().replace("_", "-")
    start = f"{name or 'transferkit'} has no {flag}"
    if f"--{bare}" in flags:
        return f"{start}: it is --{bare} here."
    if bare == "format" and "--json" in flags and "json" in words:
        return f"{start}: --json prints JSON."
    meant = SHORT.get(flag, "") or COUNTERPARTS.get(bare, "") or (f"--{bare}" if f"--{bare}" in (BASE, DATA) else "")
    ours, _, rest = meant.partition(" ")
    if ours in flags:
        return f"{start}: it is {meant} here."
    if argument := next((each for each in command.params if ARGUMENTS.get(each.name or "") == ours), None):
        metavar = argument.make_metavar(click.Context(command, **help_pages.CONTEXT))
        return f"{start}: give {metavar} without a flag, as in `transferkit {name} {_usage(command)}`."
    if bare in NO_COUNTERPART:
        return f"{start}: {NO_COUNTERPART[bare]}."
    known = ours or f"--{bare}"
    owners = [other for other, each in _all_commands(group) if known in _flags(each)]
    if owners:
        it = "" if known == flag else f", which is {known} here"
        return f"{start}{it}: {_name_some(owners)} {'takes' if len(owners) == 1 else 'take'} {known}."
    near = get_close_matches(f"--{bare}", flags, 3) or [each for each in flags if bare in each.split("-")][:3]
    if near:
        return f"No such option {flag!r}. Did you mean {join_or(near)}?"
    return f"No such option {flag!r}: `transferkit {f'{name} ' if name else ''}--help` lists those there are."


def _usage(command: click.Command) -> str:
    """The arguments of a command, as its help shows them."""
    ctx = click.Context(command, **help_pages.CONTEXT)
    return " ".join(each.make_metavar(ctx) for each in command.params if isinstance(each, click.Argument))


def _flags(command: click.Command) -> list[str]:
    return [flag for each in command.params if isinstance(each, click.Option) for flag in each.opts]


def _all_commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _name_some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} others" if len(names) > MOST_NAMED else ""
    if more or len(names) == 1:
        return ", ".join(names[:MOST_NAMED]) + more
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _explain_command(group: click.Group, command: click.Group, name: str, word: str) -> str:
    bare = word.lower().replace("_", "-")
    start = f"No such command {quote(f'{name} {word}'.strip())}"
    if bare in command.commands:
        return f"{start}: it is `transferkit {f'{name} {bare}'.strip()}`."
    if bare in COMMANDS:
        return f"{start}: {COMMANDS[bare]}."
    if within := [other for other, _ in _all_commands(group) if other.split()[-1] == bare]:
        return f"{start}: it is `transferkit {within[0]}`."
    if not name and path_kinds.find_kind(word):
        return f"{start}: a command comes first, as transferkit finetune --data {shlex.quote(word)}."
    return (
        f"{start}.{suggest_nearest(command.commands, bare)} `transferkit {f'{name} ' * bool(name)}--help` lists them."
    )


def _suggest_choice(parameter, given: dict) -> str:
    """The nearest choice, or the one that is called otherwise elsewhere."""
    value = str(given.get(parameter.name, "")).lower()
    meant = VALUES.get((parameter.name, re.sub(r"[-_ ]", "", value)), "")
    return f" Did you mean {meant!r}?" if meant else suggest_nearest(parameter.type.choices, value)


def _extra_arguments(error: click.UsageError, command: click.Command, words: list[str]) -> list[str]:
    """The arguments that a command does not take."""
    if error.ctx is None or isinstance(command, click.Group):
        return []
    try:
        return command.make_parser(error.ctx).parse_args(list(words))[1]
    except click.UsageError:
        return []


def _explain_extra(command: click.Command, name: str, extra: list[str]) -> str:
    """Name the flags that arguments without one were meant for: `epochs=5`, `resnet34 pets/`."""
    flags, meant = _flags(command), []
    for word in extra:
        key, equals, value = word.partition("=")
        bare = key.lower().replace("_", "-")
        ours = f"--{bare}" if f"--{bare}" in flags else COUNTERPARTS.get(bare, "").partition(" ")[0]
        if equals and ours in flags:
            meant.append(f"{ours} {shlex.quote(value)}")
        elif flag := _flag_for(word):
            meant.append(f"{flag} {shlex.quote(word)}" if flag in flags else "")
        else:
            meant.append("")
    line = quote(" ".join(extra))
    if all(meant):
        return f"{name} takes flags, not {line}: transferkit {name} {' '.join(meant)}"
    if all(word.endswith(".json") for word in extra) and "--json" in flags:
        return f"--json prints on standard output: write it to a file with --json > {shlex.quote(extra[0])}."
    usage = _usage(command) or "flags"
    return f"{name} takes {usage}, and {line} is too much: `transferkit {name} --help` shows what each is."


def _flag_for(word: str) -> str:
    """The flag that takes such a value."""
    if zoo.is_network(word) or base_names.is_application(word):
        return BASE
    if word in recipe_files.list_recipes():
        return "--recipe"
    kinds = {"pictures": DATA, "list": DATA, "run": BASE, "model": BASE, "weights": "--weights", "recipe": "--recipe"}
    return DATA if word.startswith("tfds:") else kinds.get(path_kinds.find_kind(word), "")
