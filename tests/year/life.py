"""The whole agent through a simulated year, without a broker.

It is the product's loop, decoder, pipeline and SQLite store; days come from `tests/year/traffic.py`. The agent is
stopped in order and started again every ten days, and killed in the middle of a day every seventeen. Retention runs
every night. What happened is in the `Books`.
"""

from __future__ import annotations

import hashlib
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.service import build, build_decoding, build_pipeline
from driftgauge.agent.service.agent import expire_old
from driftgauge.agent.service.loop import Loop
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError, Message, Positions, Record, Store, TopicPartition
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.testing import Crash
from driftgauge.models.account import Account
from driftgauge.models.outputs import Alert, Estimate, Output
from tests.year.books import MONTH_DAYS, Books, Month
from tests.year.traffic import DAY_S, START, Day, Year

DAYS_PER_STOP, DAYS_PER_KILL = 10, 17
MAX_RECORDS = 60
RETENTION_DAYS = 45

SETTINGS: dict[str, Any] = {
    "windows.hop_s": 21_600,
    "context.max_fingerprints": 8,
    "bounds.max_domains": 12,
    "store.retention_s": RETENTION_DAYS * DAY_S,
    "estimates.min_events": 15,
    "server.enabled": False,
}
"""Bounds that a year reaches: releases make 104 contexts, and 63 domains come and go."""


class Bookkeeper(Observer):
    """Enters into the books what the loop did."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._account = Account()

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:
        """Enter outputs, and what the state holds."""
        books = self._books
        for output in outputs:
            if isinstance(output, Estimate):
                books.estimates[output.key] = output
            elif isinstance(output, Alert):
                books.alerts.append(output)
        names = {series.domain for series in state.domains}
        books.now = {"contexts": len(state.contexts), "domains": len(names), "series": len(state.domains)}
        books.most = {what: max(books.most.get(what, 0), n) for what, n in books.now.items()}
        books.counters = dict(state.counters)
        books.n_delivered += len(records)

    def account(self, account: Account) -> None:
        """Enter the records that came since the last call."""
        self._books.n_accounted += account.records - self._account.records
        for reason, n in (account.dead_letters - self._account.dead_letters).items():
            self._books.dead_letters[reason] = self._books.dead_letters.get(reason, 0) + n
        self._account = Account()  # a copy: the loop goes on with its own
        self._account.add(account)

    def failure(self, error: ConnectorError | None) -> None:
        """No connector may fail here."""
        if error is not None:
            self._books.violations.append(f"a connector failed: {error}")


class Sink:
    """Checks that one name of a message never stands for two contents."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def publish(self, messages: Sequence[Message]) -> None:
        """Enter names and contents."""
        for message in messages:
            name = f"{message.topic} {dict(message.headers)['ce_id'].decode()}"
            content = hashlib.blake2b(message.value, digest_size=8).hexdigest()
            if self._books.contents.setdefault(name, (self._books.days, content))[1] != content:
                self._books.violations.append(f"two contents under one name: {name}")

    def close(self) -> None:
        """Nothing is held."""


class Source:
    """Days as records; ends a run of the agent where the plan says: in order (``stopping``), or as a kill (`Crash`)."""

    is_exhausted = False

    def __init__(self, days: Iterator[Day], after_day: Callable[[Day], None], books: Books) -> None:
        self.stopping = threading.Event()
        self.is_over = False
        self._days, self._after_day, self._books = days, after_day, books
        self._day: Day | None = None
        self._next = 0
        self._positions: Positions = {}
        self._polled = time.process_time()

    def open(self, positions: Positions) -> None:
        """Read the day from its beginning, without what lies before the positions."""
        self._positions, self._next = dict(positions), 0
        self._polled = time.process_time()

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - days never make a caller wait
        """The next records of the day; nothing once the agent is to stop."""
        self._books.longest_step_s = max(self._books.longest_step_s, time.process_time() - self._polled)
        records = self._records()
        self._polled = time.process_time()
        return records

    def commit(self, positions: Positions) -> None:
        """Positions are those of the store."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Nothing waits."""
        return {}

    def close(self) -> None:
        """Nothing is held."""

    def _records(self) -> list[Record]:
        if self._day is None:
            self._day, self._next = next(self._days, None), 0
            if self._day is None:
                self.is_over = True
                self.stopping.set()
                return []
            self._books.responses += self._day.responses
            self._books.n_responses += len(self._day.responses)
            self._books.n_labels += sum(record.topic == "labels" for record in self._day.records)
        found = self._day.records[self._next : self._next + MAX_RECORDS]
        is_first, self._next = self._next == 0, self._next + MAX_RECORDS
        if not found:
            self._end_day(self._day)
            return []
        fresh = [r for r in found if r.offset >= self._positions.get(TopicPartition(r.topic, r.partition), 0)]
        if not is_first and fresh == found and self._is_killed_in(self._day):
            raise Crash
        return fresh or self._records()

    def _is_killed_in(self, day: Day) -> bool:
        killed = self._books.starts.get("after a kill", 0)
        is_due = day.number >= (killed + 1) * DAYS_PER_KILL
        self._books.starts["after a kill"] = killed + is_due
        return is_due

    def _end_day(self, day: Day) -> None:
        self._day = None
        self._books.days = day.number + 1
        self._after_day(day)
        if self._books.days % DAYS_PER_STOP == 0:
            self._books.starts["after a stop"] = self._books.starts.get("after a stop", 0) + 1
            self.stopping.set()


def live(
    folder: Path, days: int, *, seed: int = 0, per_hour: float = 25.0, books: Books | None = None,
    settings: Mapping[str, Any] | None = None, report: Callable[[Month], None] = lambda _: None,
) -> Books:  # fmt: skip
    """Live the days up to ``days``, from the first one or from where the ``books`` of this folder end."""
    books, store_file = books or Books(), folder / "year.db"
    configured = load_settings(None, {**SETTINGS, **(settings or {}), "store.url": f"sqlite:///{store_file}"})
    stores: list[Store] = []

    def after_day(day: Day) -> None:
        expire_old(stores[-1], day.end - configured.store.retention_s)
        if books.days % MONTH_DAYS == 0:
            memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            report(books.close_month(memory_mib, _size(store_file) / 2**20))

    source = Source(islice(Year(seed, per_hour).days(days), books.days, None), after_day, books)
    while not source.is_over:
        source.stopping.clear()
        with closing(build.store(configured)) as store:
            stores.append(store)
            with suppress(Crash):
                _loop(configured, store, source, books).run()
    _compare_store(configured, books)
    return books


def _compare_store(settings: Settings, books: Books) -> None:
    """Every response of the last month is in the store once."""
    end = START + books.days * DAY_S
    start = end - min(MONTH_DAYS * DAY_S, settings.store.retention_s)
    sent = sum(response.event_time >= start for response in books.responses)
    with closing(open_queries(settings.store.url.get_secret_value())) as queries:
        stored = sum(count.n_events for count in queries.counts(start, end).values())
    if stored != sent:
        books.violations.append(f"{sent} responses of the last {(end - start) / DAY_S:.0f} days, {stored} in the store")


def _loop(settings: Settings, store: Store, source: Source, books: Books) -> Loop:
    return Loop(
        build_pipeline.pipeline_settings(settings), build_decoding.decoder(settings), store,
        lambda: source, lambda: Sink(books),
        observers=(Bookkeeper(books),), stopping=source.stopping,
    )  # fmt: skip


def _size(file: Path) -> int:
    return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))
