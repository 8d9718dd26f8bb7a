"""transferkit train"""

import os

import click

from transferkit import zoo
from transferkit.commands import help_pages, training_command

SCRATCH = {"weights": "none", "start": "fresh"}


@click.command(cls=help_pages.Command, short_help="Train a network from scratch, with a paper's recipe or by rules.")
@training_command.training_options
def command(**given):
    """Train all of a network from fresh weights.

    \b
    Example: transferkit train --recipe resnet_cifar --data tfds:cifar10

    docs/recipes.md lists the recipes. Options override the recipe; the learning rate follows --batch-size.
    Without a recipe, rules choose the knobs: transferkit train --base lenet5 --data digits/
    """
    base = given["base"] or ""
    if os.path.exists(base) and not zoo.is_network(base) and not given["weights"]:
        raise click.UsageError(
            f"train begins with fresh weights, but {base} contains trained ones: use "
            f"transferkit finetune --base {base}."
        )
    trains_head_only = given["unfreeze"] == "head"
    training_command.train_and_report("train", given, SCRATCH | ({} if trains_head_only else {"head_epochs": 0}))
