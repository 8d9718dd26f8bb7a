"""transferkit serve"""

import os
import sys

import click

from transferkit import trust
from transferkit.commands import options, result_output
from transferkit.pixels import CONVENTIONS
from transferkit.serving.requests import Limits, check_packages


@click.command(short_help="Serve a network: a page to drop pictures on, and POST /predict.")
@options.network_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="The address; 0.0.0.0 is every one of yours.")
@click.option("--port", type=options.WholeNumber(0, 65535), default=8000, show_default=True, help="0 is any free one.")
@click.option(
    "--max-mb",
    type=options.WholeNumber(1, 200),
    default=Limits.megabytes,
    show_default=True,
    help="Megabytes of a request.",
)
@click.option(
    "--max-pictures",
    type=options.WholeNumber(1, Limits.waiting),
    default=Limits.pictures,
    show_default=True,
    help="Pictures of a request.",
)
@click.option(
    "--batch",
    type=options.WholeNumber(1, 512),
    default=Limits.batch,
    show_default=True,
    help="Pictures that the network sees at once, at most.",
)
@options.knob_options("classes")
@options.weights_option
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.trust_option
@options.json_option
def command(network, host, port, max_mb, max_pictures, batch, classes, weights, pixels, trusted, as_json):
    """Serve NETWORK, a run, a network's name or a Keras model's file, until Ctrl-C.

    \b
    Example: transferkit serve runs/pets
    Example: curl -F file=@cat.jpg -F file=@dog.jpg http://127.0.0.1:8000/predict

    \b
    GET /           a page to drop, paste or choose pictures
    POST /predict   pictures as multipart/form-data, or a body of image/*;
                    answers as predict --json does; ?top=5
    POST /explain   one picture; answers a PNG of its Grad-CAM; ?class=NAME
    GET /labels     the classes
    GET /healthz    whether it works
    GET /metrics    figures for Prometheus

    Pictures stay in memory and are not stored. Only this machine reaches the server unless --host says otherwise.
    --json prints the address as a JSON document once the server answers.
    """
    from transferkit import bases
    from transferkit.console import say
    from transferkit.data import lazy_tensorflow

    if trusted:
        trust.allow(network)
    check_packages()
    bases.check_base(network, weights, pixels or "")
    from transferkit.serving import server

    with server.open_socket(host, port) as opened:
        bases.fetch_missing(network, weights)
        say(f"Loading {network} ...")
        lazy_tensorflow.load()
        loaded = _load(network, weights, pixels or "", classes)
        limits = Limits(megabytes=max_mb, pictures=max_pictures, batch=batch)
        _serve(loaded, network, limits, opened, as_json)


def _load(network: str, weights: str, pixels: str, classes: str | None):
    from transferkit import models
    from transferkit.console import say
    from transferkit.data import class_names

    loaded = models.load(network, weights, pixels=pixels)
    loaded = class_names.name_outputs(loaded, options.build_recipe(None, {"classes": classes}).model)
    for line in result_output.notable(loaded.loaded):
        say(line)
    return loaded


def _serve(loaded, network: str, limits: Limits, opened, as_json: bool):
    from transferkit.console import say, warn
    from transferkit.serving import server
    from transferkit.serving.app import create_app
    from transferkit.serving.classifier import make_classifier

    name = os.path.basename(os.path.normpath(network)) if os.path.exists(network) else network
    running = server.make_server(create_app(make_classifier(loaded, network), name, limits))
    opened.listen()  # from now on clients wait and are not refused
    url = server.find_url(opened)
    if not server.is_loopback(opened):
        warn(f"Everyone who reaches {url} can send pictures: it has no password and no encryption.")
    say(f"{name} answers at {url} (Ctrl-C stops it)")
    if as_json:
        result_output.print_json({"url": url, "network": network, "classes": len(loaded.classes)})
        sys.stdout.flush()
    try:
        running.run([opened])
    except KeyboardInterrupt:
        say("Stopped.")
