"""The user's Keras callbacks, over phases, errors, stops and resumed runs."""

import keras
import pytest
from conftest import QUICK

import transferkit as tk
from transferkit.training import run_job


class Record(keras.callbacks.Callback):
    """Notes every event; `act` is called with the number of each epoch that ends."""

    def __init__(self, act=lambda callback, epoch: None):
        super().__init__()
        self.events, self.rows, self.act = [], {}, act

    def on_train_begin(self, logs=None):
        self.events.append("begin")

    def on_train_end(self, logs=None):
        self.events.append("end")

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(epoch)
        self.rows[epoch] = logs
        self.act(self, epoch)


def train(tiny, listing, out, *callbacks, **knobs):
    train, val = listing.split(0.3)
    return tk.finetune(tiny, train, val, out=out, callbacks=callbacks, **QUICK | knobs)


def test_epochs_are_counted_on_over_the_phases(tiny, listing, tmp_path):
    seen, saved = Record(), tmp_path / "{epoch}.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(str(saved), save_weights_only=True)
    # the epochs of the training on all pictures are not passed on
    run = train(tiny, listing, tmp_path / "run", seen, checkpoint, keep="last", refit="on")
    assert seen.events == ["begin", 0, 1, "end", "begin", 2, 3, "end"]
    rows = [row for row in run.history if row["epoch"]]
    for epoch, row in enumerate(rows):
        assert seen.rows[epoch] == {name: row[name] for name in seen.rows[epoch]}
    assert seen.params["epochs"] == 4
    assert sorted(path.name[0] for path in tmp_path.glob("*.weights.h5")) == ["1", "2", "3", "4"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "lr"} <= seen.rows[0].keys()


def test_an_error_ends_the_run_after_the_epoch_is_saved(tiny, listing, tmp_path):
    def fail(callback, epoch):
        if epoch == 2:
            raise OSError("the disk of the user's own files is full")

    with pytest.raises(OSError, match="user's own files"):
        train(tiny, listing, tmp_path / "run", Record(fail))
    seen = Record()
    run = run_job.resume(tmp_path / "run", callbacks=[seen])
    assert seen.events == ["begin", 3, "end"]
    assert len([row for row in run.history if row["epoch"]]) == 4


def test_stop_training_ends_the_phase(tiny, listing, tmp_path):
    def stop(callback, epoch):
        callback.model.stop_training = epoch == 0

    seen = Record(stop)
    run = train(tiny, listing, tmp_path / "run", seen, refit="off")
    assert seen.events == ["begin", 0, "end", "begin", 1, 2, "end"]
    assert [row["phase"] for row in run.history if row["epoch"]] == ["head", "all", "all"]


def test_stop_training_within_an_epoch_takes_effect_at_its_end(tiny, listing, tmp_path):
    class Stop(Record):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    seen = Stop()
    run = train(tiny, listing, tmp_path / "run", seen, refit="off")
    assert seen.events == ["begin", 0, "end", "begin", 1, "end"]
    assert not run.unreadable


@pytest.mark.parametrize(("given", "kind"), [([print], "builtin_function_or_method"), (Record(), "Record"), (3, "int")])
def test_what_is_no_list_of_callbacks_is_refused(tiny, listing, tmp_path, given, kind):
    with pytest.raises(ValueError, match=f"must be a list of keras.callbacks.Callback, and {kind} was given"):
        tk.finetune(tiny, listing, out=tmp_path / "run", callbacks=given, **QUICK)
    assert not (tmp_path / "run").exists()
