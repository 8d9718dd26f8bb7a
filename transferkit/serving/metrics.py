"""The figures of a server, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # bounds of the histogram
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server.

    Attributes:
        requests: by path and status.
        pictures: that were classified.
        errors: by kind, of requests and of pictures.
        seconds: of requests, by path.
        batches: sizes of the batches that the network saw.
        waiting: pictures that are read or wait for the network.
    """

    def __init__(self):
        self._registry = CollectorRegistry()
        self.requests = self._make(Counter, "requests", "HTTP requests", labelnames=("path", "status"))
        self.pictures = self._make(Counter, "pictures", "pictures that were classified")
        self.errors = self._make(Counter, "errors", "requests and pictures that were refused", labelnames=("kind",))
        self.seconds = self._make(
            Histogram, "request_seconds", "time from request to answer", labelnames=("path",), buckets=SECONDS
        )
        self.batches = self._make(Histogram, "batch_pictures", "pictures in a batch of the network", buckets=SIZES)
        self.waiting = self._make(Gauge, "waiting_pictures", "pictures that are read or wait for the network")
        ProcessCollector(registry=self._registry)

    def _make(self, kind, name: str, about: str, **facts):
        return kind(f"transferkit_{name}", about, registry=self._registry, **facts)

    def write(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return generate_latest(self._registry)
