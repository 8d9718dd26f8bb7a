"""How long a job still takes: the clock, the work that is left, and the lines that say it."""

import dataclasses
import io
import re
from collections import Counter
from types import SimpleNamespace

import pytest
from conftest import QUICK
from rich.console import Console
from rich.progress import Progress

from transferkit.data.sources.resolve import find_splits
from transferkit.recipe import describe_part
from transferkit.training.clock import Clock, format_duration
from transferkit.training.fitting import progress_bar, work_left
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning import planner


def test_measured_work_is_estimated_by_its_own_speed():
    measured = Clock()
    measured.measure("train all", 10, 2.0)
    assert measured.estimate(Counter({"train all": 30})) == (pytest.approx(6), True)
    assert measured.estimate(Counter({"train all": -30})) == (0, True)


def test_comparable_work_is_scaled_by_multiply_adds_and_other_work_is_not_guessed():
    measured = Clock()
    measured.costs |= {"train head": 1.0, "features": 1e3, "train all": 3e3, "train half": 2e3}
    measured.measure("train head", 10, 1.0)
    assert measured.estimate(Counter({"train all": 100, "train head": 10})) == (pytest.approx(1), False)
    measured.measure("features", 10, 1.0)
    assert measured.estimate(Counter({"train all": 100})) == (pytest.approx(30), True)
    measured.measure("train half", 10, 4.0)  # the nearest cost decides
    assert measured.estimate(Counter({"train all": 100})) == (pytest.approx(60), True)


def test_compilations_are_taken_for_equally_long():
    measured = Clock()
    assert measured.estimate(Counter({"save": 1})) == (0, False)
    measured.measure("start train all", 1, 6.0)
    measured.measure("start validate all", 1, 2.0)
    assert measured.estimate(Counter({"save": 2})) == (pytest.approx(8), True)


def test_a_machine_that_becomes_slower_is_noticed():
    measured = Clock()
    for seconds in [1.0] * 200 + [3.0] * 200:
        measured.measure("train all", 1, seconds)
    assert measured.seconds_each("train all") == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (8.4, "8 s"), (43, "45 s"), (59, "1 min"), (97, "2 min"), (3580, "1 h"), (7900, "2 h 10 min")],
)
def test_durations_are_as_exact_as_an_estimate(seconds, text):
    assert format_duration(seconds) == text


@pytest.fixture(scope="module")
def plan(tiny, pets):
    """Two epochs of the head and two of all."""
    parts = find_splits(pets)
    return planner.plan_pictures(tiny, parts.train, parts.val, None, QUICK)


def make_job(plan, tmp_path, **knobs):
    """A job with a clock of its own, and with knobs changed after planning."""
    return TrainingJob(dataclasses.replace(plan, recipe=plan.recipe.override(**knobs), clock=Clock()), tmp_path, {})


def test_a_job_is_its_phases_its_evaluation_and_the_training_on_all_pictures(plan, tmp_path):
    job = make_job(plan, tmp_path, refit="off", keep="last")
    work = work_left.count_job(job)
    # 20 training pictures in 3 full batches of 8; 4 validation pictures in a batch of 32
    assert (work["train head"], work["train all"]) == (2 * 24, 2 * 24)
    assert (work["validate head"], work["start train all"], work["save"]) == (64, 1, 1)
    assert work["evaluate"] == 4 + 24  # the second time for what the pictures look like
    assert work["features"] == 24  # of the head's phase: training and validation pictures
    twice = work_left.count_job(make_job(plan, tmp_path, refit="on", keep="mix", start="probe"))
    assert (twice["train all"], twice["save"], twice["head"]) == (4 * 24, 1, 2)
    assert twice["evaluate"] == 4 + 5 * 4 + 2 * 20 + 4  # interpolations, and shift.npz


def test_costs_follow_what_is_frozen(plan, tmp_path):
    job = make_job(plan, tmp_path)
    work_left.count_job(job)
    costs = job.plan.clock.costs
    head = 16 * 2  # multiply-adds of the last layer
    assert costs["train head"] == 3 * head and costs["validate head"] == head
    assert costs["train all"] == 3 * costs["evaluate"] == 3 * (costs["features"] + head)


def test_the_work_after_a_phase_includes_other_folds(plan, tmp_path):
    job = make_job(plan, tmp_path, refit="off", keep="last")
    head, body = job.plan.phases
    job.plan.clock.later = Counter({"save": 2})
    assert work_left.count_after_phase(job, head)["train all"] == 48
    last = work_left.count_after_phase(job, body)
    assert "train all" not in last and last["save"] == 3
    assert set(work_left.count_after_phase(TrainingJob(job.plan, tmp_path, {}, is_refit=True), body)) == {"save"}


def test_what_is_not_known_is_said():
    measured = Clock()
    measured.measure("train all", 1, 1.0)
    work = Counter({"train all": 100})
    assert work_left.describe_left(measured, work, may_stop=False) == "about 2 min left"
    assert work_left.describe_left(measured, work, may_stop=True) == "at most 2 min left"
    measured.costs["features"] = 1e9
    work["features"] = 10
    assert work_left.describe_left(measured, work, may_stop=False) == "at least 2 min left"


@pytest.mark.parametrize(
    ("name", "text"), [("all", "the whole network"), ("last-2", "the last two stages"), ("layer3", "layer3 and after")]
)
def test_parts_have_plain_names(name, text):
    assert describe_part(name) == text


@pytest.fixture
def bar(plan, tmp_path, monkeypatch):
    """bar(width) gives a `ProgressBar` of the whole network on a terminal of a width, the display, and the lines."""

    def make(width):
        terminal, lines = Console(file=io.StringIO(), force_terminal=True, width=width), []
        monkeypatch.setattr(progress_bar, "console", terminal)
        monkeypatch.setattr(progress_bar, "say", lines.append)
        bars, job = Progress(console=terminal, auto_refresh=False), make_job(plan, tmp_path, refit="off", keep="last")
        phase, waited = job.plan.phases[1], SimpleNamespace(numpy=lambda: 0.0)
        later = work_left.count_after_phase(job, phase)
        made = progress_bar.ProgressBar(bars, job, phase, 8, later, waited)
        made.set_params({"steps": 3})
        return made, bars, lines

    return make


LOGS = {"loss": 9.0, "cross_entropy": 0.5, "accuracy": 0.75, "val_cross_entropy": 0.6, "val_accuracy": 0.7}


def train_epoch(made, epoch):
    """What `fit` calls; returns the bar's texts after each training step."""
    made.on_epoch_begin(epoch)
    texts = []
    for batch in range(3):
        made.shown = 0.0  # as if a second had passed
        made.on_train_batch_end(batch, LOGS)
        (task,) = made.bars.tasks
        texts.append((task.description, task.completed, task.fields["figures"]))
    made.on_test_begin()
    made.on_test_batch_end(0)
    made.on_epoch_end(epoch, LOGS)
    return texts


def test_the_bar_and_the_line_show_the_same_loss(bar):
    made, bars, lines = bar(120)
    texts = train_epoch(made, 0)
    assert [figures for _, _, figures in texts] == ["loss 0.500"] * 3 and [done for _, done, _ in texts] == [1, 2, 3]
    assert "loss 0.500 (val 0.600)  accuracy 0.750 (val 0.700)" in lines[0] and not bars.tasks


def test_a_refit_shows_no_figures_on_pictures_that_it_is_trained_on(bar):
    made, _, lines = bar(120)
    made.job = dataclasses.replace(made.job, is_refit=True)
    train_epoch(made, 0)
    assert "loss 0.500  accuracy 0.750  " in lines[0] and "val" not in lines[0]


def test_the_first_estimate_comes_after_the_first_measured_step(bar):
    made, _, _ = bar(120)
    texts = [text for text, _, _ in train_epoch(made, 0)]
    assert texts[0] == "epoch 1/2 of the whole network"
    assert all(re.fullmatch(r"epoch 1/2 of the whole network · about \d+ s left", text) for text in texts[1:])


def test_a_line_that_does_not_fit_the_terminal_leaves_to_the_bar_what_it_says(bar):
    made, _, lines = bar(80)
    train_epoch(made, 0)
    assert lines[0].startswith("epoch 1/2  loss") and len(lines[0]) <= 80 and "left" not in lines[0]


def test_the_work_left_of_an_epoch(bar, monkeypatch):
    made, _, _ = bar(120)
    seen = []
    monkeypatch.setattr(work_left, "describe_left", lambda clock, work, may_stop: seen.append(work) or "")
    train_epoch(made, 0)
    # 3 steps of 8 pictures in each of two epochs, and a batch of 32 validation pictures after each
    assert [work["train all"] for work in seen] == [32, 24, 24]  # after the second and third step, and the epoch
    assert [work["validate all"] for work in seen] == [64, 64, 32]
    assert [work["start validate all"] for work in seen] == [1, 1, 0] and all(work["save"] == 1 for work in seen)
    seen.clear()
    train_epoch(made, 1)
    assert [work["train all"] for work in seen] == [24, 16, 8, 0, 0] and not seen[-1]["validate all"]
