"""`--log`, against the real libraries without a network."""

import json

import mlflow
import pytest
import wandb
from conftest import QUICK
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import transferkit as tk
from transferkit.atomic import read
from transferkit.lookup import UnknownName
from transferkit.training import trackers


def train(tiny, listing, out, log, **knobs):
    train, val = listing.split(0.3)
    return tk.finetune(tiny, train, val, out=out, log=log, **QUICK | knobs)


def epochs(run):
    return [row for row in run.history if row["epoch"]]


@pytest.fixture(scope="module")
def logged(tiny, listing, tmp_path_factory):
    """A run with three trackers, the MLflow store, and what W&B has when the run is finished."""
    folder, seen, finish = tmp_path_factory.mktemp("logged"), [], wandb.Run.finish
    store = (folder / "mlflow").as_uri()

    def record(tracked, **given):
        seen.append((tracked.project, dict(tracked.config), dict(tracked.summary)))
        finish(tracked, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more than mlflow-skinny
        patch.setattr(wandb.Run, "finish", record)
        run = train(tiny, listing, folder / "run", f"tensorboard,mlflow:{store},wandb:pets")
        yield run, store, seen


def test_mlflow_has_epochs_recipe_and_final_figures(logged, tiny):
    run, store, _ = logged
    client = mlflow.MlflowClient(tracking_uri=store)
    [found] = client.search_runs([client.get_experiment_by_name("transferkit").experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert found.data.params["base"] == tiny and found.data.params["run_folder"] == str(run.folder)
    assert found.data.metrics["final_accuracy"] == pytest.approx(run.metrics["accuracy"])
    points = client.get_metric_history(found.info.run_id, "val_accuracy")
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert [point.value for point in points] == [row["val_accuracy"] for row in epochs(run)]


def test_wandb_has_epochs_recipe_and_final_figures(logged, tiny):
    run, _, [(project, config, summary)] = logged
    assert project == "pets" and config["base"] == tiny
    assert summary["val_accuracy"] == epochs(run)[-1]["val_accuracy"]
    assert summary["final_accuracy"] == run.metrics["accuracy"]
    assert list((run.folder / "wandb").glob("offline-run-*/*.wandb"))


def test_tensorboard_has_epochs_and_final_figures(logged):
    events = EventAccumulator(str(logged[0].folder / "tensorboard"))
    events.Reload()
    values = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors("val_accuracy")]
    rows = enumerate(epochs(logged[0]), start=1)
    assert values == [(step, pytest.approx(row["val_accuracy"])) for step, row in rows]
    [final] = events.Tensors("final_accuracy")
    assert float(make_ndarray(final.tensor_proto)) == pytest.approx(logged[0].metrics["accuracy"])


class Gone:
    """A tracker whose server goes away in the second epoch."""

    calls: list

    def __init__(self, target, folder, parameters, ids):
        type(self).calls = [target]
        ids["mlflow"] = "17"

    def log(self, figures, step):
        self.calls.append(step)
        if step == 2:
            raise ConnectionError("the server is gone.\nmore lines")

    def close(self, failed):
        raise AssertionError("a failed tracker is left alone")


def test_a_tracker_that_fails_is_a_warning(tiny, listing, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(trackers.OPENERS, "mlflow", Gone)
    monkeypatch.setattr(trackers, "find_spec", lambda name: True)
    run = train(tiny, listing, tmp_path / "run", "mlflow:http://nowhere", unfreeze="head", epochs=3, head_epochs=3)
    assert Gone.calls == ["http://nowhere", 1, 2]
    assert len(epochs(run)) == 3
    assert "--log mlflow failed, and training goes on without it: the server is gone." in capsys.readouterr().err
    assert read(tmp_path / "run" / "checkpoints" / trackers.IDS) == {"mlflow": "17"}  # a resumed run goes on there


def test_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UnknownName, match=r'--log wandb needs the extra: pip install "transferkit\[wandb\]"'):
        trackers.parse_log("wandb:pets")


@pytest.mark.parametrize("log", ["mlflow", "wandb:", "comet:pets", "tensorboard:x", "tensorboard,"])
def test_another_value_is_refused(cli, pets, log):
    status, out, err = cli("finetune", "--data", pets, "--log", log, "--json")
    assert status == 2 and not out
    assert f"log must be like tensorboard, mlflow:URI or wandb:PROJECT, not {json.dumps(log)[1:-1]!r}." in err
