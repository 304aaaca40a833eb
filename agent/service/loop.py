"""Poll, step, commit, publish: the loop around the pipeline.

One batch is

1. one transaction: decode, step, rows, state, positions, outbox
2. publish the outbox, wait for the acknowledgements, forget what was acknowledged
3. commit group offsets, for other people's lag displays only

A kill anywhere means that step 1 happened or did not; step 2 is done again from the outbox at the next start, with the
same keys and revisions. Whatever fails in a way that waiting may cure is answered by starting over from the store.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol, TypeVar

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.state import PipelineSettings, State
from driftgauge.connectors.base import ConnectorError, Record, Sink, Source, Store, TopicPartition
from driftgauge.models.events import Event, Pause, Tick
from driftgauge.models.outputs import Output

log = logging.getLogger(__name__)

T = TypeVar("T")

OUTBOX_BATCH = 1_000
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


class Decodes(Protocol):
    """Turns records into events: `driftgauge.connectors.decoding.decoder.Decoder`, or `Decoded` with readers."""

    def decode(self, records: Sequence[Record]) -> list[Event]:
        """Events of all records, in order."""
        ...


class Observer(Protocol):
    """Who wants to know what the loop did: metrics, readiness, the live table."""

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:
        """Note a committed batch."""
        ...

    def lag(self, lag: dict[TopicPartition, int]) -> None:
        """Note how many records wait."""
        ...

    def trouble(self, error: ConnectorError | None) -> None:
        """Note that the loop waits for something to come back; None: all is well."""
        ...


class Patience:
    """Waiting for something to come back, no longer than ``limit_s`` in all.

    Twice as long each time, with jitter so that many agents do not come back at once. ``stopping`` ends a wait;
    ``observers`` hear what is waited for.
    """

    def __init__(self, limit_s: float, stopping: threading.Event, observers: Sequence[Observer] = ()) -> None:
        self._limit_s = limit_s
        self._stopping = stopping
        self._observers = observers
        self._waited_s = 0.0

    def wait(self, error: ConnectorError) -> None:
        """Wait a while; raise the error instead when waiting cannot cure it or has lasted too long."""
        if not error.retriable or self._waited_s >= self._limit_s:
            raise error
        wait_s = min(max(self._waited_s, FIRST_WAIT_S), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        log.warning("%s; trying again in %.1f s", error, wait_s)
        for observer in self._observers:
            observer.trouble(error)
        self._stopping.wait(wait_s)
        self._waited_s += wait_s

    def restore(self) -> None:
        """All is well: the next trouble is a new one."""
        self._waited_s = 0.0

    def until(self, attempt: Callable[[], T]) -> T:
        """What the attempt gives, once it succeeds."""
        while True:
            try:
                return attempt()
            except ConnectorError as error:
                self.wait(error)


class Loop:
    """The agent: a source, a decoder, a pipeline, a store and a sink, going round until told to stop.

    ``open_source`` and ``open_sink`` are called anew after every trouble, so that nothing broken is kept.
    ``patience_s`` is how long to wait for a connector to come back before giving up with its error, ``pause_after_s``
    how long no record comes before what waits for the next boundary is said; it is also said before an orderly stop.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        decoder: Decodes,
        store: Store,
        open_source: Callable[[], Source],
        open_sink: Callable[[], Sink],
        *,
        observers: Sequence[Observer] = (),
        poll_timeout_s: float = 1.0,
        patience_s: float = 600.0,
        pause_after_s: float = 30.0,
    ) -> None:
        self.settings = settings
        self.decoder = decoder
        self.store = store
        self.open_source = open_source
        self.open_sink = open_sink
        self.observers = observers
        self.poll_timeout_s = poll_timeout_s
        self.pause_after_s = pause_after_s
        self.stopping = threading.Event()
        self.patience = Patience(patience_s, self.stopping, observers)

    def stop(self) -> None:
        """Finish the batch in hand, publish it, and return from `run`. Safe in a signal handler."""
        self.stopping.set()

    def run(self) -> None:
        """Go round until stopped or, with a source that ends, until everything is done."""
        while not self.stopping.is_set():
            try:
                self._serve()
                return
            except ConnectorError as error:
                self.patience.wait(error)

    def _serve(self) -> None:
        with closing(self.open_sink()) as sink, closing(self.open_source()) as source:
            with self.store.transaction() as transaction:
                pipeline = Pipeline.resume(self.settings, transaction)
                positions = transaction.positions()
            self._publish(sink)  # what the last run committed but did not get acknowledged
            source.open(positions)
            last_record = time.monotonic()
            while not self.stopping.is_set():
                records = source.poll(self.poll_timeout_s)
                if records:
                    self._batch(pipeline, records, positions)
                    self._publish(sink)
                    source.commit(positions)
                    last_record = time.monotonic()
                elif source.is_exhausted:  # event time reaches the boundary, so that the last windows close
                    self._speak(pipeline, sink, Tick(pipeline.state.boundary + self.settings.allowed_lateness_s))
                    return
                elif time.monotonic() - last_record >= self.pause_after_s:
                    self._speak(pipeline, sink, Pause())
                self._all_is_well(source)
            self._speak(pipeline, sink, Pause())

    def _batch(self, pipeline: Pipeline, records: Sequence[Record], positions: dict[TopicPartition, int]) -> None:
        fresh = [r for r in records if r.offset >= positions.get(TopicPartition(r.topic, r.partition), 0)]
        events = self.decoder.decode(fresh)
        with self.store.transaction() as transaction:
            outputs = pipeline.step(events, transaction)
            reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in fresh}
            transaction.save_positions(reached)
            transaction.audit(fresh)
            transaction.emit(outputs)
        positions.update(reached)
        for observer in self.observers:
            observer.batch(fresh, outputs, pipeline.state)

    def _publish(self, sink: Sink) -> None:
        while messages := self.store.outbox(OUTBOX_BATCH):
            sink.publish(messages)
            self.store.acknowledge(messages[-1].seq)

    def _speak(self, pipeline: Pipeline, sink: Sink, event: Tick | Pause) -> None:
        """Let the pipeline say what no estimate speaks of yet."""
        if not pipeline.state.has_news:
            return
        with self.store.transaction() as transaction:
            outputs = pipeline.step([event], transaction)
            transaction.emit(outputs)
        for observer in self.observers:
            observer.batch((), outputs, pipeline.state)
        self._publish(sink)

    def _all_is_well(self, source: Source) -> None:
        self.patience.restore()
        for observer in self.observers:
            observer.lag(dict(source.lag()))
            observer.trouble(None)
