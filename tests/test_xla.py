"""Whether the steps of a training are compiled by XLA."""

import dataclasses
from types import SimpleNamespace

import pytest
import tensorflow as tf

from transferkit.recipe import Recipe
from transferkit.training.fitting import fit_phase
from transferkit.training.fitting.checkpoints import State
from transferkit.training.planning import planner


@pytest.mark.parametrize("gpu", [False, True])
def test_steps_on_the_cpu_are_not_compiled_by_xla(tiny, pets, monkeypatch, gpu):
    plan = planner.make_plan(Recipe().override(base=tiny, weights="none", data=str(pets)))
    train = plan.splits.train
    data = SimpleNamespace(model=plan.network.model, labels=train.labels, paths=train.paths, loss_weights=(1.0,))
    plan = dataclasses.replace(plan, device=dataclasses.replace(plan.device, gpu=gpu))
    devices = [SimpleNamespace(device_type=kind) for kind in ("CPU", "GPU")]  # of the machine, not of the training
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    assert fit_phase.compile_phase(plan, State(), plan.phases[-1], data).jit_compile is gpu
