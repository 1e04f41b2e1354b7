"""What a server counts, as Prometheus reads it. Nothing of what is asked or answered is in it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """
    The figures of one server.

    Args:
        running, waiting (`Callable`): Give the requests that are worked on, and that wait for it.
        trees (`Callable`): Gives the trees that can be fetched.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int], trees: Callable[[], int]):
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"treecot_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"treecot_{name}", text, ["decoding"], buckets=SECONDS, registry=self.registry)

        self.requests = counter("requests", "Requests by how they ended.", "decoding", "status")
        self.prompt_tokens = counter("prompt_tokens", "Tokens of conversations.", "decoding")
        self.generated_tokens = counter("generated_tokens", "All tokens that were generated.", "decoding")
        self.dropped_tokens = counter("dropped_tokens", "Those of branches and samples not given.", "decoding")
        self.simulations = counter("simulations", "Simulations of searches.")
        self.trees = counter("trees", "Trees, by whether they were kept as data and why not.", "kept")
        self.seconds = histogram("request_seconds", "From a request to the end of its answer.")
        self.first_token_seconds = histogram("first_token_seconds", "From a request to the first of its answer.")
        for name, text, value in (
            ("running_requests", "Requests that are worked on.", running),
            ("waiting_requests", "Requests that wait for a place.", waiting),
            ("fetchable_trees", "Trees that /v1/trees gives.", trees),
        ):
            Gauge(f"treecot_{name}", text, registry=self.registry).set_function(value)

    def render(self) -> bytes:
        """The figures as text."""
        return generate_latest(self.registry)
