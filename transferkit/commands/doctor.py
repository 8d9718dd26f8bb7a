"""transferkit doctor"""

import click

from transferkit.commands import options, result_output


@click.command(short_help="Check the installation, with a short training.")
@options.json_option
@options.with_tensorflow
def command(as_json):
    """Show versions, devices and the cache folder, and train a small network for about ten seconds.

    \b
    Example: transferkit doctor
    """
    from transferkit.training import doctor

    facts = doctor.describe_installation()
    if not as_json:
        for name, value in facts.items():
            result_output.print_line(f"{name:14} {value}")
    facts["training"] = doctor.run_short_training()
    if as_json:
        result_output.print_json(facts)
    else:
        result_output.print_line(f"{'training':14} {facts['training']}")
