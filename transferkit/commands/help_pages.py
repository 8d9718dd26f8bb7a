"""Help of commands with many options: in groups, the basic options with `--help`, all with `--help-all`."""

from typing import Any

import click

# headings, by section of the recipe; options that are not knobs are in one of them too
GROUPS = {"data": "Pictures", "model": "Network", "train": "Training", "augment": "Augmentation", "output": "Output"}


class Option(click.Option):
    """An option with a place in the help.

    Args:
        group: the key of a heading in `GROUPS`.
        basic: whether `--help` shows it.
    """

    def __init__(self, *names, group: str = "output", basic: bool = True, **facts):
        super().__init__(*names, **facts)
        self.group, self.basic = group, basic


class Command(click.Command):
    """A command whose help has groups; options of another class are basic ones of the group Output."""

    def __init__(self, *args, **facts):
        super().__init__(*args, **facts)
        self.params.append(
            Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_all,
                help="Show all options and exit.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter):
        """Write the options under their headings, with all descriptions in one column."""
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in GROUPS.values()}
        for param in self.get_params(ctx):
            row = isinstance(param, click.Option) and param.get_help_record(ctx)
            if row and (getattr(param, "basic", True) or _ALL in ctx.meta):
                rows[GROUPS[getattr(param, "group", "output")]].append(row)
        names = [name for group in rows.values() for name, _ in group]
        width = max(len(name) for name in names if len(name) <= COLUMN)
        for heading, group in rows.items():
            if group:
                with formatter.section(heading):
                    formatter.write_dl([(name.ljust(width), text) for name, text in group], col_max=width)


# of every context, as click keeps the help option that it makes for the first one
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
COLUMN = 28  # of options with a longer name the description begins on the next line
_ALL = f"{__name__}.all"


def _print_all(ctx: click.Context, param, value: bool):
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()
