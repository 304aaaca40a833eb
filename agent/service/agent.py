"""The whole agent: everything it needs is opened, served and closed again.

Owns what runs beside the loop: the process for HTTP and the scheduled jobs (reports, retention).
"""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue

from prometheus_client import CollectorRegistry

from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.health import ROLLBACK, STATUS, Health, routes
from driftgauge.agent.outlets.http import Response, address, json_response
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.rejection_log import RejectionLog
from driftgauge.agent.service import build, build_pipeline
from driftgauge.agent.service.backoff import Backoff, StoppedError
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.reporting import report_job
from driftgauge.agent.service.rollback import requested_rollback
from driftgauge.agent.service.schedule import Job, Schedule, trigger
from driftgauge.agent.service.web_process import WebProcess
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Record, Store
from driftgauge.connectors.store.database import parse, shown
from driftgauge.models.outputs import Output

log = logging.getLogger(__name__)

RETENTION_EVERY_S = 60.0
RETENTION_ROWS = 5_000


class EventTime(Observer):
    """An observer that keeps the watermark, from which retention counts back."""

    watermark = float("-inf")

    def resumed(self, state: State) -> None:
        """Keep the watermark."""
        self.watermark = state.watermark

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        """Keep the watermark."""
        self.watermark = state.watermark

    def believed(self) -> float:
        """The time that retention counts back from: event time, but never later than the time of this machine.

        So neither a producer nor a machine with a wrong clock deletes anything by itself.
        """
        return min(self.watermark, time.time())


def run_agent(settings: Settings, stopping: threading.Event, *, keep_audit: bool = False) -> None:
    """Run the whole agent until ``stopping`` is set.

    An agent that is stopped while it waits for its store has not begun to serve and ends without having done anything.
    """
    with suppress(StoppedError), open_agent(settings, stopping, keep_audit=keep_audit) as agent:
        agent.run()


@contextmanager
def open_agent(
    settings: Settings, stopping: threading.Event | None = None, *, keep_audit: bool = False
) -> Iterator[Loop]:
    """Give the whole agent, ready to run; everything that it opened is closed at the end.

    Raises
    ------
    StoppedError
        When ``stopping`` is set before the store could be opened.
    """
    stopping = stopping or threading.Event()
    health, event_time, registry = Health(), EventTime(), CollectorRegistry()
    observers = (Metrics(registry, max_domains=settings.bounds.max_domains), health, event_time, RejectionLog())
    requests: SimpleQueue[Callable[[Store], None]] = SimpleQueue()

    def rolled_back(number: int, fingerprint: str) -> Response:
        requests.put(requested_rollback(build_pipeline.committee_settings(settings), number, fingerprint))
        return json_response({})

    with ExitStack() as stack:
        if settings.server.enabled:
            pages: dict[str, Callable[..., Response]] = {STATUS: health.status, ROLLBACK: rolled_back}
            web = WebProcess(settings, {**routes(health, registry), **pages})
            stack.callback(web.close)
            log.info("dashboard, API, health and metrics on %s", address(settings.server.host, web.port))
        backoff = Backoff(settings.kafka.patience_s, stopping, observers)
        store = backoff.until(lambda: build.store(settings, keep_audit=keep_audit))
        stack.callback(store.close)
        place = shown(parse(settings.store.url.get_secret_value()))
        log.info("reads %s; the store is %s", ", ".join(build.topics_read(settings)), place)
        schedule = Schedule(jobs(settings, store, event_time))
        stack.callback(schedule.close)
        gc.freeze()  # objects of libraries are most of all objects and stay: a collection that visits them takes 0.2 s
        stack.callback(gc.unfreeze)
        yield build.loop(settings, store, observers, stopping, requests)


def jobs(settings: Settings, store: Store, event_time: EventTime) -> list[Job]:
    """The scheduled jobs: reports and retention, each where the settings ask for it."""
    found = []
    if report := report_job(settings, store):
        found.append(report)
    retention_s, retention_times = settings.store.retention_s, trigger(interval_s=RETENTION_EVERY_S)
    daily_s = settings.store.daily_retention_s or math.inf
    if retention_s and retention_times:

        def expire() -> None:
            now = event_time.believed()
            expire_old(store, now - retention_s)
            store.expire_days(now - daily_s)

        found.append(Job("retention", expire, retention_times))
    return found


def expire_old(store: Store, older_than: float) -> None:
    """Expire what is older than this event time, one short transaction after another: the loop goes on in between."""
    while store.expire(older_than, RETENTION_ROWS) == RETENTION_ROWS:
        pass
