"""transferkit extract"""

import re
from pathlib import Path

import click

from transferkit import trust
from transferkit.commands import help_pages, options, result_output
from transferkit.lookup import count_noun


class Shard(click.ParamType):
    """i/n, converted to two numbers."""

    name = "i/n"

    def convert(self, value, param, ctx):
        found = re.fullmatch(r"(\d+)/(\d+)", value) if isinstance(value, str) else None
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is not a shard: expected i/n with i from 1 to n, as 2/4.", param, ctx)
        return int(found[1]), int(found[2])


@click.command(cls=help_pages.Command, short_help="Extract features of pictures, for scikit-learn and others.")
@options.feature_options
@options.trust_option
@click.option("--out", required=True, type=click.Path(), help="FILE.npz, FILE.parquet, or a folder of parts.")
@click.option(
    "--shard",
    type=Shard(),
    default="1/1",
    help="Write only the i-th of n shards of a folder, for one of several machines.",
)
@click.option(
    "--workers",
    type=options.WholeNumber(1),
    default=1,
    help="Number of processes, run by Ray, on the cluster at RAY_ADDRESS if set.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file or folder.")
@options.json_option
def command(out, shard, workers, no_cache, overwrite, trusted, as_json, **knobs):
    """Extract the features of all pictures of a source, with their paths, labels and splits.

    \b
    Example: transferkit extract --base resnet34 --data pets/ --out pets.npz
    Example: transferkit extract --base vgg16 --layer fc6 --data a.csv --out vgg/

    Features in the cache are not computed again. After an interruption, the same
    command continues. `transferkit inspect NAME` lists the layers.
    """
    source, spec = options.parse_feature_options(knobs)

    from transferkit.console import say, say_looking
    from transferkit.data.sources.resolve import find_all_pictures

    if trusted:
        trust.allow(spec.base)
    listing, splits = find_all_pictures(source)
    if listing.ignored:
        ignored = ", ".join(f"{count} {suffix}" for suffix, count in sorted(listing.ignored.items()))
        say(f"Skipped files that are not pictures: {ignored}.")
    say_looking(len(listing), source.data)

    from transferkit.features.extract_job import extract_to  # pyarrow is slow to import

    result = extract_to(
        out, spec, listing, splits, share=shard, workers=workers, cache=not no_cache, overwrite=overwrite
    )
    if as_json:
        return result_output.print_json(result)
    print_summary(result, spec)


def print_summary(result: dict, spec):
    """Print what was extracted, how much of it came from the cache, and what is missing."""
    from transferkit.console import say, stdout_console
    from transferkit.features.feature_files import errors_path

    on, shape = stdout_console(), "x".join(map(str, result["shape"]))
    say(
        f"{result['out']}: {count_noun(result['pictures'], 'picture')}, {shape} features of {spec.base} "
        f"{', '.join(spec.layer)}",
        on,
    )
    rate = f", {result['computed'] / result['seconds']:.0f} pictures/s" if result["computed"] else ""
    say(
        f"{result['reused']:,} reused from the cache, "
        f"{result['computed']:,} computed in {result['seconds']:.1f} s{rate}",
        on,
    )
    if result["unreadable"]:
        say(f"{result['unreadable']:,} cannot be read: {errors_path(Path(result['out']))} names them", on)
    if result["parts"]:
        say(f"{result['parts']:,} parts are missing: they belong to other shards", on)
