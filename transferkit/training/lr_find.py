"""The learning rate found by trying: it rises from step to step, and the loss says where it helps and where it harms.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

from transferkit import rules
from transferkit.console import track
from transferkit.lookup import UnknownName
from transferkit.training import run_job
from transferkit.training.distributed import replicas
from transferkit.training.fitting import checkpoints, fit_phase
from transferkit.training.planning.phases import phases
from transferkit.training.planning.planner import Plan

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTH = 0.9  # of the mean of the losses before, in a smoothed one
SETTLED = 10  # steps, after which a smoothed loss is of as many as 1 / (1 - SMOOTH)
HOPELESS, LEAST = 4, 0.1  # times the least loss, or times this where that is less
FLAT = 1.5  # deviations: of a hundred curves of nothing but noise, one falls by more


@dataclass(frozen=True)
class Found:
    """What a search saw.

    Attributes:
        rates: of the steps that were made.
        losses: the smoothed loss at each.
        steepest: the rate at which the loss fell fastest.
        minimum: the rate of the least loss; None where the loss fell as long as it was a number, or never.
        suggestion: a tenth of the minimum; without one, the steepest; what the rule takes, where the curve is flat.
        drop: from the first settled loss to the least one, in nats.
        noise: standard deviation of the losses of single steps around the smoothed ones, up to the least one.
        knob: what the suggestion is for: lr, or head_lr where the head alone learns.
        rule: the rate that the rule takes for this job, and `reason`, why. They are None and empty before `find`.

    All but the first two look at settled steps alone; steepest is None where the loss never fell.
    """

    rates: list[float]
    losses: list[float]
    steepest: float | None
    minimum: float | None
    suggestion: float | None
    drop: float = 0.0
    noise: float = 0.0
    knob: str = "lr"
    rule: float | None = None
    reason: str = ""

    @property
    def flat(self) -> bool:
        """Whether the loss falls too little, for its noise, to tell anything of the rates."""
        return self.drop <= FLAT * self.noise

    @property
    def factor(self) -> float | None:
        """The suggestion as a multiple of the rule's rate."""
        return self.suggestion / self.rule if self.suggestion and self.rule else None


def find(job: Plan) -> Found:
    """Search the highest rate of a job's released phase.

    What comes before that phase is trained first, as the job has it: the head's start and its own phase. Of several
    released phases it is the first. Nothing is left on the disk, and the phase is then as it was before the search.

    Raises:
        UnknownName: the job has several workers.
        ValueError: no step gave a finite loss; or as `fitting.fit`.
    """
    if job.device.shard[1] > 1:
        raise UnknownName("A rate is searched by one process, not by several workers: leave out workers.")
    lost = dict(job.unreadable)
    with TemporaryDirectory(prefix="transferkit-") as place:
        folder = Path(place)
        (folder / "checkpoints").mkdir()
        run_job.begin(job, folder, lost)
        ways = phases(job.recipe)
        before = ways[:1] if ways[0].name == "head" and len(ways) > 1 else []
        for phase in before:
            run_job.go_through(job, folder, phase, lost)
        knob = "head_lr" if ways[len(before)].name == "head" else "lr"
        phase = dataclasses.replace(ways[len(before)], lr=1.0)
        job = dataclasses.replace(job, recipe=job.recipe.override(schedule="constant", warmup=0.0))
        with fit_phase.prepared(job, folder, phase, lost) as material:

            def attempt(state):
                model = fit_phase.compiled(job, state, phase, material)
                batches, _ = material.batches(fit_phase.ordered(job, state, material, STEPS))
                with replicas.scope(job.device):
                    # arrays, as JAX takes no tensors of TensorFlow; each device looks at the whole of a batch
                    return sweep(model, batches.as_numpy_iterator(), parts=state.parts)

            found = suggested(*fit_phase.in_parts(job, folder, attempt))
    rule = rules.rate(job.recipe, knob)
    suggestion = rule.value if found.flat else found.suggestion
    return dataclasses.replace(found, suggestion=suggestion, knob=knob, rule=rule.value, reason=rule.reason)


def sweep(model: keras.Model, batches: Iterable, *, parts: int = 1) -> tuple[list[float], list[float]]:
    """Train with a rate that rises evenly in its logarithm, until the loss is `HOPELESS` times its least, or `LEAST`.

    Afterwards weights, optimizer, metrics, the seeds of dropout and the random numbers of Python and NumPy are what
    they were, to the last bit.

    Args:
        model: compiled with an optimizer of `optimizers.make`, whose schedule does not come to 0 meanwhile.
        batches: (values, labels), `STEPS` times `parts` of them or more.
        parts: in which a batch comes, whose gradients are added up.

    Returns:
        The rates, and the smoothed losses, of the steps with a finite loss.
    """
    rates, losses, mean = np.geomspace(LOWEST, HIGHEST, STEPS).tolist(), [], 0.0
    with checkpoints.unchanged(model):
        batches, optimizer = iter(batches), model.optimizer
        for step in track(range(STEPS), STEPS, "rates"):
            # whatever the schedule says at this step
            optimizer.factor.assign(rates[step] / float(optimizer.learning_rate))
            model.reset_metrics()  # of which the loss is the mean
            for _ in range(parts):
                loss = float(model.train_on_batch(*next(batches), return_dict=True)["loss"])
            if not math.isfinite(loss):
                break
            mean = SMOOTH * mean + (1 - SMOOTH) * loss
            losses.append(mean / (1 - SMOOTH ** (step + 1)))
            if losses[-1] > HOPELESS * max(min(losses), LEAST):
                break
    return rates[: len(losses)], losses


def suggested(rates: list[float], losses: list[float]) -> Found:
    """What the losses say of the rates. Where they are flat, nothing is suggested.

    Raises:
        ValueError: there are none.
    """
    if not losses:
        raise ValueError(f"The loss is no number even at a rate of {LOWEST:g}: look at pictures and weights.")
    settled = losses[SETTLED:]
    best = SETTLED + int(np.argmin(settled)) if settled else 0
    if best <= SETTLED:
        return Found(rates, losses, None, None, None)
    # those behind the least one are far from the smoothed ones because the loss rises, not by chance
    noise = float(np.std(_single(losses)[: best + 1] - losses[: best + 1]))
    facts = {"drop": losses[SETTLED] - losses[best], "noise": noise}
    slopes = np.gradient(losses, np.log(rates))
    steepest = rates[SETTLED + int(np.argmin(slopes[SETTLED:best]))]
    minimum = rates[best] if best < len(losses) - 1 else None
    found = Found(rates, losses, steepest, minimum, minimum / 10 if minimum else steepest, **facts)
    return dataclasses.replace(found, suggestion=None) if found.flat else found


def _single(losses: list[float]) -> np.ndarray:
    """The losses of single steps, of which `sweep` made the smoothed ones."""
    means = np.array(losses) * (1 - SMOOTH ** np.arange(1, len(losses) + 1))
    return np.diff(means, prepend=0.0) / (1 - SMOOTH) + np.append(0.0, means[:-1])
