"""The phases of a training: what learns in each, for how long, at which rate and on which views."""

from dataclasses import dataclass

from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe


@dataclass(frozen=True)
class Phase:
    """One part of a training, with an optimizer and a schedule of its own. It starts from the best weights so far.

    Attributes:
        name: the word of `unfreeze`, in the history.
        epochs: of this phase.
        lr: its highest rate.
        views: as the knob; 1 is the plain view.
    """

    name: str
    epochs: int
    lr: float
    views: int


def phases(recipe: Recipe) -> list[Phase]:
    """First the head alone, on plain views, then the words of `unfreeze` for equal numbers of epochs.

    The first of several get an epoch more where they do not divide evenly.

    Raises:
        UnknownName: a word comes twice, or there are fewer epochs than words.
    """
    knobs = recipe.train
    if knobs.unfreeze == "head":
        return [Phase("head", knobs.epochs, knobs.head_lr, knobs.views)]
    head = [Phase("head", knobs.head_epochs, knobs.head_lr, 1)] if knobs.head_epochs else []
    words, left = words_of(knobs.unfreeze), knobs.epochs - knobs.head_epochs
    if 0 < left < len(words):
        raise UnknownName(
            f"unfreeze has {len(words)} phases, but {left} epochs are left for them: give {len(words)} or more."
        )
    shares = [left // len(words) + (number < left % len(words)) for number in range(len(words))]
    return head + [
        Phase(word, share, knobs.lr, knobs.views) for word, share in zip(words, shares, strict=True) if share
    ]


def words_of(unfreeze: str) -> list[str]:
    """The words between the commas.

    Raises:
        UnknownName: there are none, or one comes twice.
    """
    words = [word.strip() for word in unfreeze.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise UnknownName(
            f"unfreeze must be different parts with commas between, as in 'last-stage,all': {unfreeze!r}."
        )
    return words
