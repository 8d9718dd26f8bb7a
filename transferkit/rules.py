"""Rules: the open knobs of a recipe are chosen from the data and the hardware, each with its reason.

Pure functions, one for each knob and named after it. `RULES` gives their order, since later ones read what earlier ones
chose. docs/rules.md says where each comes from and what was measured.
"""

import math
from dataclasses import dataclass
from typing import Any

from transferkit.lookup import UnknownName, count_noun
from transferkit.pixels import Pixels
from transferkit.recipe import BY_RULE, Recipe, map_knobs_to_sections

MANY = 20_000  # pictures, from which on a data set is large, as in BiT-HyperRule
MAX_REFIT = 5_000  # training pictures up to which a training is repeated on all
SQUARE = 1.1  # aspect ratio up to which a picture counts as square
ADAPTIVE = ("adamw", "lamb")  # optimizers that divide each gradient by its deviation
BUDGETS = {  # {(fresh weights, GPU): pictures through the whole network, minimum and maximum of epochs}
    (False, False): (2_400, 2, 20),
    (False, True): (60_000, 5, 30),
    (True, False): (48_000, 10, 60),
    (True, True): (1_200_000, 20, 90),
}


@dataclass(frozen=True, kw_only=True)
class RuleInputs:
    """What the rules depend on besides the recipe.

    Attributes:
        pictures: number of training pictures.
        smallest_class: training pictures of the smallest class.
        shorter_side: median of the pictures' shorter sides, in pixels.
        aspect_ratios: quartiles of the pictures' aspect ratios, longer side over shorter.
        pixels: the base's own geometry.
        minimum_size: smallest side that the base takes, in pixels.
        can_fit_head: whether a logistic regression on the base's features can become the new head.
        head_layers: the layers that such a head may get features of, the head's own input last.
        has_gpu: whether a GPU trains.
        replicas: number of devices that share a batch.
        validation_drawn: whether the validation pictures were split off here, not given.
    """

    pictures: int
    smallest_class: int
    shorter_side: int
    aspect_ratios: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pixels: Pixels
    minimum_size: int
    can_fit_head: bool
    head_layers: tuple[str, ...]
    has_gpu: bool
    replicas: int = 1
    validation_drawn: bool = False


@dataclass(frozen=True)
class Choice:
    """A knob that a rule chose."""

    knob: str
    value: Any
    reason: str


def choose_knobs(recipe: Recipe, facts: RuleInputs) -> tuple[Recipe, list[Choice]]:
    """Resolve a recipe: choose its open knobs. Knobs that are set are kept.

    Raises:
        UnknownName: the epochs contradict each other.
    """
    choices, sections = [], map_knobs_to_sections()
    for name, rule in RULES.items():
        if getattr(getattr(recipe, sections[name]), name) is BY_RULE:
            value, reason = rule(facts, recipe)
            recipe = recipe.override(**{name: value})
            choices.append(Choice(name, value, reason))
    head, total = recipe.train.head_epochs, recipe.train.epochs
    if recipe.train.unfreeze == "head" and head < total:
        raise UnknownName(f"head_epochs must be equal to epochs ({total}) where only the head is trained, not {head}.")
    if head > total:
        raise UnknownName(f"head_epochs must be between 0 and epochs ({total}), not {head}.")
    return recipe, choices


def choose_rate(recipe: Recipe, knob: str) -> Choice:
    """What the rule chooses for `lr` or `head_lr` of a resolved recipe, whatever rate that has."""
    value, reason = RULES[knob](None, recipe)  # the rules for rates do not use facts
    return Choice(knob, value, reason)


def channels(facts, recipe):
    return facts.pixels.channels, "the network's own"


def size(facts, recipe):
    native = min(facts.pixels.shape)
    if native != max(facts.pixels.shape):
        return facts.pixels.size, "the shape of the weights' own training"
    if facts.shorter_side <= 32 and not facts.has_gpu:
        size, reason = 64, f"the pictures are {facts.shorter_side} pixels and there is no GPU"
    elif facts.shorter_side <= 96:  # BiT-HyperRule (Kolesnikov et al. 2020, section 3.3): small pictures at 128
        size, reason = 128, f"the pictures are {facts.shorter_side} pixels"
    else:
        size, reason = native, "the size of the weights' own training"
    if size < facts.minimum_size:
        return facts.minimum_size, "the smallest size that the network takes"
    return min(size, native), reason


def fit(facts, recipe):
    if facts.can_fit_head and facts.pixels.fit == "crop" and should_squash(facts.aspect_ratios):
        ratio = facts.aspect_ratios[2]
        return "squash", f"a quarter of the pictures is {ratio:.1f} to 1 or longer: a crop loses their ends"
    return facts.pixels.fit, "the network's own"


def should_squash(aspect_ratios: tuple[float, float, float]) -> bool:
    """Whether so many pictures are far from square that seeing all of each is worth more than its aspect ratio.

    Args:
        aspect_ratios: quartiles, longer side over shorter.
    """
    return aspect_ratios[2] > SQUARE


def augment(facts, recipe):
    if facts.shorter_side <= 32:
        return "crop(0.7)", f"pictures of {facts.shorter_side} pixels are mostly signs, whose left and right differ"
    return "light", "crops and flips; use crop(0.5) where left and right differ in meaning"


def batch_size(facts, recipe):
    if facts.has_gpu:
        count, reason = min(64, facts.pictures), "fills a GPU"
    elif facts.pictures < 2000:
        count, reason = min(16, facts.pictures), "few pictures: more steps with smaller batches"
    else:
        count, reason = 32, "more than 2,000 pictures"
    shared = f"; {facts.replicas} devices share it" if facts.replicas > 1 else ""
    return -(-count // facts.replicas) * facts.replicas, reason + shared


def start(facts, recipe):
    """Kumar et al. 2022, section 3.4."""
    if not facts.can_fit_head:
        return "fresh", "there is no new head on pretrained weights"
    if facts.pictures > MANY:
        return "fresh", f"more than {MANY:,} pictures: some epochs of the head cost less"
    if facts.smallest_class < 2:
        return "fresh", "a class has one picture"
    if recipe.train.bn == "stats":
        return "fresh", "new statistics change the features that a regression is fitted on"
    return "probe", "a regression on the features is the best initial head"


def head_layers(facts, recipe):
    """Evci et al. 2022, "Head2Toe", section 4: features of several depths, side by side."""
    if recipe.train.start == "probe" and len(facts.head_layers) > 1:
        return ",".join(facts.head_layers), "features of several depths separate classes better than the last alone"
    return facts.head_layers[-1], "the network's own"


def head_epochs(facts, recipe):
    total = recipe.train.epochs
    if recipe.train.unfreeze == "head":
        return (15, "cheap: the network runs once") if total is BY_RULE else (total, "only the head is trained")
    if recipe.train.start == "probe":
        return 0, "the head is initialised by a regression"
    if recipe.model.weights == "none":
        return 0, "features of fresh weights say little"
    return (5, "cheap: the network runs once") if total is BY_RULE else (min(5, total // 3), f"of {total}")


def epochs(facts, recipe):
    """The head's epochs, and as many as take a fixed number of pictures through the whole network: minutes."""
    head = recipe.train.head_epochs
    if recipe.train.time:
        least = max(1, head) if recipe.train.unfreeze == "head" else head + 1
        return least, f"at least; as many as {recipe.train.time} allow, once a step is measured"
    if recipe.train.unfreeze == "head":
        return max(1, head), "only the head is trained"
    fresh = recipe.model.weights == "none"
    budget, least, most = BUDGETS[fresh, facts.has_gpu]
    unfrozen = max(least, min(most, budget // facts.pictures))
    hardware = "on a GPU" if facts.has_gpu else "without a GPU"
    return head + unfrozen, f"{count_noun(facts.pictures, 'picture')} {hardware}{', fresh weights' if fresh else ''}"


def views(facts, recipe):
    if recipe.train.unfreeze == "head":
        return 1, "the head learns on the plain view"
    if recipe.train.unfreeze == "all":
        return 0, "nothing is frozen"
    return 4, "the frozen part runs four times per picture, and no more"


def lr(facts, recipe):
    """Proportional to the batch (Goyal et al. 2017, section 2.1), or to its square root where each gradient is divided
    by its deviation or norm (Krizhevsky 2014, "One weird trick", section 5; You et al. 2019)."""
    knobs, is_adaptive = recipe.train, recipe.train.optimizer in (*ADAPTIVE, "lars")
    default = "1e-3/32" if recipe.model.weights == "none" else "6e-4/32"
    default = {"lars": "2/256", "sgd": "0.01/32", "sgd_l2": "0.01/32"}.get(knobs.optimizer, default)
    rate, reference = (knobs.lr_per or default).split("/")
    scale = knobs.batch_size / int(reference)
    value = float(rate) * (math.sqrt(scale) if is_adaptive else scale)
    proportion = "in proportion to the root of the batch" if is_adaptive else "in proportion to the batch"
    return float(f"{value:.3g}"), f"{rate} for {reference} pictures, {proportion}"


def head_lr(facts, recipe):
    rates = {"sgd": 0.1, "sgd_l2": 0.1, "lars": 2.0}
    return rates.get(recipe.train.optimizer, 3e-3), f"{recipe.train.optimizer}, one layer"


def weight_decay(facts, recipe):
    return 0.01 if recipe.train.optimizer in ADAPTIVE else 1e-4, recipe.train.optimizer


def label_smoothing(facts, recipe):
    if facts.smallest_class < 10:
        return 0.0, f"a class has {count_noun(facts.smallest_class, 'picture')}"
    return 0.1, "ten pictures of each class or more"


def bn(facts, recipe):
    if recipe.model.weights == "none":
        return "train", "fresh weights have no statistics"
    if facts.pictures < 2000:
        return "frozen", "under 2,000 pictures make poor statistics"
    if recipe.train.batch_size < 16:
        return "frozen", "batches under 16 make poor statistics"
    return "train", "2,000 pictures or more"


def keep(facts, recipe):
    if recipe.train.start != "probe":
        return "best", "there are no initial weights that are worth averaging with"
    if recipe.train.soup:
        return "best", f"soup {recipe.train.soup} averages the best epochs"
    if recipe.train.unfreeze == "head":
        return "best", "only the head is trained: the regression or a better epoch"
    return "mix", "the average recovers pretrained features that training forgets"


def refit(facts, recipe):
    if not facts.validation_drawn:
        return "off", "the validation pictures were given separately"
    if recipe.train.keep == "best":
        return "off", "keep best needs the held-out pictures to choose the epoch"
    if recipe.train.workers:
        return "off", "several workers train a single run"
    if facts.pictures > MAX_REFIT:
        return "off", f"more than {MAX_REFIT:,} pictures: a fifth more would add little"
    return "on", "after the evaluation, the held-out pictures are trained on too"


RULES = {
    rule.__name__: rule
    for rule in (
        channels,
        size,
        fit,
        augment,
        batch_size,
        start,
        head_layers,
        head_epochs,
        epochs,
        views,
        lr,
        head_lr,
        weight_decay,
        label_smoothing,
        bn,
        keep,
        refit,
    )
}
