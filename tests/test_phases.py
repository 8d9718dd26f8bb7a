"""Phases of training, and errors before training."""

import numpy as np
import pytest
import tensorflow as tf

from transferkit import models
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation import plots
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.distributed import devices, replicas
from transferkit.training.fitting import freezing
from transferkit.training.planning import advice, planner
from transferkit.training.planning.phases import Phase, make_phases

SETTLED = {"epochs": 7, "head_epochs": 2, "lr": 0.01, "head_lr": 0.1, "views": 4}


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, [Phase("head", 2, 0.1, 1), Phase("all", 5, 0.01, 4)]),
        ({"unfreeze": "head", "views": 2}, [Phase("head", 7, 0.1, 2)]),
        (
            {"unfreeze": "last-stage, all"},
            [Phase("head", 2, 0.1, 1), Phase("last-stage", 3, 0.01, 4), Phase("all", 2, 0.01, 0)],
        ),
        ({"unfreeze": "layer4", "head_epochs": 0}, [Phase("layer4", 7, 0.01, 4)]),
        ({"head_epochs": 7}, [Phase("head", 7, 0.1, 1)]),
    ],
)  # fmt: skip
def test_phases_share_the_epochs(knobs, expected):
    assert make_phases(Recipe().override(**(SETTLED | knobs))) == expected


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"unfreeze": "all,all"}, "different parts"),
        ({"unfreeze": "last-stage,"}, "different parts"),
        ({"unfreeze": "head,all"}, "head_epochs"),
        ({"unfreeze": "last-2,all", "epochs": 3}, "epochs must leave at least 2 for the 2 phases of unfreeze, not 1"),
    ],
)
def test_invalid_phases(knobs, said):
    with pytest.raises(UnknownName, match=said):
        make_phases(Recipe().override(**(SETTLED | knobs)))


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({}, []),
        ({"unfreeze": "head", "head_epochs": 7, "lr": 0.01}, ["lr 0.01 has no effect: only the head is trained"]),
        ({"head_lr": 0.1, "head_epochs": 0}, ["head_lr 0.1 has no effect: the head has no epochs of its own"]),
        ({"momentum": 0.8, "drop": 0.5}, ["momentum 0.8 has no effect", "drop 0.5 has no effect"]),
        ({"momentum": 0.8, "drop": 0.5, "optimizer": "lars", "schedule": "plateau"}, []),
        ({"teacher_share": 0.2}, ["teacher_share 0.2 has no effect: there is no teacher"]),
    ],
)
def test_knobs_without_effect(knobs, said):
    wanted = Recipe().override(**knobs).train
    found = list(advice.find_ineffective_knobs(wanted, Recipe().override(**(SETTLED | knobs)).train))
    assert [sentence[: len(start)] for sentence, start in zip(found, said, strict=True)] == said


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"start": "probe"}, "cannot be initialised by a regression"),
        ({"milestones": "1,2"}, "milestones must be increasing"),
        ({"accumulate": 5}, "cannot be run in 5 parts: use batch_size 20"),
        ({"folds": 2, "workers": "a:1,b:1"}, "omit folds 2, or workers"),
        ({"keep": "mix"}, "keep mix needs the weights of a fitted head: use start probe, or keep best or last."),
        ({"keep": "last", "soup": 2}, "soup 2 averages the best epochs: omit keep last, or soup."),
        ({"refit": "on"}, "refit on leaves no validation pictures to choose the best epoch"),
    ],
)
def test_contradictions_are_refused_before_anything_is_written(tiny, pets, knobs, said):
    wanted = Recipe().override(base=tiny, weights="none", data=str(pets), size=32, batch_size=16, **knobs)
    with pytest.raises(ValueError, match=said):
        planner.make_plan(wanted)


def test_source_knobs_are_refused_for_given_listings(tiny, pets, tmp_path):
    parts = find_splits(pets)
    with pytest.raises(ValueError, match="^group_by is a knob of find_splits"):
        run_job.finetune(tiny, parts.train, parts.val, out=tmp_path / "run", group_by="patient")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("first", "places"), [("probe", [0, 1, 2]), ("head", [1, 2, 3])])
def test_curves_do_not_count_the_regression_as_an_epoch(tmp_path, monkeypatch, first, places):
    drawn = []
    monkeypatch.setattr(plots.Figure, "savefig", lambda self, *_, **__: drawn.extend(self.axes))
    figures = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    epochs = [(first, int(first != "probe")), ("all", 1), ("all", 2)]
    plots.plot_curves([{"phase": phase, "epoch": epoch} | figures for phase, epoch in epochs], tmp_path / "curves.png")
    for axes in drawn:
        assert [list(line.get_xdata()) for line in axes.lines] == [places, places, [places[1] - 0.5] * 2]
    assert len(drawn) == 2


def test_the_legend_covers_no_curve():
    phases = [(phase, epoch) for phase in ("head", "last-stage", "all") for epoch in (1, 2, 3)]
    figures = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    figure = plots.draw_curve([{"phase": phase, "epoch": epoch} | figures for phase, epoch in phases], "loss")
    figure.draw_without_rendering()
    (legend,), (axes,) = figure.legends, figure.axes
    assert not legend.get_window_extent().overlaps(axes.get_window_extent()) and axes.get_legend() is None
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.x1
    assert len(legend.get_texts()) == 4  # training, validation, and where two phases begin


def test_trainable_layers_are_the_same_on_several_devices(tiny):
    network = models.load(tiny, "none")
    freezing.unfreeze(network, "all", bn="stats")
    device = devices.Device("2 x CPU", False, "float32", 2, tf.distribute.get_strategy())
    copy = replicas.replicate_model(network.model, device)
    assert len(copy.trainable_variables) == len(network.model.trainable_variables) == 4
    pictures = np.zeros((1, 32, 32, 3), "float32")
    np.testing.assert_allclose(copy(pictures), network.model(pictures), atol=1e-6)
