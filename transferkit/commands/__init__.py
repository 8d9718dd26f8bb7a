"""The command line. A command is a module here with `command`; nothing else lists them, and the others are shared.

Modules here import click and `transferkit.recipe` at most; what loads TensorFlow is imported inside the commands.
"""

import importlib
import logging
import os
import pkgutil
import sys

import click

import transferkit
from transferkit import trust
from transferkit.commands import standard_streams
from transferkit.lookup import UnknownName


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(transferkit.__version__, prog_name="transferkit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; goes after a command too.")
@click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Import a Python module of yours, which registers your layers, before a Keras model is read: its code is run. "
    "Goes after a command too.",
)
def group(debug, modules):
    """Transfer learning for pictures on TensorFlow and Keras.

    \b
    transferkit demo                                    the whole tour, in about a minute
    transferkit finetune --base resnet34 --data pets/   train on your own pictures
    transferkit train --recipe resnet --data pets/      the same from scratch, as a paper did it
    transferkit predict runs/finetune-resnet34-pets-1 cat.jpg
    """


for _module in pkgutil.iter_modules(__path__):
    if _command := getattr(importlib.import_module(f"{__name__}.{_module.name}"), "command", None):
        group.add_command(_command, _module.name.replace("_", "-"))


def main(args: list[str] | None = None):
    """Run a command line and exit: 0 done, 1 could not, 2 wrong usage, 130 interrupted."""
    args = sys.argv[1:] if args is None else args
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, or it greets
    debug = "--debug" in args
    standard_streams.protect()
    if not debug:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # of repeated compilation, it warns
    try:
        args = _imported([_expanded(arg) for arg in args if arg != "--debug"])
        status = group.main(args, prog_name="transferkit", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status or 0)
    except click.ClickException as error:
        from transferkit.console import printable

        error.message = "\n".join(map(printable, error.message.split("\n")))
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        usage = isinstance(error, (UnknownName, FileNotFoundError, NotADirectoryError))
        from transferkit.console import printable

        click.echo(f"Error: {printable(sentence(error))}", err=True)
        sys.exit(2 if usage else 1)


def _expanded(arg: str) -> str:
    """A `~` that the shell left as it is, as in `--out=~/runs`."""
    flag, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    return f"{flag}{equals}{os.path.expanduser(value)}" if value.startswith("~") and not os.path.exists(value) else arg


def _imported(args: list[str]) -> list[str]:
    """Import the modules that `--import` names, here or installed; what is left of the arguments."""
    rest, words = [], iter(args)
    for word in words:
        option, equals, module = word.partition("=")
        if option != "--import":
            rest.append(word)
            continue
        module = module if equals else next(words, "")
        from transferkit.console import silenced

        with silenced():
            importlib.import_module("tensorflow")  # the module will: it prints lines that are not its own
        try:
            trust.import_module(module, os.getcwd())
        except Exception as error:  # whatever the user's code raises
            reason = str(error) or type(error).__name__
            raise UnknownName(
                f"--import {module} failed ({reason}): expected a Python module, here or installed."
            ) from error
    return rest


def sentence(error: Exception) -> str:
    """What a person reads of an error: our own sentences as they are, others with what they are."""
    from transferkit.atomic import disk_full_reason

    if isinstance(error, OSError) and error.errno is not None:
        where, advice = (f"{error.filename}: ", "; free some space there") if error.filename else ("", "")
        return f"{where}{error.strerror}{advice if disk_full_reason(error) else ''}."
    if isinstance(error, (ValueError, OSError, ModuleNotFoundError)) and str(error):
        return str(error)
    if words := disk_full_reason(error):  # TensorFlow's way of saying it is long, and of the type below
        return f"{words}: make room; a run goes on with --resume."
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "Out of memory: try a smaller --batch-size or --size, or fewer pictures."
    first = (str(error).strip() or "no more is known").splitlines()[0]
    return f"{type(error).__name__}: {first} (add --debug to see where)"
