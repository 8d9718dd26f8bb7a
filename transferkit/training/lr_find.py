"""Learning-rate range test: the rate rises from step to step, and the losses show where it helps and where it harms.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

import keras
import numpy as np

from transferkit import rules
from transferkit.console import track
from transferkit.knobs import Knobs
from transferkit.lookup import UnknownName, count_noun
from transferkit.training import phase_loop
from transferkit.training.distributed import replicas
from transferkit.training.fitting import checkpoints, fit_phase
from transferkit.training.job_records import Plan, TrainingJob
from transferkit.training.planning.planner import plan_pictures

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.9  # weight of the mean so far in the moving average of the losses
SETTLED = 10  # steps after which the moving average covers as many as 1 / (1 - SMOOTHING)
DIVERGED, LEAST = 4, 0.1  # stop at DIVERGED times the lowest loss, or times LEAST if that is higher
FLAT = 1.5  # standard deviations: of a hundred curves of nothing but noise, one falls by more


@dataclass(frozen=True, repr=False)
class RateSearch:
    """Result of a search. All but the first two fields only consider steps from `SETTLED` on.

    Attributes:
        rates: of the steps that were made.
        losses: the smoothed loss at each.
        steepest: the rate at which the loss fell fastest; None where it never fell.
        minimum: the rate of the lowest loss; None where the loss fell to the end, or never.
        suggestion: a tenth of the minimum; without one, the steepest; the rule's rate where the curve is flat.
        drop: from the first settled loss to the lowest one, in nats.
        noise: standard deviation of the losses of single steps around the smoothed ones, up to the lowest one.
        knob: "lr", or "head_lr" where only the head is trained.
        rule: the rate that the rule chooses for this training; None before `find_rate`.
        reason: why the rule chooses it.
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

    def __repr__(self):
        found, rule = (f"{rate:.2g}" if rate else "none" for rate in (self.suggestion, self.rule))
        return f"<RateSearch: {self.knob} {found}, rule {rule}, {count_noun(len(self.rates), 'step')}>"

    @property
    def is_flat(self) -> bool:
        """Whether the loss falls too little, compared with its noise, to tell rates apart."""
        return self.drop <= FLAT * self.noise

    @property
    def factor(self) -> float | None:
        """The suggestion as a multiple of the rule's rate."""
        return self.suggestion / self.rule if self.suggestion and self.rule else None


def lr_find(base: str, train, val=None, **knobs: Unpack[Knobs]) -> RateSearch:
    """Search the highest learning rate for fine-tuning a network on pictures, by a range test of a hundred steps.

    Args:
        base: as in `finetune`.
        train, val: pictures, as in `finetune`.
        **knobs: fields of the recipe, as in `finetune`, except `time`, `folds` and `workers`.

    Returns:
        The search: `suggestion` is the rate, `rule` the one that a rule would choose.

    Raises:
        UnknownName, ValueError: as `finetune`; or no step has a finite loss.

    Example:
        >>> tk.lr_find("resnet34", "pets/").suggestion  # doctest: +SKIP
        0.00052
    """
    for name in ("time", "folds", "workers"):
        if knobs.get(name):
            raise UnknownName(f"{name} is of no use in lr_find, which trains a hundred steps: omit it.")
    return find_rate(plan_pictures(base, train, val, None, knobs))


def find_rate(plan: Plan) -> RateSearch:
    """Search the highest learning rate of the first phase after the head's own.

    The head is initialised and its own phase is trained first, as the plan says. Nothing is left on the disk.

    Raises:
        UnknownName: the plan has several workers.
        ValueError: no step has a finite loss; or as `fit_phase.fit`.
    """
    if plan.device.shard[1] > 1:
        raise UnknownName("The learning rate is searched by one process, not by several workers: omit --workers.")
    with TemporaryDirectory(prefix="transferkit-") as folder:
        job = TrainingJob(plan, Path(folder), dict(plan.unreadable))
        (job.folder / "checkpoints").mkdir()
        phase_loop.initialise(job)
        phase, *others = plan.phases
        if phase.name == "head" and others:
            phase_loop.train_phase(job, phase)
            phase = others[0]
        knob = "head_lr" if phase.name == "head" else "lr"
        constant = plan.recipe.override(schedule="constant", warmup=0.0)
        job = dataclasses.replace(job, plan=dataclasses.replace(plan, recipe=constant))
        phase = dataclasses.replace(phase, lr=1.0)
        with fit_phase.prepare_phase(job, phase) as data:

            def attempt(state):
                model = fit_phase.compile_phase(job.plan, state, phase, data)
                batches, _ = data.make_batches(fit_phase.make_order(job.plan, state, data, STEPS))
                with replicas.strategy_scope(plan.device):
                    # arrays, as JAX takes no tensors of TensorFlow; each device gets the whole of a batch
                    return sweep(model, batches.as_numpy_iterator(), parts=state.parts)

            search = suggest_rate(*fit_phase.run_within_memory(job, attempt))
    rule = rules.choose_rate(plan.recipe, knob)
    suggestion = rule.value if search.is_flat else search.suggestion
    return dataclasses.replace(search, suggestion=suggestion, knob=knob, rule=rule.value, reason=rule.reason)


def sweep(model: keras.Model, batches: Iterable, *, parts: int = 1) -> tuple[list[float], list[float]]:
    """Train at a rate that rises geometrically, until the loss is `DIVERGED` times its lowest value.

    Afterwards weights, optimizer, metrics, the seeds of dropout and the random states of Python and NumPy are restored
    exactly.

    Args:
        model: compiled with an optimizer of `optimizers.make_optimizer`, whose schedule does not reach 0 meanwhile.
        batches: (values, labels), at least `STEPS` times `parts` of them.
        parts: number of parts of a batch whose gradients are accumulated.

    Returns:
        The rates and the smoothed losses of the steps with a finite loss.
    """
    rates, losses, mean = np.geomspace(LOWEST, HIGHEST, STEPS).tolist(), [], 0.0
    with checkpoints.undo_training(model):
        batches, optimizer = iter(batches), model.optimizer
        for step in track(range(STEPS), STEPS, "rates"):
            # the factor cancels what the schedule says at this step
            optimizer.factor.assign(rates[step] / float(optimizer.learning_rate))
            model.reset_metrics()  # the loss is a mean since the last reset
            for _ in range(parts):
                loss = float(model.train_on_batch(*next(batches), return_dict=True)["loss"])
            if not math.isfinite(loss):
                break
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            losses.append(mean / (1 - SMOOTHING ** (step + 1)))
            if losses[-1] > DIVERGED * max(min(losses), LEAST):
                break
    return rates[: len(losses)], losses


def suggest_rate(rates: list[float], losses: list[float]) -> RateSearch:
    """Derive a suggestion from the smoothed losses. There is none where they are flat.

    Raises:
        ValueError: there are no losses.
    """
    if not losses:
        raise ValueError(f"The loss is NaN even at a learning rate of {LOWEST:g}: check pictures and weights.")
    settled = losses[SETTLED:]
    best = SETTLED + int(np.argmin(settled)) if settled else 0
    if best <= SETTLED:
        return RateSearch(rates, losses, None, None, None)
    # steps after the lowest loss differ from the smoothed ones because the loss rises, not by chance
    noise = float(np.std(_undo_smoothing(losses)[: best + 1] - losses[: best + 1]))
    slopes = np.gradient(losses, np.log(rates))
    steepest = rates[SETTLED + int(np.argmin(slopes[SETTLED:best]))]
    minimum = rates[best] if best < len(losses) - 1 else None
    suggestion = minimum / 10 if minimum else steepest
    search = RateSearch(rates, losses, steepest, minimum, suggestion, drop=losses[SETTLED] - losses[best], noise=noise)
    return dataclasses.replace(search, suggestion=None) if search.is_flat else search


def _undo_smoothing(losses: list[float]) -> np.ndarray:
    """The losses of single steps, from the smoothed losses of `sweep`."""
    means = np.array(losses) * (1 - SMOOTHING ** np.arange(1, len(losses) + 1))
    return np.diff(means, prepend=0.0) / (1 - SMOOTHING) + np.append(0.0, means[:-1])
