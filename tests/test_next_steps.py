"""What a training suggests to do next, and the closing lines that say it."""

import re

import pytest

from transferkit.commands import result_output
from transferkit.recipe import Recipe
from transferkit.runs import Run
from transferkit.training import next_steps
from transferkit.training.next_steps import Outcome, advise

FIGURES = {
    "accuracy": 0.9, "balanced_accuracy": 0.9, "n": 500, "split": "val", "interrupted": False,
    "confused": [["cat", "dog", 4], ["dog", "cat", 3]],
    "baseline": {"accuracy": 0.85, "added": 0.05},
}  # fmt: skip
LOSSES = (0.5, 0.4, 0.395)  # of validation


def made(figures=None, losses=LOSSES, counts=(100, 90), accuracy=0.95, **knobs):
    """An outcome that needs no advice, with some changes."""
    rows = [{"phase": "all", "epoch": i + 1, "val_loss": loss, "accuracy": accuracy} for i, loss in enumerate(losses)]
    recipe = Recipe().override(**({"lr": 0.001, "epochs": 8} | knobs))
    return Outcome(FIGURES | (figures or {}), rows, dict(zip(("cat", "dog"), counts, strict=True)), recipe)


def test_a_good_training_gets_no_advice():
    assert advise(made()) == []


CASES = {
    "below_baseline": ({"figures": {"baseline": {"added": -0.031}}}, "lost 3.1 points .* lower --lr than 0.001"),
    "still_improving": ({"losses": (0.5, 0.4, 0.36)}, r"whole network .* loss 0.400 to 0.360\).* --epochs 16"),
    "memorised": ({"accuracy": 0.99, "figures": {"accuracy": 0.7}}, "99% of the .* 70% of .* --augment heavy may"),
    "few_in_class": ({"counts": (100, 4), "balance": "weights"}, "Class dog has only 4 training pictures"),
    "few_evaluated": ({"figures": {"n": 36, "confused": []}}, "^36 validation pictures .* --folds 5"),
    "unbalanced": ({"counts": (100, 30), "figures": {"balanced_accuracy": 0.8}}, r"80.0%\): try --balance weights"),
    "confused_pair": ({"figures": {"confused": [["cat", "dog", 13]]}}, "^13 of 50 .* cat for dog: .*mistakes.png"),
}  # fmt: skip
NOT = {
    "below_baseline": [{"figures": {"baseline": None}}, {"figures": {"baseline": {"added": -0.2}}, "unfreeze": "head"}],
    "still_improving": [{"losses": (0.5, 0.3, 0.36)}, {"losses": (0.5, 0.36)}],
    "memorised": [{"accuracy": 0.8, "figures": {"accuracy": 0.7}}],
    "few_in_class": [{"counts": (100, 0)}],
    "few_evaluated": [{"figures": {"n": 36, "split": "test"}}, {"figures": {"n": 36, "split": "folds"}}],
    "unbalanced": [
        {"counts": (100, 30), "figures": {"balanced_accuracy": 0.8}, "balance": "weights"},
        {"counts": (100, 50), "figures": {"balanced_accuracy": 0.8}},
        {"counts": (100, 30)},
    ],
    "confused_pair": [{"figures": {"confused": [["cat", "dog", 2]], "n": 20}}, {"figures": {"confused": []}}],
}


def test_every_advice_has_cases():
    assert {function.__name__ for function in next_steps.ADVICE} == set(CASES) == set(NOT)


@pytest.mark.parametrize("name", CASES)
def test_advice_is_given_where_it_applies(name):
    changes, pattern = CASES[name]
    (sentence,) = advise(made(**changes))
    assert re.search(pattern, sentence)
    assert not [changes for changes in NOT[name] if getattr(next_steps, name)(made(**changes))]


def test_several_classes_with_few_pictures_are_one_sentence():
    assert next_steps.few_in_class(made(counts=(5, 4))).startswith(
        "2 classes have fewer than 10 training pictures, dog 4"
    )


def test_stronger_augmentation_is_not_suggested_twice():
    changes = {"accuracy": 0.99, "figures": {"accuracy": 0.7}, "augment": "heavy | cutmix"}
    assert "augment" not in next_steps.memorised(made(**changes))


def test_the_three_most_useful_are_kept():
    outcome = made({"n": 36, "baseline": {"added": -0.1}}, losses=(0.5, 0.4, 0.3), counts=(9, 3))
    assert [sentence.split()[0] for sentence in advise(outcome)] == ["Training", "The", "2"]


def test_the_closing_lines_say_what_to_look_at_and_do(finished, capsys):
    result_output.print_run(finished)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:] == [
        "advice: 4 validation pictures measure the accuracy roughly: --folds 5 gives a firmer figure.",
        f"look at: report.html, confusion.png, curves.png in {finished.folder}",
        f"next: transferkit predict {finished.folder} PICTURE",
        f"      transferkit evaluate {finished.folder} --data FOLDER",
    ]


def test_commands_can_be_pasted(finished, tmp_path, capsys):
    folder = tmp_path / "my run"
    folder.symlink_to(finished.folder)
    result_output.print_run(Run(folder))
    assert f"transferkit predict '{folder}' PICTURE" in capsys.readouterr().out


def test_folds_have_no_network_to_predict_with(finished, tmp_path, capsys):
    figures = finished.metrics | {"folds": [finished.metrics], "mean": 1.0, "deviation": None, "split": "folds"}
    for name in ("split.csv", "classes.txt", "recipe.toml"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    run = Run(tmp_path)
    run.__dict__["metrics"] = figures
    result_output.print_run(run)
    out = capsys.readouterr().out
    assert out.endswith("next: the same command without --folds trains the network to use\n") and "look at" not in out
    assert "--folds 5" not in out
