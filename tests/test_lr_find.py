"""The search for a learning rate: its suggestion, and an unchanged model afterwards."""

import dataclasses
import json
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from transferkit.evaluation import plots
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe, Train
from transferkit.training import lr_find
from transferkit.training.fitting import checkpoints, fit_phase, losses, optimizers
from transferkit.training.planning import plan_completion, planner

WORDS = ("--base", "tiny", "--weights", "none", "--size", 32, "--batch-size", 4, "--epochs", 2, "--head-epochs", 1)


@pytest.fixture
def model():
    """With dropout and batch norm, compiled as training compiles, after one step."""
    keras.utils.set_random_seed(0)
    pictures = keras.Input((6,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, "relu")(pictures))
    model = keras.Model(pictures, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(hidden)))
    knobs = Train(optimizer="sgd", weight_decay=0.01, label_smoothing=0.0, schedule="constant", warmup=0.0)
    losses.compile_model(model, optimizers.make_optimizer(knobs, lr=0.1, steps=9), knobs, [4, 4])
    model.train_on_batch(*next(batches()))
    return model


@pytest.fixture
def plan(tiny, pets):
    return planner.make_plan(
        Recipe().override(base=tiny, data=str(pets), weights="none", size=32, batch_size=4, epochs=1, head_epochs=0)
    )


def on(plan, **facts):
    """The plan on another device."""
    return dataclasses.replace(plan, device=dataclasses.replace(plan.device, **facts))


def batches():
    rng = np.random.default_rng(0)
    while True:
        labels = rng.integers(0, 2, 8)
        yield rng.normal(labels[:, None], 1, (8, 6)).astype("float32"), np.eye(2, dtype="float32")[labels]


def test_a_search_leaves_the_model_unchanged(model):
    random.seed(1)
    np.random.seed(1)
    before, chance = checkpoints.capture_variables(model), (random.getstate(), np.random.get_state())
    rates, found = lr_find.sweep(model, batches())
    assert len(rates) == len(found) > 20
    after = checkpoints.capture_variables(model)
    assert before.keys() == after.keys()
    assert any("seed_generator" in name for name in before) and any("metrics" in name for name in before)
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name], tensor, err_msg=name)
    assert random.getstate() == chance[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), chance[1], strict=True))
    # and the next step, with its dropout, is the one that it would have been
    stepped = {name: tensor.copy() for name, tensor in after.items()}
    model.train_on_batch(*next(batches()))
    once = checkpoints.capture_variables(model)
    checkpoints.restore_variables(model, stepped)
    lr_find.sweep(model, batches())
    model.train_on_batch(*next(batches()))
    for name, tensor in checkpoints.capture_variables(model).items():
        if not name.startswith(checkpoints.METRICS):
            np.testing.assert_array_equal(tensor, once[name], err_msg=name)


def test_the_reported_rate_is_used(model, monkeypatch):
    seen = []

    def step(values, labels, return_dict):
        seen.append(float(model.optimizer.factor) * float(model.optimizer.learning_rate))
        return {"loss": 1.0}

    monkeypatch.setattr(model, "train_on_batch", step)
    rates, found = lr_find.sweep(model, batches())
    assert seen == pytest.approx(rates, rel=1e-5) and found == pytest.approx([1.0] * lr_find.STEPS)
    assert (rates[0], rates[-1]) == (pytest.approx(1e-7), pytest.approx(10.0))


def test_it_stops_at_a_nan_loss(model, monkeypatch):
    given = iter([1.0, 0.9, 0.8, float("nan")])
    monkeypatch.setattr(model, "train_on_batch", lambda *_, **__: {"loss": next(given)})
    rates, found = lr_find.sweep(model, batches())
    assert len(rates) == len(found) == 3 and found == sorted(found, reverse=True)


def test_suggestions():
    rates = np.geomspace(1e-7, 10, 100)
    losses = np.where(rates < 0.1, 2 - 1 / (1 + (1e-3 / rates) ** 2), rates * 10)
    found = lr_find.suggest_rate(rates.tolist(), losses.tolist())
    assert found.minimum == pytest.approx(0.1, rel=0.2)
    assert found.suggestion == pytest.approx(0.01, rel=0.2)
    assert found.steepest == pytest.approx(1e-3, rel=0.2)
    assert found.drop == pytest.approx(1, abs=0.02) and not found.is_flat


def smoothed(losses):
    """What `sweep` makes of the losses of single steps."""
    mean, found = 0.0, []
    for step, loss in enumerate(losses):
        mean = lr_find.SMOOTHING * mean + (1 - lr_find.SMOOTHING) * loss
        found.append(mean / (1 - lr_find.SMOOTHING ** (step + 1)))
    return found


RATES = np.geomspace(1e-7, 10, 100)


def test_noise_alone_is_flat():
    rng, told = np.random.default_rng(0), []
    for _ in range(400):
        losses = rng.normal(1, 0.3, 100)
        found = lr_find.suggest_rate(RATES.tolist(), smoothed(losses))
        told.append(not found.is_flat)
        assert (found.suggestion is None) == found.is_flat
        assert not found.drop or found.noise < 0.5
    assert np.mean(told) < 0.03


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.25])
def test_a_valley_is_not_flat(noise):
    """It falls from 2.3 to 0.8, and then rises for ever."""
    rng, curve = np.random.default_rng(0), 2.3 - 1.5 / (1 + (1e-3 / RATES) ** 1.5) + 4 * RATES**2
    for _ in range(50):
        found = lr_find.suggest_rate(RATES.tolist(), smoothed(curve + rng.normal(0, noise, 100)))
        assert not found.is_flat and 1e-4 < found.suggestion < 0.1


def test_the_noise_is_that_around_the_curve():
    losses = np.random.default_rng(0).normal(0, 0.2, 100) + np.linspace(5, 4, 100)
    found = lr_find.suggest_rate(RATES.tolist(), smoothed(losses))
    np.testing.assert_allclose(lr_find._undo_smoothing(smoothed(losses)), losses)
    assert found.noise == pytest.approx(0.2, rel=0.2) and found.drop == pytest.approx(0.9, rel=0.2)


@pytest.mark.slow
def test_the_command_prints_and_plots(cli, pets, tmp_path):
    status, out, err = cli("lr-find", *WORDS, "--data", pets, "--json")
    assert status == 0, err
    answer = json.loads(out)
    facts = {"suggestion", "steepest", "minimum", "knob", "rates", "losses", "plot"}
    assert set(answer) == facts | {"rule", "reason", "factor", "flat", "drop", "noise"}
    assert (
        answer["rule"] == pytest.approx(1e-3 * (4 / 32) ** 0.5, rel=0.01) and "1e-3 for 32 pictures" in answer["reason"]
    )
    assert answer["factor"] == pytest.approx(answer["suggestion"] / answer["rule"])
    assert len(answer["rates"]) == len(answer["losses"]) > 10
    assert (tmp_path / "lr-find.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"lr-find.png", "home"}
    status, _, err = cli("lr-find", *WORDS, "--data", pets)
    assert status == 2 and "lr-find.png exists" in err
    status, out, _ = cli("lr-find", *WORDS, "--data", pets, "--overwrite")
    assert status == 0 and "the plot is lr-find.png" in out


@pytest.mark.parametrize("words", [("--out", "no/plot.png"), ("--out", "plot.xyz"), ("--folds", 3), ("--time", "1m")])
def test_invalid_options_are_refused_before_the_search(cli, pets, words):
    assert cli("lr-find", *WORDS, "--data", pets, *words)[0] == 2


def test_the_rate_of_the_head_alone(plan):
    found = lr_find.find_rate(
        plan_completion.renew_plan(dataclasses.replace(plan, recipe=plan.recipe.override(unfreeze="head")))
    )
    assert (found.knob, found.rule, found.reason) == ("head_lr", 3e-3, "adamw, one layer")


def test_the_rule_is_shown_for_any_given_rate(plan, monkeypatch):
    """And where the curve is flat, its rate is the suggestion."""
    flat = (RATES.tolist(), [1.0] * 100)
    monkeypatch.setattr(fit_phase, "run_within_memory", lambda *_: flat)
    for rate in (None, 0.5):
        found = lr_find.find_rate(
            dataclasses.replace(plan, recipe=plan.recipe.override(lr=rate) if rate else plan.recipe)
        )
        assert found.suggestion == found.rule == pytest.approx(1e-3 * (4 / 32) ** 0.5, rel=0.01)
        assert found.is_flat and found.factor == 1 and found.minimum is None


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        (
            {"suggestion": 0.01, "minimum": 0.1, "steepest": 0.02},
            ("--lr 0.01: a tenth of 0.1", "50 times higher"),
        ),
        (
            {"suggestion": 1e-5, "minimum": None, "steepest": 1e-5},
            ("--lr 1e-05: where the loss fell fastest, as it has no minimum", "20 times lower"),
        ),
        (
            {"suggestion": 2e-4, "minimum": 0.1, "steepest": 0.02, "drop": 0.1},
            ("too flat: ", "--lr 0.0002 (why)"),
        ),
        ({"suggestion": 2e-4, "minimum": None, "steepest": None, "drop": 0}, ("no rate up to 1", "--lr 0.0002 (why)")),
    ],
)
def test_printed_lines_and_marks(cli, pets, monkeypatch, facts, lines):
    found = lr_find.RateSearch(**{"rates": [0.1, 1], "losses": [2, 1], "drop": 1, "noise": 0.1, "rule": 2e-4} | facts)
    drawn = []
    monkeypatch.setattr(lr_find, "find_rate", lambda _: dataclasses.replace(found, reason="why"))
    monkeypatch.setattr(plots, "plot_rates", lambda rates, losses, marks, path: drawn.append(marks) or path.touch())
    status, out, _ = cli("lr-find", *WORDS, "--data", pets)
    first, second, third = out.splitlines()
    assert status == 0 and lines[0] in first and lines[1] in second and third == "the plot is lr-find.png"
    assert "0.0002 (why)" in second
    assert drawn[0]["rule"] == 2e-4 and ("suggestion" in drawn[0]) == (not found.is_flat)


@pytest.mark.slow
def test_out_of_memory_in_a_step(plan, monkeypatch, capsys):
    sizes, step = [], keras.Model.train_on_batch

    def exhausted(self, pictures, labels, **ways):
        sizes.append(len(pictures))
        if len(pictures) > 2 and len(sizes) > 1:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4,32,32,3]")
        return step(self, pictures, labels, **ways)

    monkeypatch.setattr(keras.Model, "train_on_batch", exhausted)
    found = lr_find.find_rate(plan)
    assert sizes[:2] == [4, 4] and set(sizes[2:]) == {2} and len(found.rates) > 10
    assert capsys.readouterr().err.count("each batch of 4 pictures is run in 2 parts") == 1


def test_without_a_minimum():
    rates = np.geomspace(1e-7, 10, 60).tolist()
    falling = lr_find.suggest_rate(rates, np.linspace(2, 1, 60).tolist())
    assert falling.minimum is None and falling.suggestion == falling.steepest > rates[lr_find.SETTLED - 1]
    for curve in ([1.0], [1.0] * 60, np.linspace(1, 2, 60).tolist()):
        assert lr_find.suggest_rate(rates[: len(curve)], curve).suggestion is None
    with pytest.raises(ValueError, match="NaN even at a learning rate of 1e-07"):
        lr_find.suggest_rate([], [])


def test_a_small_first_loss_does_not_stop_it(model, monkeypatch):
    given = iter([1e-6] + [0.1] * lr_find.STEPS)
    monkeypatch.setattr(model, "train_on_batch", lambda *_, **__: {"loss": next(given)})
    assert len(lr_find.sweep(model, batches())[0]) == lr_find.STEPS


@pytest.mark.slow
def test_the_same_search_twice(tiny, pets):
    wanted = Recipe().override(base=tiny, data=str(pets), weights="none", size=32, batch_size=4, epochs=1)
    first, again = (lr_find.find_rate(planner.make_plan(wanted)) for _ in range(2))
    assert again.losses == pytest.approx(first.losses, rel=1e-3)


@pytest.mark.slow
def test_under_a_strategy(plan):
    assert len(lr_find.find_rate(on(plan, strategy=tf.distribute.MirroredStrategy(["CPU:0"]))).losses) > 10


def test_workers_are_refused(plan):
    with pytest.raises(UnknownName, match="not by several workers"):
        lr_find.find_rate(on(plan, shard=(0, 2)))
