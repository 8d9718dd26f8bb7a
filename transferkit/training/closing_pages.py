"""The page and the model card of a training that has just ended."""

from transferkit.atomic import write
from transferkit.console import warn
from transferkit.evaluation import mistakes
from transferkit.explain import drawing, explanations
from transferkit.network import Network
from transferkit.report import model_card, run_page
from transferkit.runs import GRADCAM, Run
from transferkit.training.next_steps import suggest_next_steps

MISSES = 12  # of the surest mistakes, whose Grad-CAM is drawn


def write_pages(run: Run, network: Network | None = None):
    """Write `gradcam.png`, `report.html` and `MODEL_CARD.md` into a finished run; a full disk costs them alone.

    Args:
        network: that the run saved; None if it has none.
    """
    try:
        _draw_gradcam(run, network)
        run_page.write_run_page(run, advice=suggest_next_steps(run))
        model_card.write_model_card(run)
    except OSError as error:
        warn(f"{error} The run is complete without it: transferkit report {run.folder} writes it again.")


def _draw_gradcam(run: Run, network: Network | None):
    """Write the Grad-CAM of the surest mistakes, if there are any, and the network has maps."""
    (run.folder / GRADCAM).unlink(missing_ok=True)  # of the training before it was resumed
    rows = explanations.find_surest(run, misses=MISSES)
    if not rows or network is None:
        return
    try:
        found = explanations.explain_surest(network, rows)
    except ValueError:  # a network without maps, as an MLP; Keras on another backend; pictures that are gone
        return
    sheet = drawing.draw_overlays(found)
    write(run.folder / GRADCAM, lambda path: mistakes.save_sheet(sheet, path))
