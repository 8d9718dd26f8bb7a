"""transferkit push"""

import click

from transferkit.commands import completion, options, result_output


@click.command(short_help="Upload a run to the Hugging Face Hub.")
@click.argument("run", shell_complete=completion.complete_run)
@click.argument("name", metavar="hf://USER/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--card", metavar="FILE", help="Your own model card.  [default: one written from the run]")
@click.option("--export", "exports", metavar="PATH", multiple=True, help="Also a file that `transferkit export` wrote.")
@click.option("--with-report", is_flag=True, help="Also report.html, which shows pictures and names them.")
@click.option("--overwrite", is_flag=True, help="Write to a repository that holds something else.")
@options.json_option
def command(run, name, private, card, exports, with_report, overwrite, as_json):
    """Upload RUN to the Hugging Face Hub: network, model card, figures and labels.

    \b
    Example: transferkit push runs/pets hf://ada/pets --private
    Example: transferkit predict hf://ada/pets cat.jpg

    The pictures, their names and their folders stay here. The repository is made if there is none; it needs a token
    that may write (HF_TOKEN, or `hf auth login`). All is uploaded in one commit; earlier uploads can still be loaded as
    hf://USER/NAME@COMMIT. Plain Keras loads it with keras.saving.load_model("hf://USER/NAME").
    """
    from transferkit import hub
    from transferkit.console import say

    hub.check(name)
    from transferkit.exchange.push import push

    say(f"Uploading {run} to {name} ...")
    found = push(run, name, private=private, card=card, exports=exports, with_report=with_report, overwrite=overwrite)
    if as_json:
        return result_output.print_json(found.to_dict())
    result_output.print_line(f"{found.url} has {', '.join(found.files)}")
    result_output.print_line(f"next: transferkit predict {name} PICTURE")
    result_output.print_line(f"exactly this upload: {name}@{found.commit}")
