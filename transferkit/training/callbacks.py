"""What goes on beside the steps: what a person sees, what is kept, and when Ctrl-C takes effect."""

import math
import signal
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import Progress

from transferkit.console import say
from transferkit.data import audit
from transferkit.data.order import Order
from transferkit.recipe import Train
from transferkit.training import checkpoints, schedules
from transferkit.training.checkpoints import State
from transferkit.training.phases import Phase
from transferkit.training.planning import Plan

OFTEN = 5.0  # seconds between two checkpoints at the least, for an epoch of a head on stored features takes less


class Show(keras.callbacks.Callback):
    """A bar while an epoch runs, one line when it ends: pictures a second, and the share of time waiting for data."""

    def __init__(self, bars: Progress, phase: Phase, batch_size: int, waited):
        super().__init__()
        self.bars, self.phase, self.batch_size, self.waited = bars, phase, batch_size, waited

    def on_epoch_begin(self, epoch, logs=None):
        self.name = f"{self.phase.name} {epoch + 1}/{self.phase.epochs}"
        self.task = self.bars.add_task(self.name, total=self.params["steps"], figures="")
        self.seen, self.started, self.before = 0, time.perf_counter(), float(self.waited.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self.seen += self.batch_size
        self.trained = time.perf_counter()
        if not self.bars.disable:
            self.bars.update(self.task, advance=1, figures=f"loss {logs['loss']:.3f}  {self._speed()}")

    def on_epoch_end(self, epoch, logs=None):
        self.bars.remove_task(self.task)
        names = {"cross_entropy": "loss", "accuracy": "accuracy", "val_cross_entropy": "val_loss"}
        figures = (f"{shown} {logs[name]:.3f}" for name, shown in (names | {"val_accuracy": "val_accuracy"}).items())
        say("  ".join((self.name, *figures, self._speed())))

    def _speed(self) -> str:
        seconds = self.trained - self.started
        share = min(1.0, (float(self.waited.numpy()) - self.before) / seconds)
        return f"{self.seen / seconds:.0f} pictures/s, {share:.0%} waiting for data"


class Diverged(Exception):
    """The loss is no number after so many steps of an epoch."""

    def __init__(self, epoch: int, step: int):
        super().__init__(f"The loss is no number after step {step} of epoch {epoch + 1}.")
        self.epoch, self.step = epoch, step


class Keep(keras.callbacks.Callback):
    """The best weights so far, the state to go on from, and the history, on disk: after epochs, and every so often.

    Args:
        job: the plan.
        folder: the run's.
        state: where the training is; it moves on with each epoch.
        average: Keras' callback that swaps weights and their moving averages, where such are kept.
        interruptible: tells that Ctrl-C was pressed, which takes effect where a checkpoint can be written.
    """

    def __init__(self, job: Plan, folder: Path, state: State, phase: Phase, average, interruptible):
        super().__init__()
        self.job, self.folder, self.state, self.phase, self.knobs = job, folder, state, phase, job.recipe.train
        self.average, self.interruptible = average, interruptible
        self.best, self.saved, self.metrics = None, time.perf_counter(), []
        self.every = 20 if job.device.gpu else 1  # batches between two looks at the loss, for which a GPU has to wait

    def start(self, model: keras.Model):
        """Put a compiled model into the state, or save what it starts from."""
        if self.state.tensors is None:
            checkpoints.save(self.folder, self.state, checkpoints.captured(model))
            return
        tensors = checkpoints.tensors_of(self.folder, self.state)
        checkpoints.restored(model, tensors)
        model.optimizer.factor.assign(self._factor())
        if self.state.step:  # the metrics go on too, which `fit` resets
            self.metrics = checkpoints.metrics_of(tensors)

    def on_epoch_begin(self, epoch, logs=None):
        self.started, self.first, self.epoch = time.perf_counter(), self.state.step, epoch
        if self.metrics:
            for variable, value in zip(self.model.metrics_variables, self.metrics, strict=True):
                variable.assign(value)
        self.metrics = []

    def on_train_batch_end(self, batch, logs=None):
        (steps, rest), now = divmod(batch + 1, self.state.parts), time.perf_counter()
        last, asked = batch + 1 == self.params["steps"], self.interruptible.asked
        due = not rest and not last and (asked or now - self.saved > 60 * self.knobs.checkpoint_minutes)
        if (due or last or (batch + 1) % self.every == 0) and not math.isfinite(float(logs["loss"])):
            raise Diverged(self.epoch, self.first + -(-(batch + 1) // self.state.parts))
        if due:
            self.state.step = self.first + steps
            self.save()
            if asked:
                raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        row = {
            "phase": self.phase.name,
            "epoch": epoch + 1,
            "loss": logs["cross_entropy"],
            "accuracy": logs["accuracy"],
            "val_loss": logs["val_cross_entropy"],
            "val_accuracy": logs["val_accuracy"],
            "objective": logs["loss"],
            "lr": float(self.model.optimizer.learning_rate) * float(self.model.optimizer.factor),
        }
        row |= {name: round(float(value), 9) for name, value in row.items() if name not in ("phase", "epoch")}
        row["seconds"] = round(time.perf_counter() - self.started, 2)
        if schedules.best_of([*self.state.history, row]) is row:
            self.best = self._weights()
        self.state.history.append(row)
        self.state.epoch, self.state.step = epoch + 1, 0
        self.model.optimizer.factor.assign(self._factor())
        over = ended(self.state, self.phase, self.knobs)
        self.model.stop_training |= over
        if over or self.interruptible.asked or time.perf_counter() - self.saved > OFTEN:
            self.save()
        if self.interruptible.asked:
            raise KeyboardInterrupt

    def save(self):
        """What is best goes first: cut between the two, the epoch is done again and gives the same."""
        if self.best is not None:
            path = self.folder / "checkpoints" / checkpoints.BEST
            checkpoints.save_weights(self.job.network, path, self.best)
            self.best = None
        checkpoints.save(self.folder, self.state, checkpoints.captured(self.model))
        self.saved = time.perf_counter()

    def _factor(self) -> float:
        """On the rate: of returns to earlier states, and of the plateaus that the history shows."""
        if self.knobs.schedule != "plateau":
            return self.state.factor
        drops = schedules.drops(self.state.rows(self.phase.name), self.knobs.patience)
        return self.state.factor * self.knobs.drop**drops

    def _weights(self) -> dict[int, np.ndarray]:
        """Those of the model, or their moving averages, by `id`."""
        checkpoints.synchronised(self.model)
        if self.average:
            self.average.on_test_begin()
        weights = {id(variable): np.array(variable) for variable in self.model.variables}
        if self.average:
            self.average.on_test_end()
        return weights


def ended(state: State, phase: Phase, knobs: Train) -> bool:
    """Whether a phase has had its epochs, or no gain for `stop_after` of them."""
    stalled = schedules.stalled(state.rows(phase.name))
    return state.epoch >= phase.epochs or 0 < knobs.stop_after <= stalled


class Watch(keras.callbacks.Callback):
    """After each epoch, a warning for each picture that could be read before training and was not given in it.

    It comes first among the callbacks: where it raises `ValueError`, too many being lost, the epoch is worth nothing.

    Args:
        delivered: how often `pipeline.training` has given each of `paths`; one process reads them all.
        order: in which they should come.
        lost: `{path: reason}`, to which those are added.
    """

    def __init__(self, paths, delivered, order: Order, lost: dict[str, str]):
        super().__init__()
        self.paths, self.delivered, self.order, self.lost = paths, delivered, order, lost
        self.due = np.zeros(len(paths), int)

    def on_epoch_end(self, epoch, logs=None):
        skipped = self.order.skip if epoch == self.order.epochs.start else 0
        rows = self.order.rows(epoch).numpy()[skipped:].ravel()[: len(self.paths)]  # what fills the last batch is extra
        self.due += np.bincount(rows, minlength=len(self.paths))
        # where classes are sampled, a lost picture moves the others, so that some come once less
        due = self.due if self.order.sampling == "all" else self.due // 2
        audit.note_lost(self.paths, np.flatnonzero(self.delivered.numpy() >= due), self.lost)
        audit.check_lost(self.paths, self.lost)


class Interruptible:
    """Inside this context, Ctrl-C is kept for `Keep`, which raises it where a step has ended; a second one is at once.

    Raised wherever it happens to come, it is now and then lost in a destructor of TensorFlow's.
    """

    asked = False

    def __enter__(self):
        try:
            self.previous = signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not the main thread, which alone gets signals
            self.previous = None
        return self

    def __exit__(self, *_):
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)

    def _ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
