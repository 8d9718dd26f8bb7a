"""The progress of an epoch as a Keras callback: a bar, a line at its end, and the times from which both estimate."""

import time
from collections import Counter

import keras
from rich.progress import Progress

from transferkit.console import console, say
from transferkit.recipe import describe_part
from transferkit.training.clock import Work
from transferkit.training.fitting import work_left
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning.phases import Phase

REFRESH = 0.1  # seconds between two updates of the bar: on a GPU, reading the loss waits for the step
WAITING = 0.1  # fraction of an epoch spent waiting for pictures, from which on its line says so


class ProgressBar(keras.callbacks.Callback):
    """A bar during an epoch and a line at its end, with the cross-entropy, and how long the whole job still takes.

    The first batch of a `fit`, for which the model is compiled, is measured apart from the others.

    Args:
        bars: the display.
        job: its clock gets the measured times.
        phase: the current one.
        batch_size: pictures in a batch of training.
        later: the work after the phase.
        waited: variable of the seconds waited for pictures so far, of `pipeline.measure_wait`.
    """

    def __init__(self, bars: Progress, job: TrainingJob, phase: Phase, batch_size: int, later: Work, waited):
        super().__init__()
        self.bars, self.job, self.phase, self.later, self.waited = bars, job, phase, later, waited
        self.sizes = {"train": batch_size, "validate": job.plan.validation_batch // job.device.shard[1]}
        self.part, self.is_compiled = f"of {describe_part(phase.name)}", False

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.shown = epoch, 0.0  # when the bar was updated
        self.done: Counter[str] = Counter()  # batches
        self.name = f"epoch {epoch + 1}/{self.phase.epochs}"
        self.task = self.bars.add_task(f"{self.name} {self.part}", total=self.params["steps"], figures="")
        self.started = self.ended = time.perf_counter()
        self.waited_before = float(self.waited.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self._measure("train")
        if not self.bars.disable and self.ended - self.shown > REFRESH:
            self.shown = self.ended
            text = " · ".join(filter(None, (f"{self.name} {self.part}", self._describe_left())))
            loss = f"loss {logs['cross_entropy']:.3f}"
            self.bars.update(self.task, description=text, completed=batch + 1, figures=loss)

    def on_test_begin(self, logs=None):
        self.training_ended = self.ended
        self.ended = time.perf_counter()

    def on_test_batch_end(self, batch, logs=None):
        self._measure("validate")

    def on_epoch_end(self, epoch, logs=None):
        self.bars.remove_task(self.task)
        self.is_compiled = True
        figures = [f"loss {logs['cross_entropy']:.3f}", f"accuracy {logs['accuracy']:.3f}"]
        if not self.job.is_refit:  # there the network is trained on the validation pictures too
            figures[0] += f" (val {logs['val_cross_entropy']:.3f})"
            figures[1] += f" (val {logs['val_accuracy']:.3f})"
        line = "  ".join((*figures, f"{time.perf_counter() - self.started:.1f} s", *self._describe_waiting()))
        full = "  ".join(filter(None, (f"{self.name} {self.part}", line, self._describe_left())))
        fits = not console.is_terminal or len(full) <= console.width
        say(full if fits else f"{self.name}  {line}")  # the bar below says the rest

    def _measure(self, what: str):
        """Measure the batch that has just ended."""
        now, kind = time.perf_counter(), f"{what} {self.phase.name}"
        if self.is_compiled or self.done[what]:
            self.job.plan.clock.measure(kind, self.sizes[what], now - self.ended)
        else:
            self.job.plan.clock.measure(f"start {kind}", 1, now - self.ended)
        self.done[what] += 1
        self.ended = now

    def _describe_left(self) -> str:
        """How long the rest of the phase and what follows it take; "" before a step has been measured."""
        clock, name = self.job.plan.clock, self.phase.name
        if clock.seconds_each(f"train {name}") is None:
            return ""
        epoch = work_left.count_epoch(self.job, self.phase)
        work = Counter({kind: (self.phase.epochs - self.epoch - 1) * count for kind, count in epoch.items()})
        work[f"train {name}"] += (self.params["steps"] - self.done["train"]) * self.sizes["train"]
        work[f"validate {name}"] += epoch[f"validate {name}"] - self.done["validate"] * self.sizes["validate"]
        if not (self.is_compiled or self.done["validate"]):
            work[f"start validate {name}"] = 1
        return work_left.describe_left(clock, work + self.later, may_stop=self.job.knobs.stop_after > 0)

    def _describe_waiting(self) -> list[str]:
        seconds = self.training_ended - self.started
        waiting = min(1.0, (float(self.waited.numpy()) - self.waited_before) / seconds)
        return [f"{waiting:.0%} waiting for data"] if waiting >= WAITING else []
