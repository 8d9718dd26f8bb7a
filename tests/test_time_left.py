"""How long a job still takes: the clock, the work that is left, and the lines that say it."""

import dataclasses
import re
from collections import Counter

import pytest
from conftest import QUICK

from transferkit.data.sources.resolve import find_splits
from transferkit.recipe import describe_part
from transferkit.training.clock import Clock, format_duration
from transferkit.training.fitting import work_left
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
    return planner.plan_listings(tiny, parts.train, parts.val, None, QUICK)


def make_job(plan, tmp_path, **knobs):
    """A job with a clock of its own, and with knobs changed after planning."""
    return TrainingJob(dataclasses.replace(plan, recipe=plan.recipe.override(**knobs), clock=Clock()), tmp_path, {})


def test_a_job_is_its_phases_its_evaluation_and_the_training_on_all_pictures(plan, tmp_path):
    job = make_job(plan, tmp_path, refit="off", keep="last")
    work = work_left.count_job(job)
    # 20 training pictures in 3 full batches of 8; 4 validation pictures in a batch of 32
    assert (work["train head"], work["train all"]) == (2 * 24, 2 * 24)
    assert (work["validate head"], work["start train all"], work["evaluate"], work["save"]) == (64, 1, 4, 1)
    assert work["features"] == 24  # of the head's phase: training and validation pictures
    twice = work_left.count_job(make_job(plan, tmp_path, refit="on", keep="mix", start="probe"))
    assert (twice["train all"], twice["save"], twice["head"]) == (4 * 24, 1, 2)
    assert twice["evaluate"] == 4 + 5 * 4  # for each weight interpolation too


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


EPOCH = re.compile(
    r"^epoch (\d)/2 of (the \w+(?: network)?)  loss \d\.\d{3}(?: \(val \d\.\d{3}\))?  accuracy \d\.\d{3}"
    r"(?: \(val \d\.\d{3}\))?  [\d.]+ s(?:  \d+% waiting for data)?  (?:about|at least) \d+ (?:s|min) left$",
    flags=re.M,
)


def test_each_epoch_is_one_line_with_the_time_left(cli, tiny, pets):
    knobs = ["--weights", "none", "--size", "32", "--epochs", "4", "--head-epochs", "2", "--batch-size", "8"]
    status, _, err = cli(
        "finetune", "--base", tiny, "--data", pets, "--seed", "3", "--refit", "on", "--keep", "last", *knobs
    )
    first, _, second = err.partition("The same training again")
    assert status == 0
    expected = [(str(epoch), part) for part in ("the head", "the whole network") for epoch in (1, 2)]
    assert EPOCH.findall(first) == expected, err
    # the second network is trained on the validation pictures too, so no figures on them are printed
    assert EPOCH.findall(second) == expected and first.count("(val ") == 8 and "(val " not in second
