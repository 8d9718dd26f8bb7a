"""The HTTP interface, as an ASGI application."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router

from transferkit.console import warn
from transferkit.cpus import available_cpus
from transferkit.evaluation.predict import THREADS
from transferkit.lookup import first_line, none_can
from transferkit.serving.batching import Batcher
from transferkit.serving.classifier import Classifier
from transferkit.serving.metrics import Metrics
from transferkit.serving.page import make_headers, render_page
from transferkit.serving.requests import Limits, Refused
from transferkit.serving.uploads import Budget, Upload, read_uploads

TOP = 5  # labels of each picture


def create_app(classifier: Classifier, name: str, limits: Limits | None = None) -> "Guard":
    """An ASGI application that classifies pictures.

    Args:
        classifier: the network.
        name: of the network, for the page.
        limits: of requests and of all that waits.

    Example:
        >>> app = create_app(make_classifier(network, "runs/pets"), "pets")  # doctest: +SKIP
        >>> uvicorn.run(app)  # doctest: +SKIP
    """
    limits = limits or Limits()
    service, page = Service(classifier, limits), render_page(classifier, name, limits)
    routes = [
        Route("/", _answer_always(HTMLResponse(page))),
        Route("/predict", service.predict, methods=["POST"]),
        Route("/explain", service.explain, methods=["POST"]),
        Route("/labels", _answer_always(JSONResponse(classifier.network.classes))),
        Route("/healthz", service.health),
        Route("/metrics", service.report_metrics),
    ]

    @asynccontextmanager
    async def lifespan(app):
        yield
        service.close()

    paths = frozenset(route.path for route in routes)
    return Guard(Router(routes, lifespan=lifespan), service.metrics, paths, make_headers(page))


def _answer_always(response: Response):
    async def answer(request):
        return response

    return answer


class Guard:
    """Around an application: headers, figures, and a sentence in place of an error."""

    def __init__(self, app, metrics: Metrics, paths: frozenset[str], headers: list[tuple[bytes, bytes]]):
        self._app, self._metrics, self._paths, self._headers = app, metrics, paths, headers

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, statuses = time.perf_counter(), []

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                message = message | {"headers": [*message["headers"], *self._headers]}
            await send(message)

        try:
            await self._app(scope | {"app": self}, receive, send_with_headers)  # with an app, a router raises errors
        except ClientDisconnect:
            statuses.append(499)  # as nginx counts those who went away
        except Exception as error:
            response = self._answer_error(error, scope)
            if not statuses:
                await response(scope, receive, send_with_headers)
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.requests.labels(path, statuses[0]).inc()
        self._metrics.seconds.labels(path).observe(time.perf_counter() - start)

    def _answer_error(self, error: Exception, scope) -> Response:
        if isinstance(error, HTTPException):  # an unknown path, or a wrong method
            sentence = f"{scope['method']} {scope['path']}: {error.detail.lower()}."
            error = Refused(error.status_code, "request", sentence)
        if isinstance(error, Refused):
            self._metrics.errors.labels(error.kind).inc()
            retry = {"retry-after": "1"} if error.kind == "busy" else None
            return JSONResponse({"error": error.sentence}, error.status, retry)
        self._metrics.errors.labels("internal").inc()
        warn(f"A request failed: {type(error).__name__}: {first_line(error)}.")
        return JSONResponse({"error": "The server failed; its log says why."}, 500)


class Service:
    """What the paths do, with what they share."""

    def __init__(self, classifier: Classifier, limits: Limits):
        self.classifier, self.limits, self.metrics = classifier, limits, Metrics()
        self._bytes = Budget(limits.waiting_megabytes * 10**6)
        self._pictures = Budget(limits.waiting)
        self._readers = ThreadPoolExecutor(available_cpus(), "reader")
        self._explainer = ThreadPoolExecutor(1, "explainer")
        self._explainer.submit(classifier.warm_up_gradcam)  # in the background, as it takes seconds
        self._batcher = Batcher(self._compute, size=limits.batch, workers=THREADS)
        self.metrics.waiting.set_function(lambda: self._pictures.used)

    async def predict(self, request: Request) -> Response:
        """Classify the pictures of a request: rows as `predict --json` prints them."""
        top = self._read_top(request)
        with self._bytes.hold() as take, self._pictures.hold() as admit:
            uploads = await read_uploads(request, self.limits, take)
            admit(len(uploads))
            rows, refused = await self._classify(uploads, top)
        if len(refused) < len(rows):
            return JSONResponse(rows)
        which = none_can(len(rows), "picture")
        return JSONResponse({"error": f"{which} be read: {refused[0]}.", "pictures": rows}, refused[0].status)

    async def explain(self, request: Request) -> Response:
        """A PNG of the Grad-CAM of one picture, for the class `class`, by default the predicted one."""
        with self._bytes.hold() as take, self._pictures.hold() as admit:
            uploads = await read_uploads(request, self.limits, take)
            if len(uploads) > 1:
                raise Refused(413, "too_many", f"One picture is explained at a time, not {len(uploads)}.")
            admit(1)
            view = await self._read(uploads[0])
            label = request.query_params.get("class")
            if label is None:
                label = self.classifier.describe([await self._run(view)], 1)[0]["label"]
            drawn = await _in_thread(self._explainer, self.classifier.draw_gradcam, view, label)
        return Response(drawn, media_type="image/png")

    async def health(self, request: Request) -> Response:
        """Whether the server can classify."""
        alive = self._batcher.is_alive()
        return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    async def report_metrics(self, request: Request) -> Response:
        """Figures for Prometheus."""
        return Response(self.metrics.write(), media_type="text/plain; version=0.0.4")

    def close(self):
        """Answer what waits, and end all threads."""
        self._readers.shutdown()
        self._explainer.shutdown()
        self._batcher.close()

    def _read_top(self, request: Request) -> int:
        text, count = request.query_params.get("top", str(TOP)), len(self.classifier.network.classes)
        if not re.fullmatch("[0-9]{1,9}", text) or not int(text):
            raise Refused(400, "request", f"top is a whole number of at least 1, not {text[:20]!r}.")
        return min(int(text), count)

    async def _classify(self, uploads: list[Upload], top: int) -> tuple[list[dict], list[Refused]]:
        """A row for each upload, and why some could not be read."""
        found = await asyncio.gather(*map(self._compute_upload, uploads), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, Refused):
                raise each
        outputs = [each for each in found if not isinstance(each, BaseException)]
        answers = iter(self.classifier.describe(outputs, top) if outputs else [])
        unknown = {"label": None, "probability": None, "top": None}
        added = {"unlike": None} if self.classifier.shift else {}
        refused = [each for each in found if isinstance(each, Refused)]
        rows = [
            {"path": upload.name}
            | (unknown | {"error": each.sentence} | added if isinstance(each, Refused) else next(answers))
            for upload, each in zip(uploads, found, strict=True)
        ]
        self.metrics.pictures.inc(len(outputs))
        for each in refused:
            self.metrics.errors.labels(each.kind).inc()
        return rows, refused

    async def _compute_upload(self, upload: Upload):
        return await self._run(await self._read(upload))

    async def _read(self, upload: Upload):
        return await _in_thread(self._readers, self.classifier.read_view, upload.data)

    async def _run(self, view):
        return await asyncio.wrap_future(self._batcher.submit(view))

    def _compute(self, views: list):
        self.metrics.batches.observe(len(views))
        return self.classifier.compute(views)


def _in_thread(threads: ThreadPoolExecutor, function, *args):
    return asyncio.get_running_loop().run_in_executor(threads, function, *args)
