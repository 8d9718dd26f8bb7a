"""What the figures of a run say, in sentences: for the closing lines, the page and the model card."""

from transferkit.recipe import describe_part

PICTURES = {"all": "pictures", "val": "validation pictures", "test": "test pictures"}  # by the split of an evaluation


def describe_pictures(figures: dict) -> str:
    """Of which pictures the accuracy is, as "test pictures"."""
    if figures["split"] == "folds":
        return "pictures, each held out once"
    if figures["split"] == "test":
        return "test pictures"
    chosen = "the checkpoint"
    if figures["mix"]:
        chosen = "how the weights are averaged (the interval allows for that)"
    return f"validation pictures, which also chose {chosen}"


def describe_baseline(baseline: dict) -> str:
    """The accuracy of the regression on frozen features, and what training added to it."""
    low, high = (100 * fraction for fraction in baseline["added_ci95"])
    return (
        f"a logistic regression on the frozen network's features: {baseline['accuracy']:.1%}; "
        f"training added {100 * baseline['added']:+.1f} points (95%: {low:+.1f} to {high:+.1f})"
    )


def describe_kept(figures: dict) -> str:
    """Which weights are kept."""
    kept, mix = figures["kept"], figures["mix"]
    if mix:
        trained = mix["share"]
        if trained in (0, 1):
            return "the trained weights" if trained else "the weights before training, the logistic regression"
        return f"an average of {trained:.0%} of the trained weights and {1 - trained:.0%} of those before training"
    if kept["phase"] == "probe":
        return "the logistic regression; no epoch beat it"
    return f"the weights of epoch {kept['epoch']} of {describe_part(kept['phase'])}"


def describe_soup(soup: dict) -> str:
    """Which epochs `--soup` averaged."""
    added = [f"{epoch['epoch']} of {describe_part(epoch['phase'])}" for epoch in soup["epochs"][1:]]
    if not added:
        return "soup: no average with another epoch was better"
    return f"soup: averaged with epoch {', '.join(added)}, which is not worse on the validation pictures"


def describe_refit(count: int) -> str:
    """That the saved network was trained on all pictures."""
    return f"the network trained again on all {count:,} pictures"


def describe_folds(figures: dict) -> str:
    """The accuracy of each fold, and their mean."""
    each = ", ".join(f"{fold['accuracy']:.1%}" for fold in figures["folds"])
    deviation = figures["deviation"]
    spread = f", standard deviation {deviation:.1%}" if deviation is not None else ""
    return f"accuracy of each fold: {each}; mean {figures['mean']:.1%}{spread}"


def describe_comparison(figures: dict) -> list[str]:
    """What the accuracy is compared with, and what is kept and saved: a sentence each."""
    if figures["split"] == "folds":
        return [describe_folds(figures)]
    lines = [describe_baseline(figures["baseline"])] if figures["baseline"] else []
    lines.append(f"kept: {describe_kept(figures)}")
    lines += [describe_soup(figures["soup"])] if figures["soup"] else []
    lines += [f"saved: {describe_refit(figures['refit'])}"] if figures["refit"] else []
    return lines
