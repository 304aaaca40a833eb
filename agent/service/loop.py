"""Poll, step, commit, publish: the loop around the pipeline.

One batch is

1. one transaction: decode, step, rows, state, positions, outbox
2. publish the outbox, wait for the acknowledgements, remove acknowledged messages
3. commit group offsets, for lag displays only

A kill at any point means that step 1 happened or did not. Step 2 is repeated from the outbox at the next start, with
the same keys and revisions. After an error that waiting may cure, the loop starts over from the store.

When step 1 fails with anything unexpected, the pipeline is resumed from the store and the records of the batch are
applied one by one, each in a transaction of its own. A record that fails again becomes a dead letter
(`driftgauge.connectors.internal_errors`).

An orderly stop finishes the batch in hand and emits pending estimates. Emitting needs the store and a sink, but no
source, so it also happens when the stop comes during a wait after a failure: one attempt, and if that fails too, the
estimates stay pending in the store until the next run. A stop before the agent serves, that is before its source was
opened for the first time, ends it without emitting anything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from queue import SimpleQueue
from typing import NamedTuple, Protocol, TypeVar

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.service.backoff import Backoff
from driftgauge.agent.service.reader_pool import dead_letter_of
from driftgauge.agent.service.taken import take
from driftgauge.connectors.base import ConnectorError, Positions, Record, Sink, Source, Store, TopicPartition
from driftgauge.connectors.decoding.formats.extracted import Head
from driftgauge.connectors.internal_errors import Failures, is_unexpected
from driftgauge.models.account import Account, account_of
from driftgauge.models.events import Event, Pause, Rejected, Tick
from driftgauge.models.outputs import Output

log = logging.getLogger(__name__)

T = TypeVar("T")

OUTBOX_BATCH = 1_000
ROWS_SCORED_AHEAD = 20_000
"""Rows that are scored ahead in each round of the loop: at most 0.1 s of work after a fit, and else none."""

RECORDS_AT_ONCE = 25
"""Records in one transaction while windows wait to be estimated, or where the next boundary may make many wait."""

MANY_DOMAINS = 300
"""Live domains, counted in each context, from which on one boundary makes many windows wait."""


class RecordDecoder(Protocol):
    """Turns records into events: a `Decoder`, or a `PoolDecoder` where readers have decoded them."""

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        """Events of all records, in order, and the number of events of each record."""
        ...

    def head_of(self, record: Record) -> Head | None:
        """The raw record that an extractor made this one of; None where it did not."""
        ...


class Committed(NamedTuple):
    """What one transaction did: its outputs, and what became of its records."""

    outputs: list[Output]
    account: Account


class Loop:
    """The agent: a source, a decoder, a pipeline, a store and a sink, until it is stopped.

    Parameters
    ----------
    open_source, open_sink : called again after every failure, so that no broken connection is used twice
    stopping : event that stops the agent; `stop` sets it
    poll_timeout_s : seconds to wait for records in one poll
    patience_s : seconds to wait for a connector that failed before its error is raised
    pause_after_s : seconds without a record that is not passed over, after which pending estimates are emitted early
    requests : work on the store that others ask for; it is done between two batches

    Attributes
    ----------
    account : what became of all records since the start
    """

    def __init__(
        self,
        settings: PipelineSettings,
        decoder: RecordDecoder,
        store: Store,
        open_source: Callable[[], Source],
        open_sink: Callable[[], Sink],
        *,
        observers: Sequence[Observer] = (),
        stopping: threading.Event | None = None,
        poll_timeout_s: float = 1.0,
        patience_s: float = 600.0,
        pause_after_s: float = 30.0,
        requests: SimpleQueue[Callable[[Store], None]] | None = None,
    ) -> None:
        self.settings = settings
        self.decoder = decoder
        self.store = store
        self.open_source = open_source
        self.open_sink = open_sink
        self.observers = observers
        self.stopping = stopping or threading.Event()
        self.poll_timeout_s = poll_timeout_s
        self.pause_after_s = pause_after_s
        self.backoff = Backoff(patience_s, self.stopping, observers)
        self.requests = SimpleQueue() if requests is None else requests
        self.has_served = False
        self.account = Account()
        self._failures = Failures()

    def stop(self) -> None:
        """Let `run` finish the batch in hand, emit pending estimates and return. Safe in a signal handler."""
        self.stopping.set()

    def run(self) -> None:
        """Serve until stopped or, with a source that ends, until everything is done."""
        while not self.stopping.is_set():
            try:
                self._serve()
                return
            except ConnectorError as error:
                self.backoff.wait(error)
        if self.has_served:
            self._emit_after_failure()

    def _serve(self) -> None:
        with closing(self.open_sink()) as sink, closing(self.open_source()) as source:
            with self.store.transaction() as transaction:
                pipeline = Pipeline.resume(self.settings, transaction)
                positions = transaction.positions()
            for observer in self.observers:
                observer.resumed(pipeline.state)
            self._publish(sink)  # messages that the last run committed and that were not acknowledged
            source.open(positions)
            self.has_served = True
            last_record = time.monotonic()
            while not self.stopping.is_set():
                self._do_requests(pipeline)
                is_paused = time.monotonic() - last_record >= self.pause_after_s
                records = source.poll(0.0 if is_paused and pipeline.state.is_behind else self.poll_timeout_s)
                n_others = self.account.passed_over
                if records:
                    for part in in_parts(pipeline.state, records):
                        self._batch(pipeline, part, positions)
                        self._publish(sink)
                    source.commit(positions)
                elif source.is_exhausted:  # event time reaches the end of the last window, so that all windows close
                    while self._emit_pending(pipeline, sink, Tick(pipeline.state.end)):
                        pass  # a response that time completed belongs to a window after that
                    return
                if self.account.passed_over - n_others < len(records):
                    last_record = time.monotonic()
                elif time.monotonic() - last_record >= self.pause_after_s:
                    self._emit_pending(pipeline, sink, Pause())
                    self._publish(sink)  # what jobs beside the loop have emitted
                pipeline.score_ahead(ROWS_SCORED_AHEAD)
                self._report_success(source)
            self._emit_all(pipeline, sink)

    def _emit_all(self, pipeline: Pipeline, sink: Sink) -> None:
        """Emit the open windows that changed, in short transactions; closed ones that changed may stay in the store."""
        self._emit_pending(pipeline, sink, Pause())
        while pipeline.state.closing is not None:
            self._emit_pending(pipeline, sink, Pause())

    def _emit_after_failure(self) -> None:
        """Make one attempt to emit pending estimates without the source: a stop came before it was opened again."""
        try:
            with closing(self.open_sink()) as sink:
                with self.store.transaction() as transaction:
                    pipeline = Pipeline.resume(self.settings, transaction)
                self._publish(sink)
                self._emit_all(pipeline, sink)
        except ConnectorError as error:
            if not error.retriable:
                raise
            log.warning("%s; pending estimates stay in the store until the next run", error)

    def _batch(self, pipeline: Pipeline, records: Sequence[Record], positions: dict[TopicPartition, int]) -> None:
        fresh, reached, n_repeated = take(records, positions, self.decoder.head_of)
        if n_repeated:
            log.info("passed over %d records that an extractor had published before", n_repeated)
        try:
            committed = self._commit(pipeline, fresh, positions, reached)
        except Exception as error:
            if not is_unexpected(error):
                raise
            log.info("a batch of %d records failed; its records are applied one by one", len(fresh))
            self._apply_one_by_one(pipeline, fresh, positions)
        else:
            self._notify(fresh, committed, pipeline)

    def _commit(
        self,
        pipeline: Pipeline,
        records: Sequence[Record],
        positions: dict[TopicPartition, int],
        reached: Positions,
        letter: Rejected | None = None,
    ) -> Committed:
        """Decode and apply records in one transaction; with a ``letter``, apply it in place of one record's events.

        ``reached`` are the positions behind the records.
        """
        events, counts = self.decoder.decode_counted(records) if letter is None else ([letter], [1])
        with self.store.transaction() as transaction:
            outputs = pipeline.step(events, transaction)
            transaction.save_positions(reached)
            transaction.audit(records)
            transaction.emit(outputs)
        positions.update(reached)
        return Committed(
            outputs, account_of([r.value for r in records], events, counts, outputs, self.settings.selection)
        )

    def _apply_one_by_one(
        self, pipeline: Pipeline, records: Sequence[Record], positions: dict[TopicPartition, int]
    ) -> None:
        """Apply each record in a transaction of its own; one that fails becomes a dead letter."""
        self._resume(pipeline)
        for record in records:
            reached = take([record], positions, self.decoder.head_of).reached
            try:
                committed = self._commit(pipeline, [record], positions, reached)
            except Exception as error:
                if not is_unexpected(error):
                    raise
                letter = dead_letter_of(record, self._failures.note(record, error))
                self._resume(pipeline)
                committed = self._commit(pipeline, [record], positions, reached, letter)
            self._notify([record], committed, pipeline)

    def _do_requests(self, pipeline: Pipeline) -> None:
        while not self.requests.empty():
            self.requests.get()(self.store)
            self._resume(pipeline)

    def _resume(self, pipeline: Pipeline) -> None:
        """Take the state of the store: a failed transaction left the pipeline ahead of it, a request behind."""
        with self.store.transaction() as transaction:
            pipeline.state = State.resume(self.settings, transaction)

    def _notify(self, records: Sequence[Record], committed: Committed, pipeline: Pipeline) -> None:
        self.account.add(committed.account)
        if committed.account.used:  # a record that the decoder refused says nothing about the core
            self._failures.reset()
        for observer in self.observers:
            observer.batch(records, committed.outputs, pipeline.state)
            observer.account(self.account)

    def _publish(self, sink: Sink) -> None:
        while messages := self.store.outbox(OUTBOX_BATCH):
            sink.publish(messages)
            self.store.acknowledge(messages[-1].seq)

    def _emit_pending(self, pipeline: Pipeline, sink: Sink, event: Tick | Pause) -> bool:
        """Emit the estimates that changed since they were last emitted; returns whether there were any."""
        state = pipeline.state
        if not state.has_news and not (isinstance(event, Tick) and state.has_open_windows):
            return False
        with self.store.transaction() as transaction:
            outputs = pipeline.step([event], transaction)
            transaction.emit(outputs)
        self._notify((), Committed(outputs, account_of((), (), (), outputs)), pipeline)
        self._publish(sink)
        return True

    def _report_success(self, source: Source) -> None:
        self.backoff.reset()
        for observer in self.observers:
            observer.lag(dict(source.lag()))
            observer.failure(None)


def in_parts(state: State, records: Sequence[T]) -> Iterator[Sequence[T]]:
    """The records of a poll as they are applied: all at once, or in parts where windows wait to be estimated."""
    start = 0
    while start < len(records):
        is_long = state.n_stale or state.is_behind or len(state.domains) >= MANY_DOMAINS
        stop = start + RECORDS_AT_ONCE if is_long else len(records)
        yield records[start:stop]
        start = stop
