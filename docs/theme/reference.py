"""The reference pages, written from the code: commands, knobs, networks with their cut points, and Python."""

import functools
import html
import inspect
import re

import click

import transferkit as tk
from transferkit import recipe, rules, zoo
from transferkit.commands import group, help_pages
from transferkit.weights.model_list import list_models

API = {  # the heading of public names, by their package
    "training": "Train",
    "runs": "Runs and comparisons",
    "run_comparison": "Runs and comparisons",
    "data": "Pictures",
    "features": "Features",
    "models": "Networks",
    "weights": "Networks",
    "explain": "Explain",
    "exchange": "Export and share",
    "recipe": "Knobs and errors",
    "lookup": "Knobs and errors",
}


@functools.cache
def pages() -> dict[str, str]:
    """{path of a page: its Markdown}."""
    commands = {f"reference/commands/{name}.md": command_page(name) for name in command_names()}
    tables = {
        "commands": commands_page(),
        "knobs": knobs_page(),
        "cut-points": networks_page(),
        "python": python_page(),
    }
    return commands | {f"reference/{name}.md": text for name, text in tables.items()}


def command_names() -> list[str]:
    """All commands, in alphabetical order."""
    return sorted(group.commands)


def table(heads: tuple[str, ...], rows) -> str:
    """A table of Markdown, without rows nothing."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines, ""]) if lines else ""


def code(text: str) -> str:
    """Code in a cell of a table, where `|` would end the cell."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def prose(text: str) -> str:
    """Words in a cell of a table; code in them is marked already."""
    return html.escape(text, quote=False).replace("|", "\\|")


def commands_page() -> str:
    """All commands with what they do."""
    rows = (
        (f"[`{name}`](commands/{name}.md)", prose(group.commands[name].get_short_help_str(200)))
        for name in command_names()
    )
    shared = [param for param in group.params if isinstance(param, click.Option)]
    words = ((code(", ".join(param.opts)), prose(param.help)) for param in shared)
    return f"""# Commands

{table(("command", "what it does"), rows)}
`transferkit COMMAND --help` shows the options that matter, `--help-all` all of them. The exit status is 0 if all went
well, 2 for a wrong command line, 1 for any other error, and 130 after Ctrl-C.

{table(("option of all commands", "what it does"), words)}"""


def command_page(name: str) -> str:
    """The help of a command, and of the commands in it."""
    command = group.commands[name]
    parts = [f"# {name}\n", describe(command, f"transferkit {name}")]
    for sub, each in sorted(getattr(command, "commands", {}).items()):
        parts += [f"## {name} {sub}\n", describe(each, f"transferkit {name} {sub}")]
    return "\n".join(parts)


def describe(command: click.Command, line: str) -> str:
    """What a command does, its example, and tables of its options."""
    context = click.Context(command, info_name=line, **help_pages.CONTEXT)
    blocks = [_paragraph(text) for text in inspect.cleandoc(command.help or "").split("\n\n")]
    usage = f"{line} {' '.join(command.collect_usage_pieces(context))}"
    parts = [blocks[0], f"```text\n{usage}\n```", *blocks[1:]]
    rows: dict[str, list] = {heading: [] for heading in help_pages.GROUPS.values()}
    for param in command.get_params(context):
        record = isinstance(param, click.Option) and param.get_help_record(context)
        if record and param.name not in ("help", "help_all"):
            rows[help_pages.GROUPS[getattr(param, "group", "output")]].append((code(record[0]), prose(record[1])))
    parts += [table((heading, "what it does"), cells) for heading, cells in rows.items() if cells]
    return "\n\n".join(parts) + "\n"


def _paragraph(text: str) -> str:
    """A paragraph of a command's help; lines after `\\b` keep their breaks."""
    if not text.startswith("\b"):
        return prose(" ".join(text.split()))
    lines = [re.sub(r"^\s*(Example: +)?", "", line) for line in text.split("\n")[1:]]
    return "\n".join(["```bash", *lines, "```"])


def knobs_page() -> str:
    """A table for each section of the recipe."""
    parts = [
        "# Knobs\n",
        "A knob is a setting of a training. It is an option of `transferkit finetune` and `train` (`--head-epochs`), "
        "an argument in Python (`head_epochs=`) and a key of a recipe file, in the section of its table below. Where "
        "the default is *rule*, the value is chosen from pictures and machine, as [rules.md](../rules.md) tells; "
        "`--dry-run` prints each choice with its reason.\n",
    ]
    for section, heading in list(help_pages.GROUPS.items())[:-1]:
        rows = [
            (
                code(knob.name),
                _values(knob),
                "rule" if knob.name in rules.RULES else code(str(knob.default)),
                prose(knob.metadata["help"]),
            )
            for knob in recipe.list_knobs(section)
        ]
        parts += [f"## {heading}: `[{section}]`\n", table(("knob", "values", "default", "effect"), rows)]
    return "\n".join(parts)


def _values(knob) -> str:
    facts = knob.metadata
    if facts["choices"]:
        return ", ".join(map(code, facts["choices"]))
    kind = {int: "whole number", float: "number", str: "text", bool: "true, false"}.get(recipe.value_type(knob), "text")
    low, high = (None if facts[end] is None else f"{facts[end]:g}" for end in ("low", "high"))
    limits = " to ".join(filter(None, (low, high))) if high else f"from {low}" if low else ""
    return f"{kind}, {limits}" if limits else kind


def networks_page() -> str:
    """The costs, weights and cut points of each network."""
    text = [
        "# Networks and their cut points\n",
        "`--layer` of `transferkit extract` and `layer=` of `tk.FeatureExtractor` take a cut point, or any other layer "
        "that `transferkit inspect NETWORK` lists; so do `--cut` and `--unfreeze`. Sizes are those of a picture of the "
        "network's own size. [networks.md](../networks.md) describes the families, their variants and errors.\n",
    ]
    for network in list_models():
        text += [f"## {network['name']}\n", _facts(network), "", cut_table(network["name"])]
        rows = (
            (code(each["tag"]), "" if each["top1"] is None else f"{each['top1']:g}%", each["source"], each["licence"])
            for each in network["weights"]
        )
        text += [table(("weights", "top-1 accuracy", "source", "licence"), rows)]
    return "\n".join(text)


def _facts(network: dict) -> str:
    classes = zoo.variant(network["name"]).classes
    costs = f"{network['params']:,} parameters, {network['multiply_adds'] / 1e6:,.1f} million multiply-adds"
    return f"{costs}, {network['size']} pixels, {network['features']} features, {classes} classes."


def cut_table(name: str) -> str:
    """The cut points of a network with their sizes."""
    layers = tk.inspect(name).to_dict(cuts_only=True)["layers"]
    rows = (
        (
            code(each["name"]),
            " x ".join(map(str, each["output"])),
            f"{each['stride'] or ''}",
            f"{each['receptive_field'] or ''}",
        )
        for each in layers
    )
    return table(("cut point", "output", "stride", "receptive field"), rows)


def python_page() -> str:
    """The public names, under headings, for mkdocstrings."""
    headings: dict[str, list[str]] = {heading: [] for heading in API.values()}
    for name in tk.__all__:
        headings[API[tk._HOMES[name].split(".")[1]]].append(name)
    parts = ["# Python", "`import transferkit as tk` gives these names. [python.md](../python.md) is an introduction."]
    for heading, names in headings.items():
        parts += [f"## {heading}", *(f"::: {tk._HOMES[name]}.{name}" for name in names)]
    return "\n\n".join(parts) + "\n"
