"""The knobs a recipe leaves open, chosen from the size of the data and the hardware, each with its reason.

Pure functions, one a knob; `RULES` gives their order, since later ones read what earlier ones chose. Where each comes
from, and what was measured, is in docs/rules.md.
"""

import math
from dataclasses import dataclass

from transferkit.lookup import UnknownName
from transferkit.pixels import Pixels
from transferkit.recipe import BY_RULE, Recipe, parts_of_knobs

MANY = 20_000  # pictures; from here on BiT-HyperRule, too, takes data for large
REFITTED = 5_000  # training pictures, up to which a job is done again on all
SQUARE = 1.1  # longer side over shorter, up to which a picture is one
ADAPTIVE = ("adamw", "lamb")  # optimizers that divide each gradient by its deviation
BUDGETS = {  # {(fresh weights, a GPU): pictures through the whole network, least and most epochs}
    (False, False): (2_400, 2, 20),
    (False, True): (60_000, 5, 30),
    (True, False): (48_000, 10, 60),
    (True, True): (1_200_000, 20, 90),
}


@dataclass(frozen=True)
class Facts:
    """What the rules look at: training pictures, those of the smallest class, the median shorter side in pixels,
    the base's own geometry and least side, whether a GPU is there, whether a logistic regression on the base's
    features can become the new head, the layers that such a head may see, how many devices share a batch, whether the
    validation pictures were split off here, and the quartiles of the pictures' aspect ratios, longer side over shorter.
    """

    pictures: int
    smallest_class: int
    side: int
    pixels: Pixels
    minimum: int
    gpu: bool
    probes: bool
    layers: tuple[str, ...]
    replicas: int = 1
    drawn: bool = False
    aspects: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Choice:
    """One chosen knob."""

    knob: str
    value: object
    reason: str


def choose(recipe: Recipe, facts: Facts) -> tuple[Recipe, list[Choice]]:
    """Fill the knobs that are open. What the user set is kept.

    Raises:
        UnknownName: the epochs contradict each other.
    """
    choices, parts = [], parts_of_knobs()
    for name, rule in RULES.items():
        if getattr(getattr(recipe, parts[name]), name) is BY_RULE:
            value, reason = rule(facts, recipe)
            recipe = recipe.override(**{name: value})
            choices.append(Choice(name, value, reason))
    head, total = recipe.train.head_epochs, recipe.train.epochs
    if head > total or (recipe.train.unfreeze == "head" and head < total):
        expected = (
            f"{total}, all of them" if recipe.train.unfreeze == "head" else f"from 0 to {total}, which are in all"
        )
        raise UnknownName(f"head_epochs must be {expected}, not {head}.")
    return recipe, choices


def rate(recipe: Recipe, knob: str) -> Choice:
    """What the rule takes for the `lr` or `head_lr` of a job whose other knobs are chosen, whatever its own rate is."""
    value, reason = RULES[knob](None, recipe)  # rates depend on no facts of the pictures
    return Choice(knob, value, reason)


def channels(facts, recipe):
    return facts.pixels.channels, "the network's own"


def size(facts, recipe):
    native = min(facts.pixels.shape)
    if native != max(facts.pixels.shape):
        return facts.pixels.size, "the shape of the weights' own training"
    if facts.side <= 32 and not facts.gpu:
        wanted, reason = 64, f"the pictures are {facts.side} pixels and there is no GPU"
    elif facts.side <= 96:  # BiT-HyperRule (Kolesnikov et al. 2020, section 3.3): small pictures at 128
        wanted, reason = 128, f"the pictures are {facts.side} pixels"
    else:
        wanted, reason = native, "the size of the weights' own training"
    if wanted < facts.minimum:
        return facts.minimum, "the least the network takes"
    return min(wanted, native), reason


def fit(facts, recipe):
    if facts.probes and facts.pixels.fit == "crop" and squashed(facts.aspects):
        return "squash", f"a quarter of the pictures is {facts.aspects[2]:.1f} to 1 or longer: a crop loses their ends"
    return facts.pixels.fit, "the network's own"


def squashed(aspects: tuple[float, float, float]) -> bool:
    """Whether so many pictures are no squares that the whole of each is worth more than its shape.

    Args:
        aspects: quartiles, longer side over shorter.
    """
    return aspects[2] > SQUARE


def augment(facts, recipe):
    if facts.side <= 32:
        return "crop(0.7)", f"pictures of {facts.side} pixels are mostly signs, whose left and right differ"
    return "light", "crops and flips; where left and right differ in meaning, take crop(0.5)"


def batch_size(facts, recipe):
    if facts.gpu:
        count, reason = min(64, facts.pictures), "fills a GPU"
    elif facts.pictures < 2000:
        count, reason = min(16, facts.pictures), "few pictures: more steps of fewer"
    else:
        count, reason = 32, "more than 2,000 pictures"
    shared = f"; {facts.replicas} devices share it" if facts.replicas > 1 else ""
    return -(-count // facts.replicas) * facts.replicas, reason + shared


def start(facts, recipe):
    """Kumar et al. 2022, section 3.4."""
    if not facts.probes:
        return "fresh", "there is no new head on trained weights"
    if facts.pictures > MANY:
        return "fresh", f"more than {MANY:,} pictures: some epochs of the head cost less"
    if facts.smallest_class < 2:
        return "fresh", "a class has one picture"
    if recipe.train.bn == "stats":
        return "fresh", "new statistics make other features than those of a regression"
    return "probe", "a regression on the features is the best head to begin with"


def head_layers(facts, recipe):
    """Evci et al. 2022, "Head2Toe", section 4: features of several depths, side by side."""
    if recipe.train.start == "probe" and len(facts.layers) > 1:
        return ",".join(facts.layers), "features of several depths tell more apart than the last ones alone"
    return facts.layers[-1], "the network's own"


def head_epochs(facts, recipe):
    total = recipe.train.epochs
    if recipe.train.unfreeze == "head":
        return (15, "cheap: the network runs once") if total is BY_RULE else (total, "the head is all that learns")
    if recipe.train.start == "probe":
        return 0, "the head starts from a regression"
    if recipe.model.weights == "none":
        return 0, "features of fresh weights say little"
    return (5, "cheap: the network runs once") if total is BY_RULE else (min(5, total // 3), f"of {total}")


def epochs(facts, recipe):
    """Those of the head, and as many as bring a number of pictures through the whole network: minutes."""
    head = recipe.train.head_epochs
    if recipe.train.time:
        least = max(1, head) if recipe.train.unfreeze == "head" else head + 1
        return least, f"at least: those that {recipe.train.time} have time for, once a step is measured"
    if recipe.train.unfreeze == "head":
        return max(1, head), "the head is all that learns"
    fresh = recipe.model.weights == "none"
    budget, least, most = BUDGETS[fresh, facts.gpu]
    released = max(least, min(most, budget // facts.pictures))
    where = "on a GPU" if facts.gpu else "without a GPU"
    return head + released, f"{facts.pictures:,} pictures {where}{', fresh weights' if fresh else ''}"


def views(facts, recipe):
    if recipe.train.unfreeze == "head":
        return 1, "the head learns on the plain view"
    if recipe.train.unfreeze == "all":
        return 0, "nothing is frozen"
    return 4, "the frozen part runs four times a picture, and no more"


def lr(facts, recipe):
    """In proportion to the batch (Goyal et al. 2017, section 2.1); where each gradient is divided by its deviation or
    norm, to the square root (Krizhevsky 2014, "One weird trick", section 5; You et al. 2019)."""
    knobs, adaptive = recipe.train, recipe.train.optimizer in (*ADAPTIVE, "lars")
    first = "1e-3/32" if recipe.model.weights == "none" else "6e-4/32"
    first = {"lars": "2/256", "sgd": "0.01/32", "sgd_l2": "0.01/32"}.get(knobs.optimizer, first)
    rate, per = (knobs.lr_per or first).split("/")
    scale = knobs.batch_size / int(per)
    share = "in proportion to the root of the batch" if adaptive else "in proportion to the batch"
    return _round(float(rate) * (math.sqrt(scale) if adaptive else scale)), f"{rate} for {per} pictures, {share}"


def head_lr(facts, recipe):
    rates = {"sgd": 0.1, "sgd_l2": 0.1, "lars": 2.0}
    return rates.get(recipe.train.optimizer, 3e-3), f"{recipe.train.optimizer}, one layer"


def weight_decay(facts, recipe):
    return 0.01 if recipe.train.optimizer in ADAPTIVE else 1e-4, recipe.train.optimizer


def label_smoothing(facts, recipe):
    if facts.smallest_class < 10:
        return 0.0, f"a class has {facts.smallest_class} pictures"
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
        return "best", "there is no start that is worth averaging with"
    if recipe.train.soup:
        return "best", f"soup {recipe.train.soup} averages the best epochs"
    if recipe.train.unfreeze == "head":
        return "best", "the head alone is trained: the regression or an epoch that is better"
    return "mix", "what training forgets of the pretrained weights comes back"


def refit(facts, recipe):
    if not facts.drawn:
        return "off", "the validation pictures were given apart"
    if recipe.train.keep == "best":
        return "off", "without validation pictures there is no best epoch"
    if recipe.train.workers:
        return "off", "several workers train one run"
    if facts.pictures > REFITTED:
        return "off", f"more than {REFITTED:,} pictures: a fifth more would add little"
    return "on", "once measured, the held-out pictures teach too"


def _round(value: float) -> float:
    return float(f"{value:.3g}")


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
