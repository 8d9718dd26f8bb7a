"""What to do after a training, as far as its figures tell: at most a few sentences, the most useful first."""

from dataclasses import dataclass

from transferkit import runs
from transferkit.lookup import count_noun
from transferkit.recipe import Recipe, describe_part
from transferkit.training.planning.advice import UNEQUAL

MOST = 3  # sentences
LOST = 0.01  # accuracy, from which on training did harm
FEW_EVALUATED = 200  # pictures: the 95% interval of an accuracy of 90% is then 8 points wide
FEW_IN_CLASS = 10  # training pictures
GAP = 0.15  # between the accuracies in training and on other pictures
MANY_OF_MISTAKES = 0.25  # fraction of all mistakes that one pair of classes makes


@dataclass(frozen=True)
class Outcome:
    """What advice depends on.

    Attributes:
        figures: as in `metrics.json`.
        history: as in `history.csv`; empty for folds.
        counts: training pictures of each class.
        recipe: of the training, resolved.
    """

    figures: dict
    history: list[dict]
    counts: dict[str, int]
    recipe: Recipe


def suggest_next_steps(run: runs.Run) -> list[str]:
    """At most `MOST` sentences about a finished training, each with what to do.

    Example:
        >>> suggest_next_steps(load_run("runs/finetune-resnet34-pets-1"))  # doctest: +SKIP
        ['36 validation pictures measure the accuracy roughly: --folds 5 gives a firmer figure.']
    """
    history = run.history if (run.folder / "history.csv").exists() else []
    return advise(Outcome(run.metrics, history, run.splits.train.counts(), run.recipe))


def advise(outcome: Outcome) -> list[str]:
    """The first sentences of `ADVICE` that apply."""
    return [sentence for function in ADVICE if (sentence := function(outcome))][:MOST]


def below_baseline(outcome: Outcome) -> str:
    """If training lowered the accuracy of the regression on the frozen network's features."""
    baseline = outcome.figures.get("baseline")
    if not baseline or baseline["added"] > -LOST or outcome.recipe.train.unfreeze == "head":
        return ""
    return (
        f"Training lost {-100 * baseline['added']:.1f} points against the frozen network: try --unfreeze head, or a "
        f"lower --lr than {outcome.recipe.train.lr:.2g}."
    )


def still_improving(outcome: Outcome) -> str:
    """If the validation loss was lowest in the last epoch, and fell in it by 2% or more."""
    rows = outcome.history
    if len(rows) < 3 or rows[-1]["phase"] != rows[-2]["phase"] or outcome.figures["interrupted"]:
        return ""
    best, last = min(row["val_loss"] for row in rows[:-1]), rows[-1]["val_loss"]
    if last > 0.98 * best:
        return ""
    return (
        f"The last epoch of {describe_part(rows[-1]['phase'])} was the best so far (validation loss {best:.3f} to "
        f"{last:.3f}): more epochs may help, as --epochs {2 * outcome.recipe.train.epochs}."
    )


def memorised(outcome: Outcome) -> str:
    """If the training pictures are known much better than others."""
    learned, accuracy = outcome.history[-1]["accuracy"] if outcome.history else 0.0, outcome.figures["accuracy"]
    if learned - accuracy < GAP:
        return ""
    stronger = "" if "heavy" in (outcome.recipe.augment.augment or "") else ", and --augment heavy may"
    return (
        f"{learned:.0%} of the training pictures are right, but {accuracy:.0%} of the others: more pictures would help "
        f"most{stronger}."
    )


def few_evaluated(outcome: Outcome) -> str:
    """If the figures are on few pictures."""
    count = outcome.figures["n"]
    if count >= FEW_EVALUATED or outcome.figures["split"] != "val":
        return ""
    return f"{count} validation pictures measure the accuracy roughly: --folds 5 gives a firmer figure."


def few_in_class(outcome: Outcome) -> str:
    """If classes have very few training pictures."""
    few = {name: count for name, count in outcome.counts.items() if 0 < count < FEW_IN_CLASS}
    if not few:
        return ""
    name = min(few, key=few.__getitem__)
    if len(few) == 1:
        return f"Class {name} has only {count_noun(few[name], 'training picture')}: more would help most."
    classes = f"{len(few)} classes have fewer than {FEW_IN_CLASS} training pictures"
    return f"{classes}, {name} {few[name]}: more would help most."


def unbalanced(outcome: Outcome) -> str:
    """If rare classes are recognised less well, and nothing balances them."""
    counts, figures = [count for count in outcome.counts.values() if count], outcome.figures
    is_worse = figures["balanced_accuracy"] < figures["accuracy"] - 0.05
    if outcome.recipe.train.balance != "none" or max(counts) < UNEQUAL * min(counts) or not is_worse:
        return ""
    return (
        f"Small classes are recognised less well (balanced accuracy {figures['balanced_accuracy']:.1%}): try --balance "
        "weights."
    )


def confused_pair(outcome: Outcome) -> str:
    """If one pair of classes makes a large part of the mistakes."""
    confused = outcome.figures["confused"]
    mistakes = round((1 - outcome.figures["accuracy"]) * outcome.figures["n"])
    if not confused or confused[0][2] < max(3, MANY_OF_MISTAKES * mistakes):
        return ""
    label, predicted, count = confused[0]
    return f"{count} of {mistakes} mistakes take {label} for {predicted}: look in {runs.MISTAKES} for wrong labels."


ADVICE = (below_baseline, still_improving, memorised, few_in_class, few_evaluated, unbalanced, confused_pair)
