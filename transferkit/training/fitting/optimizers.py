"""Optimizers: Keras' own update rules, with rates by layer, weight decay as the papers have it, and a rate factor."""

import math
import re
from typing import Any

import keras
from keras import ops
from keras.optimizers import SGD, Adam, Lamb

from transferkit.keras_internals import adam_moments, count_skipped_steps, variable_index
from transferkit.lookup import look_up
from transferkit.recipe import Train
from transferkit.training.fitting import schedules

TRUST = 0.001  # You et al. 2017, section 5: eta


def make_optimizer(
    knobs: Train, *, lr: float, steps: int, rate_factors: list[float] | None = None
) -> keras.optimizers.Optimizer:
    """The optimizer of a phase, unbuilt. Its `factor`, a scalar weight that starts at 1, multiplies every rate.

    `factor` exists once the optimizer is built; `optimizer.factor.assign(0.1)` drops the rate, and it is saved with the
    other variables. Under a strategy, accumulation fails in Keras 3.15 (keras#20582), and each replica's gradients are
    clipped separately.

    Args:
        knobs: `optimizer`, `schedule` and their knobs.
        lr: highest rate.
        steps: of the phase, in whole batches.
        rate_factors: of each trainable variable, as `compute_rate_factors` returns them; by default 1.

    Raises:
        UnknownName: the optimizer or its schedule is not known.
    """
    rule, apply_decay = look_up(OPTIMIZERS, knobs.optimizer, "optimizer")
    momentum = {"momentum": float(knobs.momentum), "nesterov": knobs.nesterov == "on"} if rule is SGD else {}
    schedule = schedules.make_schedule(knobs, lr=lr, steps=steps)
    if knobs.accumulate > 1:
        schedule = schedules.AccumulatedSchedule(schedule, knobs.accumulate)
    return _extend_rule(rule, apply_decay, knobs, rate_factors)(
        schedule,
        global_clipnorm=knobs.clip or None,
        gradient_accumulation_steps=knobs.accumulate if knobs.accumulate > 1 else None,
        use_ema=knobs.ema > 0,
        ema_momentum=knobs.ema ** (1 / knobs.accumulate),
        **momentum,
    )


def _extend_rule(rule: type, apply_decay, knobs: Train, rate_factors: list[float] | None) -> type:
    """A subclass of a Keras optimizer whose steps depend on the variable: its rate, and whether it decays."""

    class Extended(rule):
        def build(self, variables):
            if rate_factors and len(rate_factors) != len(variables):
                raise ValueError(
                    f"rate_factors has {len(rate_factors)} values for {len(variables)} variables: expected one each."
                )
            if not self.built:
                self.factor = self.add_variable((), "ones", "float32", "only_first_replica", name="factor")
            super().build(variables)

        def update_step(self, gradient, variable, learning_rate):
            rate = ops.cast(learning_rate * self.factor, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype)
            if rate_factors:
                rate *= rate_factors[variable_index(self, variable)]
            if knobs.decay_on == "all" or len(variable.shape) > 1:
                gradient, rate = apply_decay(self, gradient, variable, rate, knobs.weight_decay)
            if rule is not Adam or not _run_adam_kernel(self, gradient, variable, rate):
                super().update_step(gradient, variable, rate)

        def finalize_variable_values(self, var_list):
            """Keep the average beside the weights: the end of a `fit` need not be the end of the training."""

    Extended.__name__ = f"Extended{rule.__name__}"
    return Extended


def _run_adam_kernel(optimizer, gradient, variable, rate) -> bool:
    """Do what `keras.optimizers.Adam.update_step` does by one kernel of TensorFlow's, in less than half the time.

    Returns:
        Whether it was done: only on TensorFlow, without a strategy, for a variable in float32.
    """
    if keras.backend.backend() != "tensorflow" or variable.dtype != "float32":
        return False
    import tensorflow as tf

    if tf.distribute.has_strategy():
        return False
    steps = tf.cast(optimizer.iterations + 1, "float32")
    m, v = (moment.value.handle for moment in adam_moments(optimizer, variable))
    betas = {"beta1": optimizer.beta_1, "beta2": optimizer.beta_2}
    powers = {f"{name}_power": tf.pow(beta, steps) for name, beta in betas.items()}
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle, m=m, v=v, lr=rate, epsilon=optimizer.epsilon, grad=gradient, **betas, **powers
    )
    return True


def scale_rate(optimizer: str, fraction: float) -> float:
    """The factor on the rate for a batch of a fraction of the pictures.

    The fraction itself where steps are proportional to the gradient (Goyal et al. 2017, section 2.1), its square root
    where gradients are normalised (You et al. 2020, section 4).
    """
    return fraction if OPTIMIZERS[optimizer][0] is SGD else math.sqrt(fraction)


def _decoupled_decay(optimizer, gradient, variable, rate, decay):
    """The variable shrinks apart from the moments (Loshchilov and Hutter 2017, algorithms 1 and 2)."""
    if decay:
        optimizer.assign_sub(variable, ops.multiply(variable, rate * decay))
    return gradient, rate


def _l2_decay(optimizer, gradient, variable, rate, decay):
    """The decay is part of the gradient, and so of the momentum (Krizhevsky et al. 2012, section 5)."""
    return gradient + decay * variable, rate


def _lars_decay(optimizer, gradient, variable, rate, decay):
    """As `_l2_decay`, and the step is proportional to the variable's norm (You et al. 2017, equation 6)."""
    weight_norm, gradient_norm = (ops.sqrt(ops.sum(ops.square(tensor))) for tensor in (variable, gradient))
    defined = ops.logical_and(weight_norm > 0, gradient_norm > 0)  # the norm of a head that starts at zero is 0
    trust = TRUST * weight_norm / ops.where(defined, gradient_norm + decay * weight_norm, 1.0)
    return gradient + decay * variable, rate * ops.where(defined, trust, 1.0)


# name: Keras' update rule, and how weight decay is applied.
# lars: what does not decay has no trust ratio either, so biases and norms move at the plain rate.
# lamb: Keras' trust ratio is of the moments alone, the decay comes apart; You et al. 2020, algorithm 2, has it inside.
OPTIMIZERS = {
    "adamw": (Adam, _decoupled_decay),
    "sgd": (SGD, _decoupled_decay),
    "sgd_l2": (SGD, _l2_decay),
    "lars": (SGD, _lars_decay),
    "lamb": (Lamb, _decoupled_decay),
}


def compute_rate_factors(model: keras.Model, head: str, decay: float) -> list[float]:
    """Layer-wise rate decay (Howard and Ruder 2018, section 3.2, by stages): a factor for each trainable variable.

    1 for the head and what follows it, `decay` for the last stage, its square for the stage before, and so on. A layer
    belongs to the first stage whose mark (`stage1` ...) comes after it in the model; layers between the last mark and
    the head belong to the last stage. Where a network has no marks, each layer with weights is a stage.

    Args:
        model: the one that is trained: `losses.concatenate_logits` may order variables differently from the network.
        head: name of the classifier.
        decay: factor from each stage to the one before it, between 0 and 1.
    """
    names = [layer.name for layer in model.layers]
    start = names.index(head)
    factors: dict[int, float] = {}
    marks = [position for position, name in enumerate(names) if re.fullmatch(r"stage\d+", name)]
    marks = marks or [position for position in range(start) if model.layers[position].weights]
    for position, layer in enumerate(model.layers):
        depth = 0 if position >= start else max(1, sum(position <= mark for mark in marks))
        factors |= {id(variable): decay**depth for variable in layer.trainable_variables}
    return [factors[id(variable)] for variable in model.trainable_variables]


_CountingLossScale: Any = count_skipped_steps(keras.optimizers.LossScaleOptimizer)


class LossScale(_CountingLossScale):
    """Loss scaling for float16 that skips a step where any replica's gradients overflow, and counts such steps.

    Keras 3.15 only checks the first replica, before the gradients are summed, so infinities of the others end up in the
    weights. `skipped`, an integer, is among the variables, so it is saved with them, as the scale is.
    """

    @property
    def factor(self):
        """The wrapped optimizer's."""
        return self.inner_optimizer.factor

    def check_finite(self, grads):
        finite = super().check_finite(grads)
        if keras.backend.backend() != "tensorflow":
            return finite
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return finite
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(tf.logical_not(finite), tf.float32)) < 0.5
