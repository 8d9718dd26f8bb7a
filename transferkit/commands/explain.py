"""transferkit explain"""

import os
from functools import partial
from pathlib import Path

import click

from transferkit.commands import options, picture_sources, result_output
from transferkit.explain.methods import HEAT_METHODS, METHODS
from transferkit.lookup import count_noun
from transferkit.pixels import CONVENTIONS

MOST_ROWS = 24  # pictures on one sheet
DPI = 100
OPTIONS = ("layer", "unit", "square", "stride", "baseline", "steps")  # of the methods


@click.command(short_help="Show what a network looks at in pictures.")
@options.network_argument
@click.argument("sources", metavar="[SOURCE...]", nargs=-1)
@click.option(
    "--method",
    metavar="METHOD",
    type=click.Choice(tuple(METHODS)),
    default="gradcam",
    show_default=True,
    help="One of those above.",
)
@click.option("--class", "class_name", metavar="NAME", help="The class to explain.  [default: the predicted one]")
@click.option(
    "--layer",
    help="Of gradcam, activations, deconvnet, filters, maximise.  [default: the last map]",
)
@click.option("--unit", type=options.WholeNumber(0), help="The map, of deconvnet, or of maximise with --layer.")
@click.option("--square", type=options.WholeNumber(1), help="Side in pixels that occlusion hides.  [default: a fifth]")
@click.option("--stride", type=options.WholeNumber(1), help="Pixels between two squares.  [default: half a square]")
@click.option(
    "--baseline",
    type=click.Choice(("mean", "black")),
    help="Blank colour of occlusion and integrated-gradients: the network's mean.  [default: mean]",
)
@click.option(
    "--n-steps", "steps", type=options.WholeNumber(1, 10_000), help="Of integrated-gradients (64), maximise (200)."
)
@click.option("--misses", metavar="N", type=options.WholeNumber(1), help="Explain the N surest mistakes of a run.")
@click.option("--hits", metavar="N", type=options.WholeNumber(1), help="Explain the N surest correct answers of a run.")
@click.option("--sanity", is_flag=True, help="Test the maps: random weights; deleting and inserting pixels.")
@options.weights_option
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@click.option("--out", type=click.Path(), help="The sheet as a .png file, or a folder.  [default: explain-METHOD.png]")
@options.json_option
def command(network, sources, method, class_name, misses, hits, sanity, weights, pixels, out, as_json, **given):
    """Show what NETWORK, a run, a network's name or a Keras model's file, looks at in pictures.

    \b
    Example: transferkit explain runs/pets cat.jpg
    Example: transferkit explain runs/pets --misses 12 --method occlusion
    Example: transferkit explain runs/pets --method maximise --class cat

    \b
    gradcam               {gradcam}
    occlusion             {occlusion}
    saliency              {saliency}
    guided                {guided}
    integrated-gradients  {integrated-gradients}
    activations           {activations}
    deconvnet             {deconvnet}
    filters               {filters}; needs no picture
    maximise              {maximise}; needs no picture

    SOURCE is what predict takes. The sheet has a row for each picture; in a folder, a file for each.
    deconvnet of over nine pictures shows the nine that move each map most.
    """
    given = {name: given[name] for name in OPTIONS if given[name] is not None}
    _check(network, sources, method, sanity, misses or hits, out)
    found, result, errors = _explain(
        network,
        picture_sources.check_sources(sources) if sources else [],
        method,
        {"class_name": class_name} | given,
        surest={"misses": misses or 0, "hits": hits or 0},
        sanity=sanity,
        loading={"weights": weights, "pixels": pixels or ""},
    )
    files = _write(found, result, method, out)
    if as_json:
        result_output.print_json(_to_document(found, result, errors, method, files))
    else:
        _print(found, result, files)


command.help = (command.help or "").format(**{name: method.help for name, method in METHODS.items()})


def _check(network: str, sources, method: str, sanity: bool, surest, out: str | None):
    """Check what can be checked before TensorFlow is loaded."""
    if METHODS[method].needs_pictures and not sources and not surest:
        raise click.UsageError(f"Missing argument 'SOURCE...': {method} explains pictures.")
    if not METHODS[method].needs_pictures and (sources or surest):
        raise click.UsageError(f"{method} needs no pictures: omit {sources[0] if sources else '--misses and --hits'}.")
    if surest and sources:
        raise click.UsageError(f"--misses and --hits take the pictures of the run: omit {sources[0]}.")
    if surest and not os.path.isfile(os.path.join(network, "metrics.json")):
        raise click.UsageError(f"--misses and --hits need a finished run, not {network}: give a run folder.")
    if sanity and method not in HEAT_METHODS:
        raise click.UsageError(
            f"--sanity needs a method that gives heat maps, not {method}: {', '.join(HEAT_METHODS)}."
        )
    if out and Path(out).suffix not in ("", ".png"):
        raise click.UsageError(f"--out must be a folder or end in .png, not {out!r}.")
    folder = Path(out or ".").absolute().parent
    if out and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise click.UsageError(f"--out {out} cannot be written: {folder} does not exist or is not writable.")


def _explain(name: str, sources: list[str], method: str, given: dict, *, surest: dict, sanity: bool, loading: dict):
    """The explanations, the result of --sanity or None, and errors of pictures."""
    from transferkit import bases
    from transferkit.data import lazy_tensorflow

    bases.check_base(name, loading["weights"], loading["pixels"])
    paths = picture_sources.find_pictures(sources, {}) if sources else []
    bases.fetch_missing(name, loading["weights"])
    lazy_tensorflow.load()

    from transferkit.explain import explanations

    explanations.check_options(method, {key: value for key, value in given.items() if key != "class_name"})
    network = explanations.load_network(name, **loading)
    rows = _find_surest(name, surest) if any(surest.values()) else []
    paths = [row["path"] for row in rows] or paths
    if not paths:
        return explanations.explain_views(network, None, method, **given), None, {}
    if sanity:
        views = explanations.read_views(network, paths)
        found, errors = explanations.explain_views(network, views, method, **given), views.errors
        result = explanations.check_sanity(network, views, method, **given)
    else:
        (found, errors), result = explanations.explain_paths(network, paths, method, **given), None
    return explanations.with_true_classes(found, rows), result, errors


def _find_surest(name: str, surest: dict) -> list[dict]:
    from transferkit import runs
    from transferkit.explain import explanations

    run = runs.load_run(name)
    if rows := explanations.find_surest(run, **surest):
        return rows
    asked = " and ".join(key for key, count in surest.items() if count)
    raise ValueError(
        f"{name} has no {asked} among its {count_noun(len(run.predictions), 'held-out picture')} that are still there."
    )


def _write(found: list, result: dict | None, method: str, out: str | None) -> list[str]:
    """Write the sheets; return the paths of the files."""
    from transferkit.console import warn
    from transferkit.explain import drawing

    path = Path(out or f"explain-{method}.png")
    groups = _group(found)
    if path.suffix:
        if len(groups) > MOST_ROWS and METHODS[method].needs_pictures:
            warn(
                f"{path} has the first {MOST_ROWS} of {count_noun(len(groups), 'picture')}: --out FOLDER draws "
                "a file for each."
            )
        rows = [each for group in groups[:MOST_ROWS] for each in group]
        figures = {path: partial(drawing.draw_sheet, rows if METHODS[method].needs_pictures else found)}
    else:
        path.mkdir(exist_ok=True)
        width = len(str(len(groups)))
        figures = {
            path / f"{number:0{width}}-{_stem(group[0])}-{method}.png": partial(drawing.draw_sheet, group)
            for number, group in enumerate(groups, start=1)
        }
    if result:
        place = path.with_name(f"{path.stem}-sanity.png") if path.suffix else path / f"{method}-sanity.png"
        figures[place] = partial(drawing.draw_sanity, result, method)
    for place, draw in figures.items():
        _save(draw(), place)
    return list(map(str, figures))


def _save(figure, path: Path):
    from transferkit import atomic

    atomic.write(path, lambda partial: figure.savefig(partial, dpi=DPI, format="png"))


def _group(found: list) -> list[list]:
    """Those of each picture together; what has no picture together too."""
    groups: dict = {}
    for each in found:
        groups.setdefault(each.path, []).append(each)
    return list(groups.values())


def _stem(each) -> str:
    from transferkit.data.file_ranges import original_name

    return Path(original_name(each.path)).stem if each.path else each.layer or each.label or "network"


def _to_document(found: list, result: dict | None, errors: dict, method: str, files: list[str]) -> dict:
    rows = [
        {
            "path": each.path,
            "class": each.label or None,
            "probability": each.probability,
            "predicted": each.predicted or None,
            "layer": each.layer or None,
            "shape": list(each.values.shape),
            "lowest": float(each.values.min()),
            "highest": float(each.values.max()),
        }
        | ({"true": each.true} if each.true else {})
        | ({"note": each.note} if each.note else {})
        | _list_projections(each)
        for each in found
    ]
    document = {"method": method, "explanations": rows, "errors": errors, "files": files}
    return document | ({"sanity": result} if result else {})


def _list_projections(each) -> dict:
    """What was projected: maps of a picture, or the pictures of a map."""
    if each.sheet:
        pairs = zip(each.sheet.paths, each.sheet.strengths, strict=True)
        return {"pictures": [{"path": path, "activation": float(strength)} for path, strength in pairs]}
    maps = [{"map": number, "activation": strength} for number, strength in each.maps.items()]
    return {"maps": maps} if maps else {}


def _print(found: list, result: dict | None, files: list[str]):
    """Print a table of what was explained, the result of --sanity, and the files."""
    from transferkit.console import say, stdout_console, table

    on, percent = stdout_console(), result_output.format_percent
    columns = {
        "picture": [each.path or "" for each in found],
        "true": [each.true for each in found],
        "class": [each.label for each in found],
        "probability": ["" if each.probability is None else percent(each.probability) for each in found],
        "layer": [each.layer for each in found],
        "note": [each.note for each in found],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    table(None, list(shown), list(zip(*shown.values(), strict=True)), on)
    if result:
        rows = [(row["layer"], f"{row['correlation']:.2f}") for row in result["randomised"]]
        say("", on)
        table(None, ("weights random from the top to", "rank correlation of the maps"), rows, on)
        pairs = ("deletion", "insertion")
        areas = [(name, f"{result[name]:.3f}", f"{result[f'turned_{name}']:.3f}") for name in pairs]
        say("", on)
        table(None, ("area under the curve", "of the maps", "of the maps turned by 180 degrees"), areas, on)
        say("Deletion should be low, insertion high, and the correlation near 0 when all weights are random.", on)
    for file in files:
        say(f"{file}: {count_noun(len(found), 'row')}" if len(files) == 1 else file)
