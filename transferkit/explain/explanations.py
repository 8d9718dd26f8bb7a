"""Explain a network on pictures by any method: what `transferkit explain` and `transferkit.explain_pictures` do."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

from transferkit import adopt, models
from transferkit.adopt.saved_model import is_saved_model
from transferkit.console import warn
from transferkit.data import pipeline
from transferkit.data.audit import before_training
from transferkit.data.file_ranges import container_file
from transferkit.data.sources import resolve
from transferkit.data.sources.picture_values import are_paths, picture_files
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.predict import choose_batch_size, require_classifier
from transferkit.explain import activations, deconvnet_sheet, gradients, map_layers, sanity
from transferkit.explain.batches import map_batches
from transferkit.explain.explanation import Explanation, Views, enlarge
from transferkit.explain.methods import HEAT_METHODS, METHODS, find_function
from transferkit.lookup import UnknownName, look_up, none_can, quote, suggest_known
from transferkit.network import Network, find_output
from transferkit.runs import Run

BASELINES = ("mean", "black")
UNITS = 9  # of a layer that are maximised if none is given


def explain_pictures(
    base, pictures=(), method: str = "gradcam", *, class_name: str | int | None = None, **options
) -> list[Explanation]:
    """Explain what a network sees in pictures.

    Args:
        base: a run, a network of `list_models`, a run folder, the file of a Keras model, or a Keras model.
        pictures: a path (a picture, a folder, or what `--data` takes), a list of paths, uint8 arrays (h, w, channels)
            or pictures of Pillow. Not for the methods `filters` and `maximise`.
        method: gradcam, occlusion, saliency, guided, integrated-gradients, activations, deconvnet, filters or maximise.
        class_name: the class to explain, by its name or number; by default the predicted one.
        **options: `layer` (gradcam, activations, deconvnet, filters, maximise), `square` and `stride` in pixels
            (occlusion), `baseline` "mean" or "black" (occlusion, integrated-gradients), `steps` (integrated-gradients,
            maximise), `unit`, the number of a map (deconvnet, maximise); and `weights` and `pixels` as of `create`.

    Returns:
        An `Explanation` for each picture that can be read; for activations without a layer, one for each cut point; of
        deconvnet and more than nine pictures, one for each of nine maps, with the pictures that move it most.

    Raises:
        UnknownName: the method, the class, the layer or an option is not known or does not fit the other.
        FileNotFoundError: there is no such network or picture.
        ValueError: no picture can be read, or the network has no classes.

    Example:
        >>> explain_pictures("runs/pets", "tabby.jpg")[0].draw().savefig("why.png")  # doctest: +SKIP
    """
    kwargs = {name: options.pop(name) for name in ("weights", "pixels") if name in options}
    check_options(method, options, class_name)
    network = load_network(base, **kwargs)
    if not METHODS[method].needs_pictures:
        return explain_views(network, None, method, class_name=class_name, **options)
    values = resolve.as_pictures(pictures, "pictures")
    with picture_files(values) as paths:
        found, _ = explain_paths(network, paths, method, class_name=class_name, **options)
    return found if are_paths(values) else [replace(each, path=None) for each in found]


def check_options(method: str, options: dict, class_name=None):
    """Raise `UnknownName` for an unknown method, or an option that it does not take."""
    takes = look_up(METHODS, method, "method").options
    for name in options:
        if name not in takes:
            takers = [other for other, each in METHODS.items() if name in each.options]
            raise UnknownName(
                f"{method} takes no {name}: " + (f"{', '.join(takers)} does." if takers else "no method has it.")
            )
    if class_name is not None and method in ("activations", "filters", "deconvnet"):
        raise UnknownName(f"{method} explains no class: omit {class_name!r}.")
    if options.get("baseline", "mean") not in BASELINES:
        raise UnknownName(f"baseline is mean or black, not {quote(str(options['baseline']))}.")
    for name in ("square", "stride", "steps"):
        if name in options and (not isinstance(options[name], int) or options[name] < 1):
            raise UnknownName(f"{name} must be a whole number of at least 1, not {options[name]!r}.")


def load_network(base, weights: str = "imagenet", pixels: str = "") -> Network:
    """The network of a run, a name, a file or a Keras model, flat.

    Raises:
        UnknownName: it is a SavedModel, which has no layers.
    """
    if isinstance(base, Network):
        return base
    if isinstance(base, Run):
        return base.network
    if isinstance(base, keras.Model):
        return adopt.adopt_model(base, pixels, source="the model")
    if is_saved_model(Path(base)):
        raise UnknownName(
            f"{base} is a SavedModel, a program without layers to look into: give the model as its .keras file."
        )
    return models.load(base, weights, pixels=pixels)


def read_views(network: Network, paths: Sequence[str]) -> Views:
    """Read pictures and classify them.

    Raises:
        ValueError: none can be read; the reason of the first is given.
    """
    paths, size = [str(path) for path in paths], choose_batch_size(len(paths))
    batches = list(pipeline.evaluation_dataset(paths, network.pixels, batch_size=size))
    rows = np.concatenate([np.asarray(batch_rows) for _, batch_rows in batches] or [np.zeros(0, "int64")])
    errors = dict(before_training.explain_missing_rows(paths, rows))
    if not len(rows):
        path, reason = next(iter(errors.items()), ("", "there are none"))
        raise ValueError(f"{none_can(len(paths), 'picture')} be read: {path}: {reason}.")
    for path, reason in errors.items():
        warn(f"{path} cannot be read: {reason}.")
    pictures = np.concatenate([np.asarray(views) for views, _ in batches])
    logits = np.zeros((len(rows), 0), "float32")
    if network.classes:
        logits = map_batches(lambda batch: [network.model.predict_on_batch(batch)], pictures)[0]
    return Views(tuple(paths[row] for row in rows), pictures, logits, errors)


def find_class(network: Network, name: str | int) -> int:
    """The number of a class.

    Args:
        name: its name, else its number.

    Raises:
        UnknownName: there is none; the nearest names are given.
    """
    if name in network.classes:
        return network.classes.index(name)
    text, count = str(name), len(network.classes)
    if text.isdecimal() and int(text) < count:
        return int(text)
    if text.isdecimal():
        raise UnknownName(f"{network.base} has {count:,} classes, 0 to {count - 1}, not {text}.")
    raise UnknownName(f"No class of {network.base} is called {quote(text)}.{suggest_known(network.classes, text)}")


def explain_paths(network: Network, paths: Sequence[str], method: str, *, class_name=None, **options):
    """Explain pictures; arguments and errors as of `explain_pictures`.

    Returns:
        The explanations, and why pictures could not be read, by path.
    """
    check_options(method, options, class_name)
    if METHODS[method].kind == "projections" and len(paths) > deconvnet_sheet.MOST:
        return deconvnet_sheet.explain_strongest(network, paths, **options)
    views = read_views(network, paths)
    return explain_views(network, views, method, class_name=class_name, **options), views.errors


def explain_views(
    network: Network, views: Views | None, method: str, *, class_name: str | int | None = None, **options
) -> list[Explanation]:
    """Explain pictures that were read; arguments and errors as of `explain_pictures`."""
    check_options(method, options, class_name)
    if method == "filters":
        layer = activations.find_kernels(network.model, options.get("layer", ""))
        return [Explanation(method, activations.filters(network.model, layer=layer), layer)]
    if method == "maximise":
        return _maximise(network, class_name, options)
    if views is None:
        raise ValueError(f"{method} explains pictures: give some.")
    if method == "activations":
        return _show_activations(network, views, options.get("layer", ""))
    if method == "deconvnet":
        return _project(network, views, **options)
    return _explain_class(network, views, method, class_name, options)


def _explain_class(network: Network, views: Views, method: str, class_name, options: dict) -> list[Explanation]:
    require_classifier(network)
    if class_name is None:
        classes = views.logits.argmax(1)
    else:
        classes = np.full(len(views.paths), find_class(network, class_name))
    maps = compute_maps(network, views.pictures, classes, method, **options)
    layer = (options.get("layer") or map_layers.find_last_map(network.model)) if method == "gradcam" else ""
    notes = [""] * len(maps)
    if method == "integrated-gradients":
        colour = _baseline(network, options)
        gaps = gradients.measure_completeness(network.model, views.pictures, classes, maps, baseline=colour)
        notes = [f"sum {gap:.1%} off the change of the score" for gap in gaps]
    probabilities = to_probabilities(views.logits, network.temperature)
    return [
        Explanation(
            method,
            values,
            layer,
            network.classes[label],
            float(row[label]),
            network.classes[row.argmax()],
            path,
            picture,
            note=note,
        )
        for values, label, row, path, picture, note in zip(
            maps, classes, probabilities, views.paths, views.pictures, notes, strict=True
        )
    ]


def compute_maps(network: Network, pictures: np.ndarray, classes: np.ndarray, method: str, **options) -> np.ndarray:
    """The heat maps (n, height, width) of a method, as it gives them."""
    given = dict(options)
    if "baseline" in METHODS[method].options:
        given["baseline"] = _baseline(network, options)
    if method == "occlusion":
        given["temperature"] = network.temperature
    return find_function(method)(network.model, pictures, classes, **given)


def _baseline(network: Network, options: dict):
    return network.pixels.background if options.get("baseline", "mean") == "mean" else 0.0


def _show_activations(network: Network, views: Views, layer: str) -> list[Explanation]:
    """The maps of a layer for each picture; without a layer, of each cut point."""
    names = [layer] if layer else map_layers.list_steps(network.model)
    found = list(zip(names, activations.activations(network.model, views.pictures, names), strict=True))
    predicted = [network.classes[row.argmax()] if len(row) else "" for row in views.logits]
    return [
        Explanation("activations", maps[row], name, predicted=predicted[row], path=path, picture=views.pictures[row])
        for row, path in enumerate(views.paths)
        for name, maps in found
    ]


def _project(network: Network, views: Views, layer: str = "", unit: int | None = None) -> list[Explanation]:
    """The projections of each picture's strongest maps."""
    layer = layer or map_layers.find_last_map(network.model)
    found = find_function("deconvnet")(network.model, views.pictures, layer=layer, unit=unit)
    return [
        Explanation(
            "deconvnet",
            values,
            layer,
            predicted=network.classes[logits.argmax()] if len(logits) else "",
            path=path,
            picture=picture,
            maps=dict(zip(numbers.tolist(), strengths.tolist(), strict=True)),
            note=f"maps {', '.join(map(str, numbers))}",
        )
        for values, numbers, strengths, logits, path, picture in zip(
            *found, views.logits, views.paths, views.pictures, strict=True
        )
    ]


def _maximise(network: Network, class_name, options: dict) -> list[Explanation]:
    layer, unit = options.get("layer", ""), options.get("unit")
    if unit is not None and not layer:
        raise UnknownName("unit is the number of a map of a layer: give a layer too, or a class.")
    if layer and class_name is not None:
        raise UnknownName(f"maximise takes a class or a layer, not both: omit {class_name!r} or {layer!r}.")
    if layer:
        count = find_output(network.model, layer).shape[-1]
        units = list(range(min(UNITS, count))) if unit is None else [unit]
    else:
        require_classifier(network)
        units = [find_class(network, 0 if class_name is None else class_name)]
    pixels = network.pixels
    made, scores = find_function("maximise")(
        network.model,
        units,
        layer=layer,
        colour=pixels.background,
        shape=(*pixels.shape, pixels.channels),
        **{name: options[name] for name in ("steps",) if name in options},
    )
    labels = [f"map {number}" if layer else network.classes[number] for number in units]
    return [
        Explanation("maximise", picture, layer, label, note=f"score {before:.1f} to {after:.1f}")
        for picture, label, (before, after) in zip(made, labels, scores, strict=True)
    ]


def check_sanity(network: Network, views: Views, method: str, *, class_name=None, **options) -> dict:
    """Whether the maps of a method depend on the weights, and whether they point to the pixels that matter.

    Args:
        network, views, method, class_name, options: as of `explain_views`; the method gives heat maps.

    Returns:
        `randomised`: a list of `layer` and `correlation`, the mean rank correlation of the maps with those of the
        network whose layers down to that one are random; `deletion` and `insertion`, the mean areas under the curves,
        `turned_deletion` and `turned_insertion` those of the same maps turned by 180 degrees, which are as coarse and
        show the wrong places; `curves`, mean curves by name; `n` pictures.

    Raises:
        UnknownName: the method gives no heat maps.
    """
    if method not in HEAT_METHODS:
        raise UnknownName(f"--sanity needs a method that gives heat maps, not {method}: {', '.join(HEAT_METHODS)}.")
    found = explain_views(network, views, method, class_name=class_name, **options)
    classes = np.array([network.classes.index(each.label) for each in found])
    shape, colour = views.pictures.shape[1:3], network.pixels.background

    def explain(model):
        maps = compute_maps(replace(network, model=model), views.pictures, classes, method, **options)
        return np.stack([enlarge(each, shape) for each in maps])

    own = np.stack([each.heat for each in found])
    measure = partial(
        sanity.deletion_curves, network.model, views.pictures, classes, temperature=network.temperature, baseline=colour
    )
    curves = [measure(maps) for maps in (own, own[:, ::-1, ::-1])]
    named = dict(zip(("deletion", "insertion", "turned_deletion", "turned_insertion"), sum(curves, ()), strict=True))
    cascade = sanity.randomise_cascade(network.model, explain)
    return {
        "n": len(found),
        "randomised": [{"layer": name, "correlation": float(values.mean())} for name, values in cascade],
        **{name: float(sanity.areas(curve).mean()) for name, curve in named.items()},
        "curves": {name: curve.mean(0).tolist() for name, curve in named.items()},
    }


def find_surest(run: Run, *, hits: int = 0, misses: int = 0) -> list[dict]:
    """The rows of a run's surest mistakes, then of its surest hits, whose pictures are still there."""
    rows = sorted(run.predictions, key=lambda row: -row["probability"])
    rows = [row for row in rows if os.path.exists(container_file(row["path"]))]
    wrong = [row for row in rows if row["label"] != row["predicted"]][:misses]
    right = [row for row in rows if row["label"] == row["predicted"]][:hits]
    return wrong + right


def explain_surest(network: Network, rows: list[dict]) -> list[Explanation]:
    """The Grad-CAM of each of these rows of `find_surest` that can be read, with its true class."""
    views = read_views(network, [row["path"] for row in rows])
    return with_true_classes(explain_views(network, views, "gradcam"), rows)


def with_true_classes(found: list[Explanation], rows: list[dict]) -> list[Explanation]:
    """The explanations with the classes of these rows of `find_surest`."""
    true = {row["path"]: row["label"] for row in rows}
    return [replace(each, true=true.get(each.path, "")) for each in found]
