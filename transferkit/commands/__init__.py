"""The command line. Each module with a `command` is a command; they are found by name and listed nowhere.

Modules import only what is light, so that `--help` is fast; what loads TensorFlow is imported inside the commands.
"""

import importlib
import logging
import os
import pkgutil
import sys

import click

import transferkit
from transferkit import trust
from transferkit.commands import arguments, result_output, standard_streams
from transferkit.lookup import UnknownName, first_line

FIRST_STEPS = """\
transferkit demo                       try everything, in about a minute
transferkit check pets/                find what is wrong with your pictures
transferkit finetune --data pets/      train on them
transferkit predict runs/RUN cat.jpg   classify others"""


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=f"Transfer learning for pictures on TensorFlow and Keras.\n\n\b\n{FIRST_STEPS}",
)
@click.version_option(transferkit.__version__, prog_name="transferkit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may follow a command.")
@click.option("--verbose", is_flag=True, help="Print details, as how weights were read; may follow a command.")
@click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Import a Python module that registers your own layers, before a Keras model is read. Its code is run. "
    "May follow a command.",
)
@click.pass_context
def group(context, debug, verbose, modules):
    """Without a command, say what to do first."""
    if context.invoked_subcommand is None:
        click.echo(f"{FIRST_STEPS}\n\ntransferkit --help lists all commands; transferkit doctor checks that they work.")


for _module in pkgutil.iter_modules(__path__):
    if _command := getattr(importlib.import_module(f"{__name__}.{_module.name}"), "command", None):
        group.add_command(_command, _module.name.replace("_", "-"))


def main(args: list[str] | None = None):
    """Run a command line and exit with status 0 (done), 1 (error), 2 (wrong usage) or 130 (interrupted)."""
    args = sys.argv[1:] if args is None else args
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, which prints lines otherwise
    debug, result_output.is_verbose = "--debug" in args, "--verbose" in args
    standard_streams.protect_streams()
    if not debug:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of repeated compilation
    try:
        args = _import_modules([_expand_home(arg) for arg in args if arg not in ("--debug", "--verbose")])
        arguments.check(group, args)
        status = group.main(args, prog_name="transferkit", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status or 0)
    except click.ClickException as error:
        from transferkit.commands import suggestions

        shown = suggestions.explain(error, group, args)
        shown.message = "\n".join(map(_fit_error, shown.message.split("\n")))  # type: ignore[misc]  # click calls it final
        shown.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        is_usage = isinstance(error, (UnknownName, FileNotFoundError, NotADirectoryError))
        click.echo(f"Error: {_fit_error(error_message(error))}", err=True)
        sys.exit(2 if is_usage else 1)


def _fit_error(message: str) -> str:
    """A message to follow "Error: ", printable and broken between words in a terminal."""
    from transferkit.console import console, printable
    from transferkit.text_layout import wrap

    return wrap(f"Error: {printable(message)}", console.width).removeprefix("Error: ")


def _expand_home(arg: str) -> str:
    """Replace a `~` that the shell does not, as in `--out=~/runs`."""
    option, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    return (
        f"{option}{equals}{os.path.expanduser(value)}" if value.startswith("~") and not os.path.exists(value) else arg
    )


def _import_modules(args: list[str]) -> list[str]:
    """Import the modules that `--import` names; return the other arguments."""
    others, remaining = [], iter(args)
    for arg in remaining:
        option, equals, module = arg.partition("=")
        if option != "--import":
            others.append(arg)
            continue
        module = module if equals else next(remaining, "")
        from transferkit.data import lazy_tensorflow

        lazy_tensorflow.load()  # the module will import it, and TensorFlow prints lines
        try:
            trust.import_module(module, os.getcwd())
        except Exception as error:  # whatever the user's code raises
            reason = str(error) or type(error).__name__
            raise UnknownName(
                f"--import {module} failed ({reason}): expected a Python module in this folder or installed."
            ) from error
    return others


def error_message(error: Exception) -> str:
    """The message of an error for the terminal: our own messages unchanged, others with their type."""
    from transferkit.atomic import disk_full_reason

    if isinstance(error, OSError) and error.errno is not None:
        where, advice = (f"{error.filename}: ", "; free some space there") if error.filename else ("", "")
        return f"{where}{error.strerror}{advice if disk_full_reason(error) else ''}."
    if isinstance(error, (ValueError, OSError, ModuleNotFoundError)) and str(error):
        return str(error)
    if message := disk_full_reason(error):  # TensorFlow's message is long, and its type is the one below
        return f"{message}: free some space; --resume continues a run."
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "Out of memory: try a smaller --batch-size or --size, or fewer pictures."
    return f"{type(error).__name__}: {first_line(error, 'no message')} (add --debug to see where)"
