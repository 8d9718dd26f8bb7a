"""The experiments: each finds what its question asks for, the command prints it, and wrong names get an answer."""

import json
import subprocess
import sys

import pytest
from scipy import stats

from transferkit import lab
from transferkit.lab import experiments
from transferkit.lab.experiment import mean_interval


def test_the_interval_over_seeds_is_that_of_a_t_test():
    values = [0.81, 0.9, 0.86, 0.79]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, half = mean_interval(values)
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_the_list_has_every_experiment_with_its_question(cli):
    _, listed, _ = cli("lab")
    assert all(name in listed for name in experiments.by_name())
    rows = json.loads(cli("lab", "--json")[1])
    assert {row["name"] for row in rows} == set(experiments.by_name())
    assert all(row["question"].endswith("?") for row in rows)


def test_names_are_given_once():
    assert sum(map(len, experiments.groups().values())) == len(experiments.by_name())


def test_an_experiment_prints_its_answer_and_writes_its_figure(cli, tmp_path):
    out = tmp_path / "kernel.png"
    status, printed, _ = cli("lab", "flipped-kernel", "--out", out)
    assert not status
    assert "flipped on both axes" in printed
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("flipped-kernl",), "flipped-kernel"),
        (("flipped-kernel", "--seeds", "3"), "omit --seeds"),
        (("flipped-kernel", "--out", "figure.jpg"), "must be a .png file"),
        (("flipped-kernel", "--out", "nowhere/figure.png"), "in an existing folder"),
    ],
)
def test_a_wrong_command_line_is_refused(cli, args, message):
    status, _, said = cli("lab", *args)
    assert status == 2
    assert message in said


def test_seeds_are_checked_in_python_too():
    with pytest.raises(ValueError, match="omit seeds"):
        lab.run("flipped-kernel", seeds=3)


def test_the_list_loads_no_keras():
    code = "import sys; from transferkit.lab import experiments; experiments.by_name(); print('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
