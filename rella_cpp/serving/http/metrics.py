"""What is counted, for Prometheus: requests, how long they take, what waits, tokens. No texts, no names of users."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Counts what a server does.

    Parameters
    ----------
    waiting
        How many requests wait, or are read.
    tokens
        Prompt tokens so far, and the decoded ones.

    """

    def __init__(self, waiting: Callable[[], int], tokens: Callable[[], tuple[int, int]]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("rella_requests", "Requests answered", ("route", "status"), registry=registry)
        self._seconds = Histogram(
            "rella_request_seconds", "Seconds to an answer", ("route",), buckets=_SECONDS, registry=registry
        )
        Gauge("rella_waiting", "Requests that wait or are read", registry=registry).set_function(waiting)
        registry.register(_Tokens(tokens))

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


class _Tokens:
    """Tokens as the model counts them itself."""

    def __init__(self, tokens: Callable[[], tuple[int, int]]) -> None:
        self._tokens = tokens

    def collect(self) -> list[CounterMetricFamily]:
        """Return the counts of this moment."""
        family = CounterMetricFamily("rella_tokens", "Tokens of prompts, and those that were decoded", labels=["kind"])
        for kind, count in zip(("prompt", "decoded"), self._tokens(), strict=True):
            family.add_metric([kind], count)
        return [family]
