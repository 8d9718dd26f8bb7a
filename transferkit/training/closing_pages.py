"""The page and the model card of a training that has just ended."""

from transferkit.console import warn
from transferkit.report import model_card, run_page
from transferkit.runs import Run
from transferkit.training.next_steps import suggest_next_steps


def write_pages(run: Run):
    """Write `report.html` and `MODEL_CARD.md` into a finished run; a full disk costs them, not the training."""
    try:
        run_page.write_run_page(run, advice=suggest_next_steps(run))
        model_card.write_model_card(run)
    except OSError as error:
        warn(f"{error} The run is complete without it: transferkit report {run.folder} writes it again.")
