"""The doorbell: tells every worker that there may be work. It carries no job, and nobody waits for it.

One thread sends; rings that come while it sends become one more ring. A broker that is down costs a counter and a log
line: workers poll, so a lost ring costs one poll interval.
"""

import logging
import threading
from types import TracebackType
from typing import Protocol, Self

from celery import Celery
from kombu.entity import Exchange
from kombu.exceptions import OperationalError

from api.measures import Measures

log = logging.getLogger("trainyard.api.doorbell")

TASK = "worker.tasks.look_for_work"
EXCHANGE = Exchange("trainyard.doorbell", type="fanout")  # type: ignore[no-untyped-call]
SEND_SECONDS = 2.0
EXPIRES_SECONDS = 60.0


class Bell(Protocol):
    def send(self) -> None:
        """Sends one ring; raises OSError or kombu's OperationalError when the broker does not take it."""


class CeleryBell:
    """Celery's message for ``look_for_work``, broadcast by name: no code of the worker is imported."""

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery(broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            broker_connection_timeout=SEND_SECONDS,
            broker_pool_limit=1,
            broker_transport_options={
                "socket_timeout": SEND_SECONDS,
                "socket_connect_timeout": SEND_SECONDS,
                "socket_keepalive": True,
                "max_retries": 0,
                "retry_on_timeout": False,
            },
        )

    def send(self) -> None:
        self._celery.send_task(
            TASK,
            exchange=EXCHANGE.name,
            exchange_type="fanout",
            routing_key="",
            declare=[EXCHANGE],  # Redis tells a fanout from a queue only by a declaration on the same channel
            expires=EXPIRES_SECONDS,
            ignore_result=True,
            retry=False,
        )


class NoBell:
    """Without a broker, workers find the jobs by polling alone."""

    def send(self) -> None:
        return


class Doorbell:
    """``ring()`` returns at once; the ringing is done by a thread that lives while the doorbell is entered."""

    def __init__(self, bell: Bell, measures: Measures) -> None:
        self._bell = bell
        self._measures = measures
        self._asked = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def ring(self) -> None:
        """Tells the workers, soon. Call after the commit, from any thread; never fails and never waits."""
        self._asked.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        """Sends what was asked for, as far as that takes no longer than one sending may, and stops."""
        self._is_closing = True
        self._asked.set()
        self._thread.join(timeout=2 * SEND_SECONDS)

    def _run(self) -> None:
        while not self._is_closing:
            self._asked.wait()
            self._asked.clear()
            try:
                self.send_once()
            except Exception:
                # The outermost pass of the loop: a thread that ended would silence the bell for good.
                self._measures.doorbell_failures.inc()
                log.exception("ringing crashed", extra={"event": "pass.failed"})

    def send_once(self) -> None:
        """One ring; a failure is counted, not raised."""
        try:
            self._bell.send()
        except (OSError, OperationalError) as error:
            self._measures.doorbell_failures.inc()
            log.warning("the broker did not take a ring", extra={"event": "doorbell.failed", "cause": str(error)})


def make_bell(broker_url: str | None) -> Bell:
    return NoBell() if broker_url is None else CeleryBell(broker_url)
