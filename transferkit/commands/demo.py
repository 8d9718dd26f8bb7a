"""transferkit demo"""

import shlex
from pathlib import Path

import click

from transferkit.commands import options, plan_output, prediction_output, result_output

# no flips, as digits have a left and a right; no averaging of weights and no refit, to save time
KNOBS = {"augment": "crop(0.7)", "epochs": 2, "lr": 0.0006, "keep": "last", "refit": "off"}


@click.command(short_help="Try everything on real pictures, in about a minute.")
@click.option(
    "--out",
    default="demo",
    type=click.Path(file_okay=False),
    help="Folder for the pictures and the run.  [default: demo]",
)
@options.json_option
def command(out, as_json):
    """Fine-tune a network with ImageNet weights on handwritten digits, evaluate it, and classify some.

    \b
    Example: transferkit demo

    It needs the extra `pretrained`, but no internet connection.
    """
    from transferkit import run_folder
    from transferkit.console import console, say
    from transferkit.data.example_digits import write_digits
    from transferkit.recipe import Recipe
    from transferkit.training.planning import planner

    digits = Path(out) / "digits"
    say(f"1. scikit-learn's handwritten digits, as PNG files in class folders: {digits}")
    write_digits(digits)
    flags = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in KNOBS.items())
    say("")
    say(f"2. transferkit finetune --base efficientnet_lite0 --data {digits} {flags}")
    plan = planner.make_plan(Recipe().override(base="efficientnet_lite0", data=str(digits), **KNOBS))
    plan_output.print_plan(plan, console)
    from transferkit.training import run_job

    run = run_job.train_plan(plan, run_folder.make_run_folder(None, overwrite=False, name=str(Path(out) / "run")))
    pictures = sorted(str(path) for path in digits.glob("test/*/*.png"))[::40]
    say("")
    say(f"3. transferkit predict {run.folder} ...")
    predictions = run.predict(pictures, top=3)
    if as_json:
        figures = {name: run.metrics[name] for name in ("accuracy", "ci95", "n", "split", "seconds")}
        result_output.print_json({"run": str(run.folder), "predictions": predictions} | figures)
        return
    prediction_output.print_table(predictions)
    result_output.print_run(run)
    for name in sorted(path.name for path in run.folder.iterdir()):
        result_output.print_line(f"  {run.folder / name}")
    result_output.print_line("Next: transferkit finetune --base efficientnet_lite0 --data YOUR-FOLDER")
