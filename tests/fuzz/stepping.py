"""The agent under fuzzing: mutated payloads are decoded, applied and published by the loop itself.

Payloads of a model server all have the ids and times of the recording they were made from, so nearly all would be
repetitions. `Shifted` gives most events an id and a time of their own, and labels the id of a recent response, so that
mutated events meet windows, classifiers, estimators and detectors. A record that only the net of internal errors
catches is a finding.
"""

from __future__ import annotations

import math
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record, Store
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import MemorySource, MemoryStore, NoSink
from driftgauge.models.account import Account
from driftgauge.models.events import Chunk, Event, Generation, Label, Rejected
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Estimate, Output, Prediction
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.windows import WindowSpec
from tests.copying import replace

START = 1_767_225_600.0
SECONDS_PER_RECORD = 0.5
BATCH = 250
SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=600.0, window_events=300, hop_s=60.0),
    committee=CommitteeSettings(min_labels=5, refit_every_labels=15, max_training_rows=500),
    assembly=AssemblySettings(max_in_flight=50, max_waiting=5, expiry_s=120.0),
    emit_every_events=50,
    emit_every_labels=10,
    min_events=5,
    label_horizon_s=300.0,
    max_pending_labels=500,
    max_domains=50,
    max_fingerprints=60,
    predictions="all",
)
_TIMESTAMPS = (0.0, -0.001, 1e-3, 4_102_444_800.0, 9.2e15, -9.2e15)
_KEYS = (None, b"", b"\x00", b"\xff\xfe", b"k" * 600, b"key")
_LABELS_PER_TOPIC = 40
_EACH_OTHER = 20  # records whose pieces share an id


class Shifted(Decoder):
    """Decodes as the agent does; most events then get an id and a time of their own."""

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[str] = deque(maxlen=200)

    def decode_counted(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        events, counts = super().decode_counted(records)
        remaining = iter(events)
        return [
            self._shifted(next(remaining), record, place)
            for record, n in zip(records, counts, strict=True)
            for place in range(n)
        ], counts

    def _shifted(self, event: Event, record: Record, place: int) -> Event:
        random = Random(record.offset * 1_000 + place)  # noqa: S311 - reproducible, not secret
        if random.random() < 0.05:
            return event
        number, moves = record.offset, random.random() < 0.95
        at = START + SECONDS_PER_RECORD * number
        if isinstance(event, Generation):
            name = f"{event.id}/{number}/{place}"
            self._note(event, name)
            return replace(event, id=name, event_time=at if moves else event.event_time)
        if isinstance(event, Chunk):
            name = f"{event.piece.id}/{number // _EACH_OTHER}"
            self._recent.append(name)
            return replace(
                event, piece=replace(event.piece, id=name, event_time=at if moves else event.piece.event_time)
            )
        if isinstance(event, Label) and self._recent:
            response = random.choice(self._recent) if random.random() < 0.9 else event.response_id
            return replace(
                event,
                label_id=f"{event.label_id}/{number}",
                response_id=response,
                event_time=at if moves else event.event_time,
            )
        return event

    def _note(self, generation: Generation, name: str) -> None:
        """Remember a response that may get a label: those of one model, so that its contexts get enough labels."""
        if generation.context.model == "m":
            self._recent.append(name)


class Checks(Observer):
    """An observer that collects internal errors and outputs that no agent may publish."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.internal_errors = 0

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        for output in outputs:
            if isinstance(output, Rejected) and output.reason == "internal_error":
                self.internal_errors += 1
                self.findings.append(f"input {output.offset}: internal_error: {output.detail}")
            elif problem := problem_of(output):
                self.findings.append(f"input {records[0].offset if records else '-'} and on: {problem}")

    def account(self, account: Account) -> None:
        if account.records != account.used + account.n_dead + account.tombstones or account.used < 0:
            self.findings.append(f"the account does not add up: {account}")


def problem_of(output: Output) -> str:
    """What is wrong with an output; "" where nothing is."""
    if isinstance(output, Estimate):
        shares = (output.accuracy, output.ci_low, output.ci_high, output.accuracy_labelled)
        if not all(share is None or 0.0 <= share <= 1.0 for share in shares):
            return f"an estimate of {shares}"
        if output.accuracy is not None and not (output.ci_low or 0.0) <= output.accuracy <= (output.ci_high or 0.0):
            return f"an estimate outside its interval: {shares}"
        if output.n_events < 0 or output.n_labels < 0 or not math.isfinite(output.effective_sample_size or 0.0):
            return "an estimate of impossible counts"
    if isinstance(output, Prediction) and not (output.p_correct is None or 0.0 <= output.p_correct <= 1.0):
        return f"a prediction of {output.p_correct}"
    return ""


def records_of(bodies: Sequence[tuple[int, bytes, tuple[tuple[str, bytes], ...]]]) -> list[Record]:
    """Records of these numbered bodies with their headers; some with an odd key or time."""
    found = []
    for number, body, headers in bodies:
        random = Random(number)  # noqa: S311 - reproducible, not secret
        key = random.choice(_KEYS) if random.random() < 0.1 else b"key"
        timestamp = START + SECONDS_PER_RECORD * number
        timestamp = random.choice(_TIMESTAMPS) if random.random() < 0.02 else timestamp
        # one label beyond the scale costs its topic all labels, so each topic of labels is short
        topic = f"labels{number // _LABELS_PER_TOPIC}" if b"label_id" in body else "fuzz"
        found.append(Record(topic, 0, number, key, body, headers, timestamp))
    return found


@contextmanager
def a_store(*, in_database: bool) -> Iterator[Store]:
    """A store in memory, or a new one in SQLite."""
    if not in_database:
        yield MemoryStore()
        return
    with (
        tempfile.TemporaryDirectory(prefix="gauge-fuzz-") as folder,
        closing(open_store(f"sqlite:///{Path(folder) / 'fuzz.db'}", topics=Topics())) as store,
    ):
        yield store


def run_through_the_agent(records: Sequence[Record], *, in_database: bool) -> tuple[Checks, Account]:
    """Run an agent over the records; it is started again in the middle, so that its state is saved and restored."""
    checks, account = Checks(), Account()
    decoder = Shifted()
    with a_store(in_database=in_database) as store:
        for log in (records[: len(records) // 2], records):
            source = MemorySource(log, max_records=BATCH)
            loop = Loop(SETTINGS, decoder, store, partial(_same, source), NoSink, observers=(checks,))
            loop.run()
            account.add(loop.account)
    if account.records != len(records):
        checks.findings.append(f"{account.records} records in the account of {len(records)}")
    return checks, account


def _same(source: MemorySource) -> MemorySource:
    return source
