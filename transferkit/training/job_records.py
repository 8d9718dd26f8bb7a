"""The records of a training: the plan, and the job that carries it out in a run folder."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import keras

from transferkit import rules
from transferkit.data.audit import before_training
from transferkit.data.listing import Splits
from transferkit.network import Network
from transferkit.recipe import Recipe, Train
from transferkit.training.clock import Clock
from transferkit.training.distributed.devices import Device
from transferkit.training.fitting.distillation import Teacher
from transferkit.training.planning.phases import Phase

VALIDATION_BATCH = 32


@dataclass(frozen=True, repr=False)
class Plan:
    """Everything that is decided before training starts. Nothing of it is written yet.

    Attributes:
        recipe: resolved, that is with every knob chosen.
        choices: the knobs that the rules chose, each with its reason.
        splits: the readable pictures.
        unreadable: (path, reason) of each picture that is skipped.
        network: with the classes, size and precision of the training.
        device: what computes.
        phases: in their order, each with the layers that are trainable in it.
        started: `time.perf_counter()` when planning began.
        teacher: the network whose logits are learned too, if any.
        clock: of the whole job, whose trainings on all pictures and on folds share it.
    """

    recipe: Recipe
    choices: list[rules.Choice]
    splits: Splits
    unreadable: tuple[tuple[str, str], ...]
    network: Network
    device: Device
    phases: tuple[Phase, ...]
    started: float
    teacher: Teacher | None = None
    clock: Clock = field(default_factory=Clock)

    @property
    def validation_batch(self) -> int:
        """`VALIDATION_BATCH`, rounded up to a multiple of the number of devices."""
        return -(-VALIDATION_BATCH // self.device.replicas) * self.device.replicas

    def __repr__(self):
        counts = ", ".join(f"{name} {len(part):,}" for name, part in self.splits.items())
        phases = ", ".join(f"{phase.name} {phase.epochs}" for phase in self.phases)
        return f"<Plan: {self.network.base}; {counts} pictures; epochs: {phases}; {self.device.name}>"

    def elapsed(self) -> float:
        """Seconds since planning began."""
        return time.perf_counter() - self.started


@dataclass(frozen=True)
class TrainingJob:
    """A plan that is carried out in a run folder.

    Attributes:
        plan: what is trained.
        folder: of the run.
        unreadable: `{path: reason}` of the skipped pictures. Pictures that break during training are added.
        is_refit: whether a finished training is repeated on all pictures, so that none are left to measure it.
        callbacks: of the user, and those of `--log`.
    """

    plan: Plan
    folder: Path
    unreadable: dict[str, str]
    is_refit: bool = False
    callbacks: tuple[keras.callbacks.Callback, ...] = ()

    @property
    def knobs(self) -> Train:
        return self.plan.recipe.train

    @property
    def network(self) -> Network:
        return self.plan.network

    @property
    def splits(self) -> Splits:
        return self.plan.splits

    @property
    def device(self) -> Device:
        return self.plan.device

    def checkpoint_path(self, name: str) -> Path:
        """The path of a file among the run's checkpoints."""
        return self.folder / "checkpoints" / name

    def skip_unreadable(self, paths, readable_rows):
        """Add the pictures that could not be read this time to `unreadable`, with a warning for each.

        Args:
            paths: the pictures that were read.
            readable_rows: rows of `paths` that could be read.

        Raises:
            ValueError: more than one picture in five is unreadable.
        """
        self.unreadable.update(before_training.report_unreadable(paths, readable_rows, self.unreadable))
        before_training.check_unreadable_fraction(paths, self.unreadable)
