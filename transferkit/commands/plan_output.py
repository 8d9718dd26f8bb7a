"""What a training will do, before it does it: on the terminal, or as JSON for `--dry-run --json`."""

import math


def document(plan) -> dict:
    """The plan as `--dry-run --json` answers it."""
    import dataclasses

    return {
        "recipe": dataclasses.asdict(plan.recipe),
        "chosen": [dataclasses.asdict(choice) for choice in plan.choices],
        "pictures": {name: part.counts() for name, part in plan.splits.items()},
        "unreadable": [{"path": path, "reason": reason} for path, reason in plan.unreadable],
        "weights": plan.network.loaded,
        "device": plan.device.name,
        "precision": plan.device.policy,
        "phases": _phases(plan),
    }


def show(plan, on):
    """Pictures, network, knobs and why, phases and memory, on a console."""
    from transferkit.console import say, table

    splits, job = plan.splits, plan.recipe
    counts = {name: part.counts() for name, part in splits.items()}
    rows = [[c, *(counts[name][c] for name in counts)] for c in splits.train.classes]
    more = [["...", *("" for _ in counts)]] if len(rows) > 20 else []
    total = [["all", *(len(part) for _, part in splits.items())]]
    table("Pictures", ["class", *counts], rows[:20] + more + total, on)
    for name, part in splits.items():
        if part.ignored:
            ignored = ", ".join(f"{count} {suffix}" for suffix, count in sorted(part.ignored.items()))
            say(f"Passed over in {name}: {ignored}.", on)
    if splits.val_from_train:
        held = f"{job.data.validation:.0%} of each class"
        if splits.train.groups:  # of which no share can be promised
            held = f"{len(splits.val):,} pictures, in whole groups nearest to {held},"
        say(f"No validation pictures are given: {held} are held out.", on)
    pixels = plan.network.pixels
    say("", on)
    say(
        f"{plan.network.base}: {'; '.join(plan.network.loaded) or 'fresh weights'}; on {plan.device.name} in "
        f"{plan.device.policy}; pictures: {pixels.described()}",
        on,
    )
    say("", on)
    flags = [[f"--{c.knob.replace('_', '-')}", str(c.value), c.reason] for c in plan.choices]
    table("Chosen by rule", ["knob", "value", "because"], flags, on)
    columns = ("phase", "epochs", "highest rate", "learns", "parameters", "memory, about")
    phases = [one | {"lr": f"{one['lr']:.2g}", "memory_gb": f"{one['memory_gb']:.2f} GB"} for one in _phases(plan)]
    say("", on)
    table("Phases", columns, [one.values() for one in phases], on)


def _phases(plan) -> list[dict]:
    """What learns in each phase, the rest being frozen, and the memory that takes."""
    from transferkit.explain.geometry import measure
    from transferkit.training.fitting.freezing import release
    from transferkit.training.planning.phases import phases

    model, layers, rows = plan.network.model, measure(plan.network.model, plan.network.pixels.shape), []
    for phase in phases(plan.recipe):
        names = release(plan.network, phase.name, bn=plan.recipe.train.bn)
        first = next(place for place, layer in enumerate(model.layers) if layer.trainable_variables)
        learnt = sum(math.prod(one.shape) for one in model.trainable_variables)
        rows.append(
            {
                "phase": phase.name,
                "epochs": phase.epochs,
                "lr": phase.lr,
                "learns": names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
                "parameters": learnt,
                "memory_gb": round(_memory(plan, learnt, layers[first:]) / 1e9, 2),
            }
        )
    return rows


def _memory(plan, learnt: int, layers) -> float:
    """Bytes on a device, about: weights, gradients and the optimizer's two moments in float32, and the outputs of the
    layers that gradients go through, of a batch.

    Args:
        learnt: parameters that learn.
    """
    knobs = plan.recipe.train
    batch = knobs.batch_size / knobs.accumulate / plan.device.replicas
    width = 4 if plan.device.policy == "float32" else 2
    outputs = sum(math.prod(layer.output) for layer in layers)
    return 4 * (plan.network.model.count_params() + 3 * learnt) + width * batch * outputs
