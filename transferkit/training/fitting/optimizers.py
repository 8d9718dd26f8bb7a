"""Optimizers: Keras' own update rules, with rates by layer, weight decay by its right name, and a factor on it all."""

import math
import re

import keras
from keras import ops
from keras.optimizers import SGD, Adam, Lamb

from transferkit.keras_internals import count_skipped_steps, variable_index
from transferkit.lookup import pick
from transferkit.recipe import Train
from transferkit.training.fitting import schedules

TRUST = 0.001  # You et al. 2017, section 5: eta


def make(knobs: Train, *, lr: float, steps: int, rates: list[float] | None = None) -> keras.optimizers.Optimizer:
    """The optimizer of a phase, uncompiled. Its `factor`, a scalar weight that starts as 1, multiplies every rate.

    `factor` exists once the optimizer is built; `optimizer.factor.assign(0.1)` is a drop of the rate, and it is saved
    with the other variables. Under a strategy accumulation fails in Keras 3.15 (keras#20582), and clipping looks at
    each replica's gradients by themselves.

    Args:
        lr: highest rate.
        steps: of the phase, in whole batches.
        rates: a factor on the rate of each trainable variable, as `rates` gives them; by default 1.

    Raises:
        UnknownName: the optimizer or its schedule is not known.
    """
    kind, decayed = pick(OPTIMIZERS, knobs.optimizer, "optimizer")
    own = {"momentum": float(knobs.momentum), "nesterov": knobs.nesterov == "on"} if kind is SGD else {}
    return _steered(kind, decayed, knobs, rates)(
        schedules.of_batches(schedules.make(knobs, lr=lr, steps=steps), knobs.accumulate),
        global_clipnorm=knobs.clip or None,
        gradient_accumulation_steps=knobs.accumulate if knobs.accumulate > 1 else None,
        use_ema=knobs.ema > 0,
        ema_momentum=knobs.ema ** (1 / knobs.accumulate),
        **own,
    )


def _steered(kind: type, decayed, knobs: Train, rates: list[float] | None) -> type:
    """A Keras optimizer whose steps look at the variable: its rate, and whether it decays."""

    class Steered(kind):
        def build(self, variables):
            if rates and len(rates) != len(variables):
                raise ValueError(f"{len(rates)} rates were given for {len(variables)} variables: expected one of each.")
            if not self.built:
                self.factor = self.add_variable((), "ones", "float32", "only_first_replica", name="factor")
            super().build(variables)

        def update_step(self, gradient, variable, learning_rate):
            rate = ops.cast(learning_rate * self.factor, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype)
            if rates:
                rate *= rates[variable_index(self, variable)]
            if knobs.decay_on == "all" or len(variable.shape) > 1:
                gradient, rate = decayed(self, gradient, variable, rate, knobs.weight_decay)
            super().update_step(gradient, variable, rate)

        def finalize_variable_values(self, var_list):
            """The end of a `fit` need not be that of the training: the average stays beside the weights."""

    Steered.__name__ = f"Steered{kind.__name__}"
    return Steered


def lessened(optimizer: str, share: float) -> float:
    """The factor on the rate of a batch of a share of the pictures.

    The linear rule of Goyal et al. 2017, section 2.1, for what moves by the gradient; its square root for what moves
    by its sign (You et al. 2020, section 4).
    """
    return share if OPTIMIZERS[optimizer][0] is SGD else math.sqrt(share)


def _apart(optimizer, gradient, variable, rate, decay):
    """The variable shrinks by itself, whatever the moments say (Loshchilov and Hutter 2017, algorithms 1 and 2)."""
    if decay:
        optimizer.assign_sub(variable, ops.multiply(variable, rate * decay))
    return gradient, rate


def _inside(optimizer, gradient, variable, rate, decay):
    """The decay is part of the gradient, so of the momentum (Krizhevsky et al. 2012, section 5)."""
    return gradient + decay * variable, rate


def _trusted(optimizer, gradient, variable, rate, decay):
    """Inside too, and the step is in proportion to the variable's norm (You et al. 2017, equation 6)."""
    size, slope = (ops.sqrt(ops.sum(ops.square(tensor))) for tensor in (variable, gradient))
    both = ops.logical_and(size > 0, slope > 0)  # a head that starts at zero has no size to go by
    trust = TRUST * size / ops.where(both, slope + decay * size, 1.0)
    return gradient + decay * variable, rate * ops.where(both, trust, 1.0)


# name: Keras' update rule, and what weight decay does to it.
# lars: what does not decay has no trust ratio either, so biases and norms move at the plain rate.
# lamb: Keras' trust ratio is of the moments alone, the decay comes apart; You et al. 2020, algorithm 2, has it inside.
OPTIMIZERS = {
    "adamw": (Adam, _apart),
    "sgd": (SGD, _apart),
    "sgd_l2": (SGD, _inside),
    "lars": (SGD, _trusted),
    "lamb": (Lamb, _apart),
}


def rates(model: keras.Model, head: str, decay: float) -> list[float]:
    """Layer-wise rate decay (Howard and Ruder 2018, section 3.2, by stages): a factor for each trainable variable.

    1 for the head and what follows it, `decay` for the last stage, its square for the one before, and so on. A layer is
    of the first stage whose mark (`stage1` ...) is not before it in the model; those between the last mark and the head
    are of the last stage. Where a network has no marks, each layer with weights is a stage.

    Args:
        model: the one that is trained: `losses.side_by_side` may order variables otherwise than the network.
        head: name of the classifier.
    """
    names = [layer.name for layer in model.layers]
    start, factors = names.index(head), {}
    marks = [position for position, name in enumerate(names) if re.fullmatch(r"stage\d+", name)]
    marks = marks or [position for position in range(start) if model.layers[position].weights]
    for position, layer in enumerate(model.layers):
        depth = 0 if position >= start else max(1, sum(position <= mark for mark in marks))
        factors |= {id(variable): decay**depth for variable in layer.trainable_variables}
    return [factors[id(variable)] for variable in model.trainable_variables]


class LossScale(count_skipped_steps(keras.optimizers.LossScaleOptimizer)):
    """Scaling of the loss for float16 that skips a step where any replica's gradients overflow, and counts those.

    Keras 3.15 asks the first replica alone, before the gradients are summed, and infinities of the others end in the
    weights. `skipped` is a whole number among the variables, so it is saved with them, as the scale is.
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
