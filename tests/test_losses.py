"""Losses and metrics against formulas in NumPy."""

import keras
import numpy as np
import pytest

from transferkit import models
from transferkit.network import with_policy
from transferkit.recipe import Train
from transferkit.training.fitting import losses, optimizers
from transferkit.training.fitting.distillation import Teacher

RNG = np.random.default_rng(0)
LOGITS, OTHER = RNG.normal(size=(2, 5, 3)).astype("float32")
LABELS = np.eye(3, dtype="float32")[[0, 2, 1, 1, 2]]
PLAIN = {"label_smoothing": 0.0, "weight_decay": 0.0}


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def loss(targets, outputs, *, counts=(1, 1, 1), heads=(1.0,), teacher=False, **knobs):
    return np.array(losses.make_loss(Train(**(PLAIN | knobs)), counts, heads, has_teacher=teacher)(targets, outputs))


def test_label_smoothing():
    expected = -((0.9 * LABELS + 0.1 / 3) * log_softmax(LOGITS)).sum(-1)
    assert loss(LABELS, LOGITS, label_smoothing=0.1) == pytest.approx(expected, rel=1e-5)


def test_class_weights_balance_classes():
    counts = np.array([6, 3, 1])
    weights = losses.compute_class_weights(counts)
    assert weights * counts == pytest.approx(np.full(3, 10 / 3))
    expected = -(weights * LABELS * log_softmax(LOGITS)).sum(-1)
    assert loss(LABELS, LOGITS, counts=counts, balance="weights") == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(losses.compute_class_weights([4, 0])).all()


def test_focal_loss():
    logs = log_softmax(LOGITS)
    expected = -(LABELS * (1 - np.exp(logs)) ** 2 * logs).sum(-1)
    assert loss(LABELS, LOGITS, balance="focal") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balance", ("none", "weights", "sampling", "focal"))
def test_losses_are_linear_in_mixed_labels(balance):
    knobs = {"balance": balance, "label_smoothing": 0.1, "counts": (6, 3, 1)}
    mixed = loss(0.3 * LABELS + 0.7 * LABELS[::-1], LOGITS, **knobs)
    apart = 0.3 * loss(LABELS, LOGITS, **knobs) + 0.7 * loss(LABELS[::-1], LOGITS, **knobs)
    assert mixed == pytest.approx(apart, rel=1e-5)


def test_auxiliary_heads_have_loss_weights():
    outputs = np.concatenate([LOGITS, OTHER, LOGITS[::-1]], -1)
    expected = sum(weight * loss(LABELS, block) for weight, block in ((1, LOGITS), (0.3, OTHER), (0.2, LOGITS[::-1])))
    assert loss(LABELS, outputs, heads=(1.0, 0.3, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_distillation():
    soft = np.exp(log_softmax(OTHER / 4))
    expected = 0.25 * loss(LABELS, LOGITS) - 0.75 * 16 * (soft * log_softmax(LOGITS / 4)).sum(-1)
    outputs = np.concatenate([LOGITS, OTHER], -1)
    knobs = {"teacher_share": 0.75, "temperature": 4.0}
    assert loss(LABELS, outputs, teacher=True, **knobs) == pytest.approx(expected, rel=1e-5)


def linear(width=3):
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(width, name="fc")(inputs))


def compiled(model, *, counts=(1, 1, 1), heads=(1.0,), teacher=False, **knobs):
    knobs = Train(optimizer="sgd", schedule="constant", warmup=0.0, **(PLAIN | knobs))
    optimizer = optimizers.make_optimizer(knobs, lr=0.1, steps=10)
    losses.compile_model(model, optimizer, knobs, counts, loss_weights=heads, has_teacher=teacher)
    return model


def test_gradients_hold_for_weighted_soft_labels():
    counts, soft = (6, 3, 1), 0.3 * LABELS + 0.7 * LABELS[::-1]
    model = compiled(linear(), counts=counts, balance="weights", momentum=0.0)
    kernel, bias = model.get_weights()
    shares, weighted = np.exp(log_softmax(LOGITS @ kernel + bias)), soft * losses.compute_class_weights(counts)
    slope = LOGITS.T @ (shares * weighted.sum(-1, keepdims=True) - weighted) / 5
    model.train_on_batch(LOGITS, soft)
    assert model.get_weights()[0] == pytest.approx(kernel - 0.1 * slope, rel=1e-4, abs=1e-6)


def test_metrics_use_the_first_block_without_padding():
    model = compiled(linear(6), heads=(1.0, 0.3), balance="weights", counts=(6, 3, 1), label_smoothing=0.1)
    logits = model(LOGITS).numpy()[:, :3]
    padded, labels = np.concatenate([LOGITS, OTHER[:3]]), np.concatenate([LABELS, LABELS[:3]])
    figures = model.evaluate(
        padded, labels, sample_weight=np.r_[np.ones(5), np.zeros(3)], batch_size=4, verbose=0, return_dict=True
    )
    assert figures["accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == LABELS.argmax(-1)))
    assert figures["cross_entropy"] == pytest.approx(-(LABELS * log_softmax(logits)).sum(-1).mean(), rel=1e-5)


def test_accuracy_uses_the_larger_fraction_of_a_mixed_label():
    model = compiled(linear())
    answers = np.eye(3, dtype="float32")[model(LOGITS).numpy().argmax(-1)]
    mixed = 0.6 * answers + 0.4 * np.roll(answers, 1, -1)
    assert model.evaluate(LOGITS, mixed, verbose=0, return_dict=True)["accuracy"] == 1.0
    assert model.evaluate(LOGITS, 1 - mixed, verbose=0, return_dict=True)["accuracy"] == 0.0


def test_a_single_output_keeps_the_model():
    model = linear()
    assert losses.concatenate_logits(model) is model


def test_auxiliary_heads_are_concatenated_in_order():
    inputs = keras.Input((3,))
    named = {name: keras.layers.Dense(2, name=name)(inputs) for name in ("aux1", "aux2", "logits")}
    model = keras.Model(inputs, named)
    together, named = losses.concatenate_logits(model, outputs=("logits", "aux2", "aux1")), model(LOGITS)
    expected = np.concatenate([named[name] for name in ("logits", "aux2", "aux1")], -1)
    assert together(LOGITS).numpy() == pytest.approx(expected, rel=1e-5)
    assert {id(v) for v in together.trainable_variables} == {id(v) for v in model.trainable_variables}


def sized(side, *, name="student"):
    """Mean colours, half of them dropped in training, to logits: fit for pictures of a side."""
    inputs = keras.Input((side, side, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="fc")(keras.layers.Dropout(0.5, seed=0)(x)), name=name)


def test_a_teacher_is_not_changed():
    student, teacher = sized(8), sized(16, name="master")
    model = compiled(
        losses.concatenate_logits(student, Teacher(teacher, (16, 16))), counts=(1, 1), teacher=True, teacher_share=1.0
    )
    pictures = np.repeat(RNG.uniform(0, 9, (6, 1, 1, 3)).astype("float32"), 8, 1).repeat(8, 2)
    labels = np.eye(2, dtype="float32")[[0, 1, 0, 1, 0, 1]]
    answers, before = teacher(pictures.repeat(2, 1).repeat(2, 2)).numpy(), teacher.get_weights()
    assert model(pictures, training=True).numpy()[:, 2:] == pytest.approx(answers, rel=1e-4)  # no dropout, no batch
    assert len(model.trainable_variables) == len(student.trainable_variables) == 4
    first = student.get_weights()
    model.fit(pictures, labels, epochs=1, verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, teacher.get_weights(), strict=True))
    assert not np.array_equal(first[-2], student.get_weights()[-2])


def test_float16_scales_its_loss_and_blocks_are_float32(tiny):
    half = with_policy(models.load(tiny, "none"), "mixed_float16").model
    inputs = keras.Input((None, None, 3))
    teacher = keras.Model(inputs, keras.layers.Dense(1000)(keras.layers.GlobalAveragePooling2D()(inputs)))
    model = compiled(losses.concatenate_logits(half, Teacher(teacher)), counts=[1] * 1000, teacher=True)
    assert isinstance(model.optimizer, optimizers.LossScale)
    assert model.output.dtype == "float32"
    assert not isinstance(compiled(linear()).optimizer, optimizers.LossScale)
