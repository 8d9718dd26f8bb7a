"""Losses, optimizers and schedules on JAX without TensorFlow, against TensorFlow."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

SCRIPT = """
import json, sys
if sys.argv[1] == "jax":
    sys.modules["tensorflow"] = None
import keras, numpy as np
from transferkit.recipe import Train
from transferkit.training.fitting import losses, optimizers
from transferkit.training.fitting.distillation import Teacher

rng, seen = np.random.default_rng(0), {}
x, y = rng.normal(size=(16, 3)).astype("float32"), np.eye(2, dtype="float32")[rng.integers(0, 2, 16)]
weights = [rng.normal(size=shape).astype("float32") for shape in ((3, 2), (2,))]
for name, knobs in {"adamw": {"ema": 0.9}, "sgd_l2": {"accumulate": 2}, "lars": {}, "lamb": {"clip": 0.1}}.items():
    inputs = keras.Input((3,))
    student, teacher = (keras.Model(inputs, keras.layers.Dense(2, "tanh")(inputs)) for _ in range(2))
    student.set_weights(weights)
    teacher.set_weights([-w for w in weights])
    model = losses.concatenate_logits(student, Teacher(teacher))
    knobs = Train(optimizer=name, weight_decay=0.1, label_smoothing=0.1, balance="weights", **knobs)
    optimizer = optimizers.make_optimizer(knobs, lr=0.1, steps=8, rate_factors=[0.5, 1.0])
    optimizer = optimizers.LossScale(optimizer, initial_scale=8.0)
    losses.compile_model(model, optimizer, knobs, (10, 6), has_teacher=True)
    model.train_on_batch(x * np.inf, y)
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False).history
    seen[name] = [history["loss"], history["cross_entropy"], *(w.tolist() for w in student.get_weights())]
    seen[name].append(int(optimizer.skipped))
print(json.dumps(seen))
"""


def learnt(backend: str) -> dict:
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", SCRIPT, backend], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax")
def test_jax_trains_the_same_weights_as_tensorflow():
    jax, tensorflow = learnt("jax"), learnt("tensorflow")
    for name, (*figures, skipped) in tensorflow.items():
        for mine, other in zip(jax[name][:-1], figures, strict=True):
            assert np.array(mine) == pytest.approx(np.array(other), rel=1e-4, abs=1e-5)
        assert skipped == jax[name][-1] == 1
