"""transferkit extract"""

import re
from pathlib import Path

import click

from transferkit import trust
from transferkit.commands import options


class Share(click.ParamType):
    """i/n, as two numbers."""

    name = "i/n"

    def convert(self, value, param, ctx):
        found = re.fullmatch(r"(\d+)/(\d+)", value) if isinstance(value, str) else None
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is no share: expected i/n with i from 1 to n, as 2/4.", param, ctx)
        return int(found[1]), int(found[2])


@click.command(short_help="Features of pictures, for scikit-learn and others.")
@options.feature_options
@options.trusted
@click.option("--out", required=True, type=click.Path(), help="F.npz, F.parquet, or a folder of parts.")
@click.option("--shard", type=Share(), default="1/1", help="Write only the i-th of n shares of a folder's parts.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes, by Ray; on the cluster at RAY_ADDRESS.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@options.as_json
def command(out, shard, workers, no_cache, overwrite, trusted, as_json, **knobs):
    """Write the features of all pictures of a source, in its order, with their paths, labels and splits.

    \b
    Example: transferkit extract --base resnet34 --data pets/ --out pets.npz
    Example: transferkit extract --base vgg16 --layer fc6,fc7 --data list.csv --out feats/
    What the cache has of a picture is not computed again; cut short, the same
    command goes on. Layers are those of `transferkit inspect NAME`.
    """
    source, spec = options.source_and_spec(knobs)

    from transferkit.console import say
    from transferkit.data.sources.resolve import find_all_pictures
    from transferkit.features.extract_job import extract_to

    if trusted:
        trust.allow(spec.base)
    listing, splits = find_all_pictures(source)
    if listing.ignored:
        few = ", ".join(f"{count} {suffix}" for suffix, count in sorted(listing.ignored.items()))
        say(f"Passed over: {few}.")
    flags = {"share": shard, "workers": workers, "cache": not no_cache, "overwrite": overwrite}
    told = extract_to(out, spec, listing, splits, **flags)
    if as_json:
        return options.answer(told)
    show(told, spec)


def show(told: dict, spec):
    """What was extracted, how much of it the cache had, and what is missing."""
    from transferkit.console import answers, say
    from transferkit.features.feature_files import errors_of

    on, shape = answers(), "x".join(map(str, told["shape"]))
    say(f"{told['out']}: {told['pictures']:,} pictures, {shape} features of {spec.base} {', '.join(spec.layer)}", on)
    rate = f", {told['computed'] / told['seconds']:.0f} pictures/s" if told["computed"] else ""
    say(f"{told['reused']:,} reused from the cache, {told['computed']:,} computed in {told['seconds']:.1f} s{rate}", on)
    if told["unreadable"]:
        say(f"{told['unreadable']:,} cannot be read: {errors_of(Path(told['out']))} names them", on)
    if told["parts"]:
        say(f"{told['parts']:,} parts are still missing: other shards write them", on)
