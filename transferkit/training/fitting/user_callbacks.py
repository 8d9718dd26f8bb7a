"""Keras callbacks of the user, over the phases of a training."""

import keras

from transferkit.training.fitting import callbacks
from transferkit.training.fitting.callbacks import SaveCheckpoints
from transferkit.training.job_records import TrainingJob

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "objective", "lr")  # of the rows of `history.csv`


def check_callbacks(given) -> tuple[keras.callbacks.Callback, ...]:
    """The callbacks as a tuple.

    Raises:
        ValueError: it is not a list of Keras callbacks.
    """
    found = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    wrong = next((each for each in found if not isinstance(each, keras.callbacks.Callback)), None)
    if wrong is not None or found == (given,):
        kind = type(given if wrong is None else wrong).__name__
        raise ValueError(f"callbacks must be a list of keras.callbacks.Callback, and {kind} was given.")
    return found


class PassOn(keras.callbacks.Callback):
    """Pass the events of a phase on to the callbacks of a job.

    A phase is for them what a `fit` is: it begins and ends once, even if it is carried out in several. Epochs are
    counted on from phase to phase. At the end of an epoch, `logs` are the figures of `history.csv`.

    It is the last among the callbacks. An error at the end of an epoch is raised once that epoch is saved.
    `model.stop_training` ends the phase after the epoch.
    """

    def __init__(self, job: TrainingJob, interruptible):
        super().__init__()
        self.callbacks, self.epochs, self.interruptible = job.callbacks, job.knobs.epochs, interruptible
        self.has_begun, self.should_stop = False, False
        self.save: SaveCheckpoints

    def set_params(self, params):
        super().set_params(params)
        self._pass("set_params", params | {"epochs": self.epochs})

    def set_model(self, model):
        super().set_model(model)
        self._pass("set_model", model)

    def on_train_begin(self, logs=None):
        if not self.has_begun:
            self._pass("on_train_begin", logs)
        self.has_begun = True

    def end_phase(self):
        """Tell the callbacks that training has ended."""
        if self.has_begun:
            self._pass("on_train_end", {})

    def on_epoch_begin(self, epoch, logs=None):
        self._pass("on_epoch_begin", self._count_epochs(), logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._pass("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._pass("on_train_batch_end", batch, logs)
        # a part of an epoch would look as if its other pictures could not be read
        if self.model.stop_training:
            self.should_stop, self.model.stop_training = True, False

    def on_test_begin(self, logs=None):
        self._pass("on_test_begin", logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._pass("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._pass("on_test_batch_end", batch, logs)

    def on_test_end(self, logs=None):
        self._pass("on_test_end", logs)

    def on_epoch_end(self, epoch, logs=None):
        state = self.save.state
        row = state.history[-1]
        try:
            self._pass("on_epoch_end", self._count_epochs() - 1, {name: row[name] for name in FIGURES})
        except Exception:
            self.save.save()
            raise
        self.model.stop_training |= self.should_stop
        if self.model.stop_training and not callbacks.is_phase_over(state, self.save.phase, self.save.knobs):
            state.stopped = True
            self.save.save()
        if self.interruptible.requested:
            raise KeyboardInterrupt

    def _pass(self, event: str, *args):
        for callback in self.callbacks:
            getattr(callback, event)(*args)

    def _count_epochs(self) -> int:
        """The complete epochs of all phases."""
        return len([row for row in self.save.state.history if row["epoch"]])
