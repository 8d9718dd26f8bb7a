"""What a shell completes: networks, weights, recipes and run folders, by name, without loading TensorFlow."""

import glob
import os

import click
from click.shell_completion import CompletionItem

from transferkit import recipe, recipe_files


def complete_base(ctx: click.Context, param, incomplete: str) -> list[CompletionItem]:
    """Networks, run folders and files; of a list separated by commas, the last name."""
    from transferkit import zoo

    before, comma, name = incomplete.rpartition(",")
    networks = {network: f"{row.params / 1e6:.1f} M parameters" for network, row in zoo.variants().items()}
    words = networks | {recipe.AUTO: "the best by a probe"} | dict.fromkeys(_find_runs(name), "run")
    return _start_with({f"{before}{comma}{word}": text for word, text in words.items()}, incomplete)


def complete_weights(ctx: click.Context, param, incomplete: str) -> list[CompletionItem]:
    """The public weights of the network in --base or NETWORK, and files."""
    from transferkit.weights.catalogue import weight_sets

    # click does not process arguments before an option that lacks its value
    network = ctx.params.get("base") or ctx.params.get("network") or next(iter(ctx.args), recipe.Model().base)
    sets = {each.tag: f"{each.source}, {each.mb:.0f} MB" for each in weight_sets(network)}
    return _start_with({"imagenet": "the network's first", "none": "fresh weights"} | sets, incomplete)


def complete_weight_set(ctx: click.Context, param, incomplete: str) -> list[CompletionItem]:
    """Networks with public weights; after a full stop, their tags."""
    from transferkit.weights.catalogue import networks_with_weights, weight_sets

    network, stop, _ = incomplete.partition(".")
    names = [f"{network}.{each.tag}" for each in weight_sets(network)] if stop else networks_with_weights()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_recipe(ctx: click.Context, param, incomplete: str) -> list[CompletionItem]:
    """The recipes that come with the package, and files."""
    return _start_with(dict.fromkeys(recipe_files.list_recipes(), "recipe"), incomplete)


def complete_run(ctx: click.Context, param, incomplete: str) -> list[CompletionItem]:
    """Run folders, in runs/ and near the given path, and other folders."""
    runs = [CompletionItem(run) for run in _find_runs(incomplete)]
    return [CompletionItem(incomplete, type="dir"), *runs]


def _find_runs(incomplete: str) -> list[str]:
    """Folders with a recipe: those whose path begins with the given text, and those in runs/ whose name does."""
    start = glob.escape(incomplete)
    found = {*glob.glob(f"{start}*/recipe.toml"), *glob.glob(f"{start}*/*/recipe.toml")}
    found |= set(glob.glob(os.path.join("runs", "*", "recipe.toml")))
    return sorted(run for run in map(os.path.dirname, found) if run.startswith(incomplete))


def _start_with(words: dict[str, str], incomplete: str) -> list[CompletionItem]:
    """The words {word: help} that begin with the given text, and a request for the names of files."""
    found = [CompletionItem(word, help=text) for word, text in words.items() if word.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *found]


KNOBS = {"base": complete_base, "teacher": complete_base, "weights": complete_weights}
