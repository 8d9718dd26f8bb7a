"""The knobs as keyword arguments, for editors and type checkers. Written by `tests/record_knobs.py`."""

from typing import TypedDict


class Knobs(TypedDict, total=False):
    """Fields of `recipe.Recipe`; `transferkit finetune --help-all` explains each."""

    image_col: str
    label_col: str
    split_col: str
    image_dir: str
    image_suffix: str
    data_dir: str
    group_by: str
    validation: float
    fraction: float
    per_class: int
    augment: str | None
    pca: str
    weights: str
    pixels: str
    cut: str
    classes: str
    class_order: str
    channels: int | None
    size: int | str | None
    fit: str | None
    unfreeze: str
    start: str | None
    head_layers: str | None
    epochs: int | None
    head_epochs: int | None
    time: str
    batch_size: int | None
    accumulate: int
    views: int | None
    frozen: str
    optimizer: str
    momentum: float
    nesterov: str
    lr: float | None
    lr_per: str
    head_lr: float | None
    layer_decay: float
    schedule: str
    warmup: float
    milestones: str
    drop: float
    patience: int
    power: float
    stop_after: int
    weight_decay: float | None
    decay_on: str
    clip: float
    label_smoothing: float | None
    balance: str
    bn: str | None
    ema: float
    keep: str | None
    refit: str | None
    soup: int
    teacher: str
    teacher_share: float
    temperature: float
    folds: int
    memory: float
    seed: int
    determinism: str
    log: str
    checkpoint_minutes: float
    precision: str
    devices: str
    workers: str
