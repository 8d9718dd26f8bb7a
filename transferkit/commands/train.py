"""transferkit train"""

import click

from transferkit.commands import job

SCRATCH = {"weights": "none", "start": "fresh"}


@click.command(short_help="Train a network from scratch, by a paper's recipe or by rules.")
@job.options
def command(**given):
    """Train a network from fresh weights: all of it, from the first step on.

    \b
    Example: transferkit train --recipe resnet_cifar --data tfds:cifar10
    docs/recipes.md lists the recipes; a flag goes before what the recipe says, and the rate follows --batch-size.
    Without one, rules choose: transferkit train --base lenet5 --data digits/
    """
    alone = given["unfreeze"] == "head"
    job.carry_out("train", given, SCRATCH | ({} if alone else {"head_epochs": 0}))
