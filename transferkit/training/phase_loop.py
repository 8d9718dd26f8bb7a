"""The phases of a job, one after the other, from the initial weights or from the last checkpoint on."""

from collections.abc import Callable

from transferkit.training.fitting import checkpoints, fit_phase, head_init
from transferkit.training.fitting.checkpoints import State
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning import time_budget
from transferkit.training.planning.phases import Phase


def initialise(job: TrainingJob):
    """Save the state that training starts from, with the fitted head if the recipe asks for it, unless it is saved."""
    if job.checkpoint_path(checkpoints.STATE).exists():
        return
    if job.knobs.start == "probe":
        head_init.fit_head(job)
    else:
        checkpoints.save_state(job.folder, State(parts=job.knobs.accumulate))


def train_phases(job: TrainingJob) -> Callable | None:
    """Train all phases that are not done yet.

    Returns:
        `PhaseData.predict_validation` of the last phase.
    """
    initialise(job)
    predict_validation = None
    for phase in job.plan.phases[checkpoints.load_state(job.folder).phase :]:
        predict_validation = train_phase(job, phase)
    return predict_validation


def train_phase(job: TrainingJob, phase: Phase) -> Callable | None:
    """Train the current phase to its end and save that the next one is due.

    Returns:
        `PhaseData.predict_validation` of the phase.
    """
    with fit_phase.prepare_phase(job, phase) as data:
        fit_phase.fit(job, time_budget.plan_epochs(job, phase, data), data)
    checkpoints.save_state(job.folder, checkpoints.load_state(job.folder).next_phase())
    return data.predict_validation
