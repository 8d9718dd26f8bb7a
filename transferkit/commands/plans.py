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
        "memory_gb": round(_memory(plan) / 1e9, 2),
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
    if splits.made:
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
    rows = [
        [one["phase"], one["epochs"], f"{one['lr']:.2g}", one["learns"], f"{one['parameters']:,}"]
        for one in _phases(plan)
    ]
    say("", on)
    table("Phases", ["phase", "epochs", "highest rate", "learns", "parameters"], rows, on)
    say(f"Memory on the device: about {_memory(plan) / 1e9:.1f} GB.", on)


def _phases(plan) -> list[dict]:
    """What learns in each phase, the rest being frozen."""
    from transferkit.training.freezing import release
    from transferkit.training.phases import phases

    rows = []
    for phase in phases(plan.recipe):
        names = release(plan.network, phase.name, bn=plan.recipe.train.bn)
        rows.append(
            {
                "phase": phase.name,
                "epochs": phase.epochs,
                "lr": phase.lr,
                "learns": names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
                "parameters": sum(math.prod(one.shape) for one in plan.network.model.trainable_variables),
            }
        )
    return rows


def _memory(plan) -> float:
    """Bytes on a device, about, where most learns: weights, gradients and the optimizer's two moments in float32, and
    the outputs of all layers that gradients go through, of a batch."""
    from transferkit.explain.geometry import measure
    from transferkit.training.freezing import release

    knobs, model = plan.recipe.train, plan.network.model
    learnt = max(_phases(plan), key=lambda one: one["parameters"])
    release(plan.network, learnt["phase"], bn=knobs.bn)
    layers = measure(model, plan.network.pixels.shape)
    first = next(place for place, layer in enumerate(model.layers) if layer.trainable_variables)
    values = sum(math.prod(layer.output) for layer in layers[first:])
    batch = knobs.batch_size / knobs.accumulate / plan.device.replicas
    width = 4 if plan.device.policy == "float32" else 2
    return 4 * (model.count_params() + 3 * learnt["parameters"]) + width * batch * values
