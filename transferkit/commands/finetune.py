"""transferkit finetune"""

import click

from transferkit.commands import help_pages, training_command


@click.command(cls=help_pages.Command, short_help="Train a network on your own pictures.")
@training_command.training_options
def command(**given):
    """Fine-tune a network on your own pictures.

    \b
    Example: transferkit finetune --base resnet34 --data pets/

    pets/ has a folder of pictures for each class, or train/, val/ and test/ folders that have those.
    A new last layer is fitted to the features of the frozen network, then the whole network is trained.
    """
    training_command.train_and_report("finetune", given)
