"""transferkit train"""

import os

import click

from transferkit import zoo
from transferkit.commands import training_command

SCRATCH = {"weights": "none", "start": "fresh"}


@click.command(short_help="Train a network from scratch, by a paper's recipe or by rules.")
@training_command.training_options
def command(**given):
    """Train a network from fresh weights: all of it, from the first step on.

    \b
    Example: transferkit train --recipe resnet_cifar --data tfds:cifar10
    docs/recipes.md lists the recipes; a flag goes before what the recipe says, and the rate follows --batch-size.
    Without one, rules choose: transferkit train --base lenet5 --data digits/
    """
    base = given["base"] or ""
    if os.path.exists(base) and not zoo.is_network(base) and not given["weights"]:
        raise click.UsageError(
            f"train begins with fresh weights, and {base} has weights of its own: transferkit finetune --base {base} "
            "trains it further."
        )
    alone = given["unfreeze"] == "head"
    training_command.train_and_report("train", given, SCRATCH | ({} if alone else {"head_epochs": 0}))
