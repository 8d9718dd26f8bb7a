"""What goes on beside the steps: what a person sees, what is kept, and when Ctrl-C takes effect."""

import math
import signal
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import Progress

from transferkit.console import say, warn
from transferkit.data.audit import before_training
from transferkit.data.epoch_order import EpochOrder
from transferkit.recipe import Train
from transferkit.training.fitting import checkpoints, schedules, weight_averaging
from transferkit.training.fitting.checkpoints import State
from transferkit.training.planning.phases import Phase
from transferkit.training.planning.planner import Plan

MOST_SKIPPED = 0.01  # of an epoch's steps, in float16; a scale that rises skips one in some 2,000 by design
SPENT = 0.03  # of the time may go into checkpoints after epochs, for an epoch on stored features takes less than one


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
        alone: the model on one device, of which the model that is fitted may be a copy.
    """

    def __init__(self, job: Plan, folder: Path, state: State, phase: Phase, average, interruptible, alone):
        super().__init__()
        self.job, self.folder, self.state, self.phase, self.knobs = job, folder, state, phase, job.recipe.train
        self.average, self.interruptible, self.alone = average, interruptible, alone
        self.best, self.soup, self.metrics, self.losses = None, {}, [], []
        self.saved, self.cost = time.perf_counter(), 0.0  # when the last checkpoint was done, and the seconds it took
        # several workers save in step with each other, as reading the metrics takes all of them: after epochs alone
        self.several = job.device.shard[1] > 1
        self.every = 20 if job.device.gpu else 1  # batches between two looks at the losses, for which a GPU has to wait

    def start(self, model: keras.Model):
        """Put a compiled model into the state, or save what it starts from."""
        if self.state.tensors is None:
            checkpoints.reseeded(model, self.state.phase)
            checkpoints.save(self.folder, self.state, checkpoints.captured(model))
            self._clock(self.saved)
            return
        tensors = checkpoints.tensors_of(self.folder, self.state)
        checkpoints.restored(model, tensors)
        model.optimizer.factor.assign(self._factor())
        if self.state.step:  # the metrics go on too, which `fit` resets
            self.metrics = checkpoints.metrics_of(tensors)

    def on_epoch_begin(self, epoch, logs=None):
        self.started, self.first, self.epoch, self.losses = time.perf_counter(), self.state.step, epoch, []
        self.last = self.first + self.params["steps"] // self.state.parts

    def on_train_batch_end(self, batch, logs=None):
        if self.metrics:  # they are sums, and there are none before the first step
            checkpoints.synchronised(self.model)
            for variable, value in zip(self.model.metrics_variables, self.metrics, strict=True):
                variable.assign_add(value)
            self.metrics = []
        self.losses.append(logs["loss"])
        (steps, rest), now = divmod(batch + 1, self.state.parts), time.perf_counter()
        last, asked = batch + 1 == self.params["steps"], self.interruptible.asked
        timely = now - self.saved > 60 * self.knobs.checkpoint_minutes
        due = not rest and not last and not self.several and (asked or timely)
        if due or last or len(self.losses) == self.every:
            self._check_losses(batch)
        if due:
            self.state.step = self.first + steps
            self.save()
            if asked:
                raise KeyboardInterrupt

    def _check_losses(self, batch: int):
        """Of the batches since the last look, the newest being number `batch` of this `fit`."""
        good = list(map(math.isfinite, map(float, self.losses)))
        if not all(good):
            parts = batch + 1 - len(good) + good.index(False)
            raise Diverged(self.epoch, self.first + parts // self.state.parts + 1)
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["val_cross_entropy"]):  # the last step's doing, of which no loss of training tells
            raise Diverged(epoch, self.last)
        row = {
            "phase": self.phase.name,
            "epoch": epoch + 1,
            "loss": logs["cross_entropy"],
            "accuracy": logs["accuracy"],
            "val_loss": logs["val_cross_entropy"],
            "val_accuracy": logs["val_accuracy"],
            "objective": logs["loss"],
            "lr": float(np.asarray(self.model.optimizer.learning_rate) * np.asarray(self.model.optimizer.factor)),
        }
        row |= {name: round(float(value), 9) for name, value in row.items() if name not in ("phase", "epoch")}
        row |= self._skipped()
        row["seconds"] = round(time.perf_counter() - self.started, 2)
        self.state.history.append(row)
        place = len(self.state.history) - 1
        is_best = schedules.kept(self.state.history, self.knobs.keep) is row
        is_good = place in weight_averaging.best(self.state.history, self.knobs.soup)
        weights = self._weights() if is_best or is_good else None
        if is_best:
            self.best = weights
        if is_good:
            self.soup[place] = weights
        self.state.epoch, self.state.step = epoch + 1, 0
        self.model.optimizer.factor.assign(self._factor())
        over = ended(self.state, self.phase, self.knobs)
        self.model.stop_training |= over
        timely = SPENT * (time.perf_counter() - self.saved) > self.cost
        if over or self.several or self.interruptible.asked or timely:
            self.save()
        if self.interruptible.asked:
            raise KeyboardInterrupt

    def save(self):
        """What is best goes first: cut between the two, the epoch is done again and gives the same.

        Raises:
            Diverged: the last step has spoilt the weights, which the next one's loss would show.
        """
        started, tensors = time.perf_counter(), checkpoints.captured(self.model)
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise Diverged(self.epoch, self.state.step or self.last)
        if self.best is not None:
            path = self.folder / "checkpoints" / checkpoints.BEST
            checkpoints.save_weights(self.job.network, path, self.best)
            self.best = None
        weight_averaging.keep(self.job, self.folder, self.state.history, self.soup)
        self.soup = {}
        checkpoints.save(self.folder, self.state, tensors)
        weight_averaging.forget(self.folder, but=weight_averaging.best(self.state.history, self.knobs.soup))
        self._clock(started)

    def _clock(self, started: float):
        self.saved = time.perf_counter()
        self.cost = self.saved - started

    def _skipped(self) -> dict[str, int]:
        """Steps of this epoch that were left out for overflows of float16, with a warning where they are many."""
        if not hasattr(self.model.optimizer, "skipped"):
            return {}
        checkpoints.synchronised(self.model)
        before = sum(row["skipped"] for row in self.state.rows(self.phase.name))
        skipped, steps = int(self.model.optimizer.skipped) - before, self.last * self.state.parts
        if skipped > MOST_SKIPPED * steps:
            warn(
                f"{skipped} of {steps} steps were skipped, for their gradients overflowed float16: "
                "--precision mixed_bfloat16 or float32 has none of that."
            )
        return {"skipped": skipped}

    def _factor(self) -> float:
        """On the rate: of returns to earlier states, and of the plateaus that the history shows."""
        if self.knobs.schedule != "plateau":
            return self.state.factor
        drops = schedules.drops(self.state.rows(self.phase.name), self.knobs.patience)
        return self.state.factor * self.knobs.drop**drops

    def _weights(self) -> dict[int, np.ndarray]:
        """Those of the model, or their moving averages, by `id` of the one on one device."""
        checkpoints.synchronised(self.model)
        if self.average:
            self.average.on_test_begin()
        pairs = zip(checkpoints.learning(self.alone), checkpoints.learning(self.model), strict=True)
        weights = {id(variable): np.array(learnt) for variable, learnt in pairs}
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
        delivered: how often `pipeline.training` has given each of `paths` to this worker.
        order: in which they should come.
        lost: `{path: reason}`, to which those are added.
    """

    def __init__(self, paths, delivered, order: EpochOrder, lost: dict[str, str]):
        super().__init__()
        self.paths, self.delivered, self.order, self.lost = paths, delivered, order, lost
        self.due = np.zeros(len(paths), int)

    def on_epoch_end(self, epoch, logs=None):
        skipped = self.order.skip_steps if epoch == self.order.epochs.start else 0
        self.due += np.bincount(self.order.worker_rows(epoch, skipped), minlength=len(self.paths))
        # where classes are sampled, a lost picture moves the others, so that some come once less
        due = self.due if self.order.sampling == "all" else self.due // 2
        self.lost |= before_training.report_unreadable(
            self.paths, np.flatnonzero(self.delivered.numpy() >= due), self.lost
        )
        before_training.check_unreadable_fraction(self.paths, self.lost)


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
