"""Keras callbacks of a training: checkpoints, pictures that break, and Ctrl-C."""

import math
import signal
import time

import keras
import numpy as np

from transferkit.console import warn
from transferkit.data.epoch_order import EpochOrder
from transferkit.recipe import Train
from transferkit.training.fitting import checkpoints, history, weight_averaging
from transferkit.training.fitting.checkpoints import State
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning.phases import Phase

MAX_SKIPPED = 0.01  # of an epoch's steps, in float16; a scale that rises skips one in some 2,000 by design
CHECKPOINT_TIME = 0.03  # fraction of the time for checkpoints after epochs: one on stored features is under a second


class NaNLossError(Exception):
    """The loss became NaN or infinite at a step of an epoch."""

    def __init__(self, epoch: int, step: int):
        super().__init__(f"The loss became NaN at step {step} of epoch {epoch + 1}.")
        self.epoch, self.step = epoch, step


def is_phase_over(state: State, phase: Phase, knobs: Train) -> bool:
    """Whether a phase has had its epochs, or no improvement for `stop_after` epochs, or was stopped by a callback."""
    stalled = history.count_stalled_epochs(state.rows(phase.name))
    return state.stopped or state.epoch >= phase.epochs or 0 < knobs.stop_after <= stalled


class SaveCheckpoints(keras.callbacks.Callback):
    """Write the best weights, the state and the history after epochs, and every `checkpoint_minutes` within them.

    Args:
        job: what is trained.
        state: how far the training is; it is updated with each epoch.
        phase: the current one.
        average: Keras' callback that swaps weights and their moving averages, if there are any.
        interruptible: tells whether Ctrl-C was pressed, which takes effect once a checkpoint is written.
        single_model: the model on one device; the fitted model may be a copy of it.
    """

    def __init__(self, job: TrainingJob, state: State, phase: Phase, average, interruptible, single_model):
        super().__init__()
        self.job, self.folder, self.knobs, self.state, self.phase = job, job.folder, job.knobs, state, phase
        self.average, self.interruptible, self.single_model = average, interruptible, single_model
        self.best: dict[int, np.ndarray] | None = None
        self.good: dict[int, dict[int, np.ndarray]] = {}
        self.metrics: list = []
        self.losses: list = []
        self.saved_at, self.cost = time.perf_counter(), 0.0  # when the last checkpoint was written, and its seconds
        # several workers save at the same epochs, as reading the metrics needs all of them
        self.has_workers = job.device.shard[1] > 1
        self.check_every = 20 if job.device.gpu else 1  # batches; a GPU has to wait until the losses are read

    def start(self, model: keras.Model):
        """Restore the state's variables into a compiled model, or save the variables that it starts from."""
        if self.state.tensors is None:
            checkpoints.reseed_dropout(model, self.state.phase)
            checkpoints.save_state(self.folder, self.state, checkpoints.capture_variables(model))
            self._measure_cost(self.saved_at)
            return
        tensors = checkpoints.load_tensors(self.folder, self.state.tensors)
        checkpoints.restore_variables(model, tensors)
        model.optimizer.factor.assign(self._rate_factor())
        if self.state.step:  # the metrics continue too, which `fit` resets
            self.metrics = checkpoints.select_metrics(tensors)

    def on_epoch_begin(self, epoch, logs=None):
        self.started, self.first_step, self.epoch, self.losses = time.perf_counter(), self.state.step, epoch, []
        self.last_step = self.first_step + self.params["steps"] // self.state.parts

    def on_train_batch_end(self, batch, logs=None):
        if self.metrics:  # they are sums, and only exist after the first step
            checkpoints.sync_variables(self.model)
            for variable, value in zip(self.model.metrics_variables, self.metrics, strict=True):
                variable.assign_add(value)
            self.metrics = []
        self.losses.append(logs["loss"])
        steps, rest = divmod(batch + 1, self.state.parts)
        is_last, requested = batch + 1 == self.params["steps"], self.interruptible.requested
        is_time = time.perf_counter() - self.saved_at > 60 * self.knobs.checkpoint_minutes
        is_due = not rest and not is_last and not self.has_workers and (requested or is_time)
        if is_due or is_last or len(self.losses) == self.check_every:
            self._check_losses(batch)
        if is_due:
            self.state.step = self.first_step + steps
            self.save()
            if requested:
                raise KeyboardInterrupt

    def _check_losses(self, batch: int):
        """Raise `NaNLossError` if a loss since the last check is not finite; `batch` is the index of the newest one."""
        finite = list(map(math.isfinite, map(float, self.losses)))
        if not all(finite):
            parts = batch + 1 - len(finite) + finite.index(False)
            raise NaNLossError(self.epoch, self.first_step + parts // self.state.parts + 1)
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["val_cross_entropy"]):  # after the last step, which no training loss follows
            raise NaNLossError(epoch, self.last_step)
        row = self._make_row(epoch, logs)
        self.state.history.append(row)
        index = len(self.state.history) - 1
        is_best = history.find_kept_epoch(self.state.history, self.knobs.keep) is row
        is_good = index in history.rank_epochs(self.state.history, self.knobs.soup)
        if is_best or is_good:
            weights = self._copy_weights()
            if is_best:
                self.best = weights
            if is_good:
                self.good[index] = weights
        self.state.epoch, self.state.step = epoch + 1, 0
        self.model.optimizer.factor.assign(self._rate_factor())
        is_over = is_phase_over(self.state, self.phase, self.knobs)
        self.model.stop_training |= is_over
        is_cheap = CHECKPOINT_TIME * (time.perf_counter() - self.saved_at) > self.cost
        if is_over or self.has_workers or self.interruptible.requested or is_cheap:
            self.save()

    def _make_row(self, epoch: int, logs: dict) -> dict:
        """The epoch's row of `history.csv`."""
        optimizer = self.model.optimizer
        figures = {
            "loss": logs["cross_entropy"],
            "accuracy": logs["accuracy"],
            "val_loss": logs["val_cross_entropy"],
            "val_accuracy": logs["val_accuracy"],
            "objective": logs["loss"],
            "lr": float(np.asarray(optimizer.learning_rate) * np.asarray(optimizer.factor)),
        }
        figures = {name: round(float(value), 9) for name, value in figures.items()}
        seconds = round(time.perf_counter() - self.started, 2)
        return {"phase": self.phase.name, "epoch": epoch + 1} | figures | self._count_skipped() | {"seconds": seconds}

    def save(self):
        """Write the best weights, then the state: cut between the two, the epoch is repeated with the same result.

        Raises:
            NaNLossError: the last step made weights NaN, which only the next step's loss would show.
        """
        started, tensors = time.perf_counter(), checkpoints.capture_variables(self.model)
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise NaNLossError(self.epoch, self.state.step or self.last_step)
        if self.best is not None:
            checkpoints.save_weights(self.job.network, self.job.checkpoint_path(checkpoints.BEST), self.best)
            self.best = None
        good_epochs = history.rank_epochs(self.state.history, self.knobs.soup)
        weight_averaging.save_epochs(self.job, {index: self.good[index] for index in good_epochs if index in self.good})
        self.good = {}
        checkpoints.save_state(self.folder, self.state, tensors)
        weight_averaging.delete_epochs(self.folder, keep=good_epochs)
        self._measure_cost(started)

    def _measure_cost(self, started: float):
        self.saved_at = time.perf_counter()
        self.cost = self.saved_at - started

    def _count_skipped(self) -> dict[str, int]:
        """Steps of this epoch that were skipped because float16 overflowed, with a warning where there are many."""
        if not hasattr(self.model.optimizer, "skipped"):
            return {}
        checkpoints.sync_variables(self.model)
        before = sum(row["skipped"] for row in self.state.rows(self.phase.name))
        skipped, steps = int(self.model.optimizer.skipped) - before, self.last_step * self.state.parts
        if skipped > MAX_SKIPPED * steps:
            warn(
                f"{skipped} of {steps} steps were skipped, because their gradients overflowed float16: "
                "--precision mixed_bfloat16 or float32 avoids that."
            )
        return {"skipped": skipped}

    def _rate_factor(self) -> float:
        """The factor on the rate, after NaN losses and after the plateaus in the history."""
        if self.knobs.schedule != "plateau":
            return self.state.factor
        drops = history.count_rate_drops(self.state.rows(self.phase.name), self.knobs.patience)
        return self.state.factor * self.knobs.drop**drops

    def _copy_weights(self) -> dict[int, np.ndarray]:
        """The model's weights, or their moving averages, by `id` of the variable in `single_model`."""
        checkpoints.sync_variables(self.model)
        if self.average:
            self.average.on_test_begin()
        models = (self.single_model, self.model)
        pairs = zip(*map(checkpoints.find_student_variables, models), strict=True)
        weights = {id(single): np.array(fitted) for single, fitted in pairs}
        if self.average:
            self.average.on_test_end()
        return weights


class FindUnreadable(keras.callbacks.Callback):
    """After each epoch, a warning for each picture that was readable before training and was not delivered in it.

    It comes first among the callbacks: if it raises `ValueError`, because too many are unreadable, the epoch is void.

    Args:
        job: its `unreadable` gets the pictures that are found.
        paths: of the training pictures.
        delivered: variable of how often `pipeline.training_dataset` has delivered each of them to this worker.
        order: in which they should be delivered.
    """

    def __init__(self, job: TrainingJob, paths, delivered, order: EpochOrder):
        super().__init__()
        self.job, self.paths, self.delivered, self.order = job, paths, delivered, order
        self.expected = np.zeros(len(paths), int)

    def on_epoch_end(self, epoch, logs=None):
        done = self.order.skip_steps if epoch == self.order.epochs.start else 0
        self.expected += np.bincount(self.order.worker_rows(epoch, done), minlength=len(self.paths))
        # where classes are sampled, a missing picture moves the others, so that some come once less
        expected = self.expected if self.order.sampling == "all" else self.expected // 2
        self.job.skip_unreadable(self.paths, np.flatnonzero(self.delivered.numpy() >= expected))


class Interruptible:
    """In this context, Ctrl-C only sets `requested`; `SaveCheckpoints` raises `KeyboardInterrupt` at the end of a step.
    A second Ctrl-C raises at once.

    Raised at any other place, it is sometimes lost in a destructor of TensorFlow's.
    """

    requested = False

    def __enter__(self):
        try:
            self.previous = signal.signal(signal.SIGINT, self._handle)
        except ValueError:  # not the main thread, which alone gets signals
            self.previous = None
        return self

    def __exit__(self, *_):
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)

    def _handle(self, *_):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
