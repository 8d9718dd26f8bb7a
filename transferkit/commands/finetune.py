"""transferkit finetune"""

import click

from transferkit.commands import training_command


@click.command(short_help="Train a network on your own pictures.")
@training_command.training_options
def command(**given):
    """Fit a new last layer on a frozen network's features, then train the network, and keep the best.

    \b
    Example: transferkit finetune --base resnet34 --data pets/
    pets/ holds a folder of pictures for each class, or train/, val/ and test/ folders that hold those.
    """
    training_command.train_and_report("finetune", given)
