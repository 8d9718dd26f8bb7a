"""Print the plan of a training, or convert it to a dict for `--dry-run --json`."""

import math

from transferkit.commands import result_output
from transferkit.lookup import count_noun
from transferkit.recipe import describe_part


def plan_to_dict(plan) -> dict:
    """The plan as `--dry-run --json` prints it."""
    import dataclasses

    return {
        "recipe": dataclasses.asdict(plan.recipe),
        "chosen": [dataclasses.asdict(choice) for choice in plan.choices],
        "pictures": {name: part.counts() for name, part in plan.splits.items()},
        "unreadable": [{"path": path, "reason": reason} for path, reason in plan.unreadable],
        "weights": plan.network.loaded,
        "device": plan.device.name,
        "precision": plan.device.policy,
        "phases": _describe_phases(plan),
    }


def print_plan(plan, on):
    """Print pictures, network, chosen knobs with reasons, phases and memory on a console."""
    from transferkit.console import say, table

    splits = plan.splits
    counts = {name: part.counts() for name, part in splits.items()}
    rows = [[c, *(counts[name][c] for name in counts)] for c in splits.train.classes]
    ellipsis = [["...", *("" for _ in counts)]] if len(rows) > 20 else []
    total = [["total", *(len(part) for _, part in splits.items())]]
    table("Pictures", ["class", *counts], rows[:20] + ellipsis + total, on)
    for name, part in splits.items():
        if part.ignored:
            ignored = ", ".join(f"{count} {suffix}" for suffix, count in sorted(part.ignored.items()))
            say(f"Skipped files in {name} that are not pictures: {ignored}.", on)
    if splits.val_from_train:
        held = f"{plan.recipe.data.validation:.0%} of each class"
        if splits.train.groups:  # whole groups may not add up to the fraction
            held = f"{count_noun(len(splits.val), 'picture')}, in whole groups nearest to {held},"
        say(f"There is no validation split: {held} are held out.", on)
    pixels = plan.network.pixels
    say("", on)
    network = plan.network.base if plan.network.loaded else f"{plan.network.base}, fresh weights"
    facts = (network, *result_output.notable(plan.network.loaded), f"on {plan.device.name} in {plan.device.policy}")
    say(f"{'; '.join(facts)}; pictures: {pixels.describe()}", on)
    say("", on)
    flags = [[f"--{c.knob.replace('_', '-')}", str(c.value), c.reason] for c in plan.choices]
    table("Chosen by rule", ["knob", "value", "because"], flags, on)
    columns = ("phase", "epochs", "peak rate", "trainable", "parameters", "memory")
    phases = [
        row
        | {
            "phase": describe_part(row["phase"]),
            "lr": f"{row['lr']:.2g}",
            "memory_gb": f"~{row['memory_gb']:.2f} GB",
        }
        for row in _describe_phases(plan)
    ]
    say("", on)
    table("Phases", columns, [row.values() for row in phases], on)


def _describe_phases(plan) -> list[dict]:
    """The trainable layers of each phase, and the memory that it takes."""
    from transferkit.explain.geometry import measure_layers

    model, layers, rows = plan.network.model, measure_layers(plan.network.model, plan.network.pixels.shape), []
    positions = {layer.name: position for position, layer in enumerate(model.layers)}
    for phase in plan.phases:
        names = phase.trainable
        rows.append(
            {
                "phase": phase.name,
                "epochs": phase.epochs,
                "lr": phase.lr,
                "learns": names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
                "parameters": phase.parameters,
                "memory_gb": round(_estimate_memory(plan, phase.parameters, layers[positions[names[0]] :]) / 1e9, 2),
            }
        )
    return rows


def _estimate_memory(plan, trainable: int, layers) -> float:
    """Estimate the bytes on a device: weights, gradients and two moments in float32, and the outputs for a batch.

    Args:
        trainable: number of trainable parameters.
        layers: that gradients pass through.
    """
    knobs = plan.recipe.train
    batch = knobs.batch_size / knobs.accumulate / plan.device.replicas
    width = 4 if plan.device.policy == "float32" else 2
    outputs = sum(math.prod(layer.output) for layer in layers)
    return 4 * (plan.network.model.count_params() + 3 * trainable) + width * batch * outputs
