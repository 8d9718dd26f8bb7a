"""transferkit finetune"""

import click

from transferkit.commands import job


@click.command(short_help="Train a network on your own pictures.")
@job.options
def command(**given):
    """Train a new last layer on a frozen network, then the whole network at a lower rate.

    \b
    Example: transferkit finetune --base resnet34 --data pets/
    pets/ holds a folder of pictures for each class, or train/, val/ and test/ folders that hold those.
    """
    job.carry_out("finetune", given)
