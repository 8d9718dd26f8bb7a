"""`--log`, against the real libraries without a network; a library that is missing is skipped."""

import json

import pytest
from conftest import QUICK

import transferkit as tk
from transferkit.atomic import read
from transferkit.lookup import UnknownName
from transferkit.training import trackers


def train(tiny, listing, out, log):
    train, val = listing.split(0.3)
    return tk.finetune(tiny, train, val, out=out, log=log, **QUICK)


def epochs(run):
    return [row for row in run.history if row["epoch"]]


@pytest.mark.filterwarnings("ignore")  # MLflow's own, on its older stores
def test_mlflow_has_epochs_recipe_and_final_figures(tiny, listing, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = train(tiny, listing, tmp_path / "run", f"mlflow:{uri}")
    client = mlflow.MlflowClient(tracking_uri=uri)
    [found] = client.search_runs([client.get_experiment_by_name("transferkit").experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert found.data.params["base"] == tiny and found.data.params["run_folder"] == str(tmp_path / "run")
    assert found.data.metrics["final_accuracy"] == pytest.approx(run.metrics["accuracy"])
    logged = client.get_metric_history(found.info.run_id, "val_accuracy")
    assert [point.step for point in logged] == [1, 2, 3, 4]
    assert [point.value for point in logged] == [row["val_accuracy"] for row in epochs(run)]


def test_wandb_has_epochs_recipe_and_final_figures(tiny, listing, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    seen, init = [], wandb.init
    monkeypatch.setattr(wandb, "init", lambda **given: seen.append(init(**given)) or seen[-1])
    run = train(tiny, listing, tmp_path / "run", "wandb:pets")
    [tracked] = seen
    assert tracked.project == "pets" and tracked.config["base"] == tiny
    assert tracked.summary["val_accuracy"] == epochs(run)[-1]["val_accuracy"]
    assert tracked.summary["final_accuracy"] == run.metrics["accuracy"]
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_tensorboard_has_epochs_and_final_figures(tiny, listing, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    run = train(tiny, listing, tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    values = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors("val_accuracy")]
    assert values == [(step, pytest.approx(row["val_accuracy"])) for step, row in enumerate(epochs(run), start=1)]
    [final] = events.Tensors("final_accuracy")
    assert float(make_ndarray(final.tensor_proto)) == pytest.approx(run.metrics["accuracy"])


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
    run = train(tiny, listing, tmp_path / "run", "mlflow:http://nowhere")
    assert Gone.calls == ["http://nowhere", 1, 2]
    assert len(epochs(run)) == 4
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
