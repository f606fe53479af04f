"""What the server counts about itself, for Prometheus. Each server has its own registry, so tests do not share counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Measures:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("trainyard_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry)
        self.seconds = Histogram(
            "trainyard_http_request_seconds",
            "Time to the first byte of an answer.",
            ("method", "route"),
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.doorbell_failures = Counter(
            "trainyard_doorbell_failures", "Rings that the broker did not take; workers find the jobs by polling.", registry=self.registry
        )
        self.pass_failures = Counter("trainyard_maintenance_failures", "Maintenance passes that failed.", registry=self.registry)
        self.reaped = Counter("trainyard_reaped_attempts", "Attempts whose lease ran out.", registry=self.registry)
        self.jobs = Gauge("trainyard_jobs", "Jobs by state.", ("state",), registry=self.registry)
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def note_answer(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer. The children are kept: finding them by label costs more than counting."""
        key = (method, route, status)
        found = self._answers.get(key)
        if found is None:
            found = self.requests.labels(method, route, str(status)), self.seconds.labels(method, route)
            self._answers[key] = found
        found[0].inc()
        found[1].observe(seconds)
