"""transferkit doctor"""

import click

from transferkit.commands import options


@click.command(short_help="Check the installation, with a short training.")
@options.as_json
@options.with_tensorflow
def command(as_json):
    """Show versions, devices and the cache folder, and train a small network for some ten seconds.

    \b
    Example: transferkit doctor
    """
    from transferkit.training import doctor

    facts = doctor.facts()
    if not as_json:
        for name, value in facts.items():
            options.tell(f"{name:14} {value}")
    facts["training"] = doctor.short_training()
    if as_json:
        options.print_json(facts)
    else:
        options.tell(f"{'training':14} {facts['training']}")
