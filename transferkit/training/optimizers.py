"""Optimizers and the schedule of their rate."""

import keras


def make(name: str, *, lr: float, steps: int, warmup: float, weight_decay: float) -> keras.optimizers.Optimizer:
    """An optimizer whose rate rises evenly from 0 to `lr`, then falls to 0 by a cosine.

    Weight decay is decoupled (Loshchilov and Hutter 2017) and spares biases and norms (He et al. 2019, section 3.1).

    Args:
        name: "adamw" or "sgd" (Nesterov momentum 0.9).
        steps: of the whole phase.
        warmup: share of them in which the rate rises.
    """
    rising = round(warmup * steps)
    falling = max(1, steps - rising)
    if rising:
        rate = keras.optimizers.schedules.CosineDecay(0.0, falling, warmup_target=lr, warmup_steps=rising)
    else:
        rate = keras.optimizers.schedules.CosineDecay(lr, falling)
    if name == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=weight_decay or None)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def compile_for(model: keras.Model, optimizer: keras.optimizers.Optimizer, *, label_smoothing: float):
    """Cross-entropy on one-hot (or soft) labels, and accuracy; in float16 the loss is scaled.

    Keras scales it by itself only where the model's own policy says so, which a functional model does not keep.
    """
    if any(layer.compute_dtype == "float16" for layer in model.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    model.compile(optimizer, loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
