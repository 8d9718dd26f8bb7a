"""What a person should know about a plan before it is trained, one sentence each."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from transferkit import hub, runs
from transferkit.data.audit.before_training import SPLITS
from transferkit.data.listing import Splits
from transferkit.lookup import count_noun
from transferkit.recipe import Train

UNEQUAL = 3  # times the pictures of the smallest class, from which on a balance is suggested


def find_ineffective_knobs(knobs: Train, resolved: Train) -> Iterator[str]:
    """A sentence for each knob that was set but has no effect.

    Args:
        knobs: as the user gave them; a knob at its default was not set.
        resolved: the same with every knob chosen.
    """
    for knob in fields(Train):
        value, effect = getattr(knobs, knob.name), knob.metadata["effect"]
        if effect and value != knob.default:
            has_effect, reason = effect
            if not has_effect(resolved):
                yield f"{knob.name} {value} has no effect: {reason}."


def suggest_balance(class_counts: dict[str, int], knobs: Train) -> Iterator[str]:
    """A sentence if the classes differ much in size and nothing balances them.

    Args:
        class_counts: training pictures of each class.
    """
    counts = {name: count for name, count in class_counts.items() if count}
    smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if knobs.balance == "none" and counts[largest] >= UNEQUAL * counts[smallest]:
        yield (
            f"Class {largest} has {count_noun(counts[largest], 'picture')} and class {smallest} "
            f"{counts[smallest]:,}: with "
            "--balance weights, all classes count equally in the loss."
        )


def _shares_classes(folder: Path | None, splits: Splits) -> bool:
    if folder is None or not (folder / "classes.txt").is_file():
        return False
    return not set(splits.train.classes).isdisjoint(runs.Run(folder).classes)


def find_leaks(run: str, splits: Splits, role: str) -> Iterator[str]:
    """A sentence for each evaluation split with pictures that an earlier run was trained on.

    Args:
        run: folder of the run that this training builds on, or its name on the Hub, where no run names its pictures;
            other networks have no record of them.
        role: "base" or "teacher".
    """
    if hub.is_hub(run) and _shares_classes(hub.find_here(run), splits):
        yield (
            f"{run} has classes of these pictures and does not say which it was trained on: if they are among these, "
            "figures will be too good."
        )
    if not run or not (Path(run) / "split.csv").exists():
        return
    earlier = runs.Run(Path(run))
    for name, listing in splits.items():
        count = len(earlier.find_learned(listing))
        if name != "train" and count:
            yield (
                f"The {role} was trained on {count:,} of the {len(listing):,} {SPLITS[name]} pictures, so figures on "
                "them will be too good: give both runs the same --seed, --validation and pictures, and "
                f"--refit off to the {role}'s."
            )
