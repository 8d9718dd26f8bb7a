"""What a training still has to do: the work of its phases and of what follows them, counted in pictures and times."""

from collections import Counter

from transferkit.evaluation import shift
from transferkit.explain.geometry import measure_layers
from transferkit.training.clock import Clock, Work, format_duration
from transferkit.training.fitting import frozen_features
from transferkit.training.fitting.weight_interpolation import FRACTIONS
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning.phases import Phase


def count_job(job: TrainingJob) -> Work:
    """All work of a training, from its initial head to the saved network."""
    return _count_training(job, job.plan.phases) + _count_closing(job, job.plan.phases)


def count_after_phase(job: TrainingJob, phase: Phase) -> Work:
    """The work after a phase: other phases, the evaluation, the training on all pictures, and other folds.

    Args:
        phase: with the epochs that it really has, which `time` plans after it was planned.
    """
    phases = [phase if other.name == phase.name else other for other in job.plan.phases]
    counts = [_count_phase(job, other) for other in phases]  # all of them, so that the clock knows all costs
    return _sum(counts[phases.index(phase) + 1 :]) + _count_closing(job, phases) + job.plan.clock.later


def describe_left(clock: Clock, work: Work, *, may_stop: bool) -> str:
    """How long some work takes, as "about 2 min left".

    Args:
        may_stop: whether the training may end before it.
    """
    seconds, is_complete = clock.estimate(work)
    bound = "at least" if not is_complete else "at most" if may_stop else "about"
    return f"{bound} {format_duration(seconds)} left"


def _sum(works) -> Work:
    return sum(works, Counter())


def _count_training(job: TrainingJob, phases) -> Work:
    """The initial head and the phases; "build" is the network itself."""
    start = Counter({"build": 1, "head": int(job.knobs.start == "probe")})
    return start + _sum(_count_phase(job, phase) for phase in phases)


def _count_closing(job: TrainingJob, phases) -> Work:
    """What follows the phases: a training on all pictures takes as many steps as the first one."""
    closing = Counter({"save": 1})
    if job.is_refit:
        return closing
    times = 1 + (job.knobs.keep == "mix") * len(FRACTIONS)  # val, which calibrates too
    closing["evaluate"] = times * len(job.splits.val) + len(job.splits.test or ())
    is_repeated = job.knobs.refit == "on"
    train, val = (min(len(listing), shift.PICTURES) for listing in (job.splits.train, job.splits.val))
    closing["evaluate"] += (1 + is_repeated) * train + val  # see `shift.fit_shift`
    return closing + (_count_training(job, phases) if is_repeated else Counter())


def count_epoch(job: TrainingJob, phase: Phase) -> Work:
    """The pictures in the full batches of an epoch, of one worker."""
    batches = {
        "train": (job.splits.train, job.knobs.batch_size),
        "validate": (job.splits.val, job.plan.validation_batch),
    }
    return Counter(
        {
            f"{what} {phase.name}": -(-len(listing) // size) * size // job.device.shard[1]
            for what, (listing, size) in batches.items()
        }
    )


def _count_phase(job: TrainingJob, phase: Phase) -> Work:
    """The work of a phase. The costs of its kinds are stored in the job's clock."""
    name, names = phase.name, [layer.name for layer in job.network.model.layers]
    layers = measure_layers(job.network.model, job.network.pixels.shape)
    costs = [float(layer.multiply_adds or 0) for layer in layers]
    first = names.index(phase.trainable[0])
    frozen, trained = sum(costs[:first]), sum(costs[first:])
    work = Counter({kind: phase.epochs * count for kind, count in count_epoch(job, phase).items()})
    work |= Counter({f"start train {name}": 1, f"start validate {name}": 1})
    before = frozen
    if frozen and frozen_features.can_run_once(job, phase):
        before = 0.0
        work |= Counter({"start features": 1, "features": phase.views * len(job.splits.train) + len(job.splits.val)})
        job.plan.clock.costs["features"] = frozen
    # the gradients of a layer's inputs and of its weights cost as much as its outputs, each
    train, validate = before + 3 * trained, before + trained
    job.plan.clock.costs |= {f"train {name}": train, f"validate {name}": validate, "evaluate": frozen + trained}
    return work
