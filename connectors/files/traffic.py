"""Recordings as a stream of events: responses in a shuffled order, their labels some events later.

Owns the order, the event times, and which responses get a label. All of it follows from the recordings, the
`LabelPlan` and the seed, so a stream can be started again at any position.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftgauge.connectors.base import Positions, Record, TopicPartition
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.files.recordings import Recording
from driftgauge.models.arrays import Bools, Float64s, Int64s, Strings
from driftgauge.models.events import Generation, Label

START_TIME = 1_767_225_600.0
"""2026-01-01T00:00:00Z: where event time starts unless told otherwise."""


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """Which responses get a label, and when.

    Attributes
    ----------
    delay : events (responses) that pass between a response and its label
    fraction : of the responses of a domain, in [0, 1]; each is chosen independently with this probability
    fractions : other fractions for single domains
    per_domain : instead of fractions, so many responses of every domain, chosen evenly over the whole stream
    without : domains that get no label
    """

    delay: int = 200
    fraction: float = 0.1
    fractions: Mapping[str, float] = field(default_factory=dict)
    per_domain: int | None = None
    without: frozenset[str] = frozenset()

    def choose(self, domains: Strings, rng: np.random.Generator) -> Float64s:
        """The probability with which each chosen response was chosen, (n,); NaN where it was not chosen."""
        probability = np.full(len(domains), np.nan)
        for domain in np.unique(domains):
            members = np.flatnonzero(domains == domain)
            draws = rng.random(len(members))
            if self.per_domain is None:
                share = self.fractions.get(str(domain), self.fraction)
                chosen = members[draws < share]
            else:
                chosen = members[np.argsort(draws)[: self.per_domain]]
                share = len(chosen) / len(members)
            if domain not in self.without:
                probability[chosen] = share
        return probability


class Traffic:
    """One stream made of several recordings, one after another, each in a shuffled order of its own.

    Event number i of `events` is the same in every run with the same arguments. Ids are unique even when a
    recording is given twice. A response without a known truth gets no label.

    Parameters
    ----------
    rate : responses per second of event time

    Attributes
    ----------
    id, domain, event_time, correct : (n,) columns of the responses in stream order; ``correct`` NaN where unknown
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        plan: LabelPlan | None = None,
        *,
        seed: int = 0,
        start_time: float = START_TIME,
        rate: float = 1.0,
    ) -> None:
        plan = plan or LabelPlan()
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(len(recording)) for recording in recordings]
        self._recordings = recordings
        self._file = np.repeat(np.arange(len(recordings)), [len(order) for order in orders])
        self._row = np.concatenate([np.empty(0, dtype=np.int64), *orders])
        columns = list(zip(recordings, orders, strict=True))
        self.id = [f"{i}-{r.name}-{row}" for i, (r, order) in enumerate(columns) for row in order]
        self.domain = np.concatenate([np.empty(0, dtype="U1"), *(r.domain[order] for r, order in columns)])
        self.correct = np.concatenate([np.empty(0), *(r.labels[order] for r, order in columns)])
        self.event_time = start_time + np.arange(len(self._row)) / rate
        self._label_delay_s = plan.delay / rate
        self._probability = plan.choose(self.domain, rng)
        self._stream = _interleaved(~np.isnan(self._probability) & ~np.isnan(self.correct), plan.delay)

    def __len__(self) -> int:
        """Events: responses and labels."""
        return len(self._stream)

    @property
    def n_labels(self) -> int:
        """Labels in the stream."""
        return len(self._stream) - len(self._row)

    def events(self, first: int = 0) -> Iterator[Generation | Label]:
        """Every event from number ``first`` on, in stream order."""
        for at in self._stream[first:].tolist():
            yield self._generation(at) if at >= 0 else self._label(~at)

    def true_accuracy(self, domain: str, start: float, end: float, *, last: int | None = None) -> float | None:
        """Mean correctness of a domain's responses in ``[start, end)``, of the ``last`` ones only if given.

        None where no response of that window has a known truth.
        """
        inside = (self.domain == domain) & (self.event_time >= start) & (self.event_time < end)
        values = self.correct[inside][-last if last else None :]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else None

    def _generation(self, at: int) -> Generation:
        recording = self._recordings[int(self._file[at])]
        return recording.generation(int(self._row[at]), self.id[at], float(self.event_time[at]))

    def _label(self, at: int) -> Label:
        return Label(
            label_id=f"label-{self.id[at]}",
            response_id=self.id[at],
            event_time=float(self.event_time[at]) + self._label_delay_s,
            correct=float(self.correct[at]),
            annotator_id="recording",
            inclusion_probability=float(self._probability[at]),
        )


def _interleaved(labelled: Bools, delay: int) -> Int64s:
    """Numbers of the responses in order, each label as ``~number`` right after the response ``delay`` later.

    >>> _interleaved(np.array([True, False, True]), delay=1).tolist()
    [0, 1, -1, 2, -3]
    """
    responses, labels = np.arange(len(labelled)), np.flatnonzero(labelled)
    due = np.concatenate([2 * responses, 2 * (labels + delay) + 1])
    return np.concatenate([responses, ~labels])[np.argsort(due, kind="stable")]


class RecordingSource:
    """A stream of recorded traffic as a log of packed MessagePack events: one topic, one partition.

    What is replayed takes the same way through the agent as what comes from a broker.
    """

    TOPIC = "recordings"

    def __init__(self, traffic: Traffic, *, max_records: int = 200) -> None:
        self.traffic = traffic
        self.max_records = max_records
        self._next = 0

    def open(self, positions: Positions) -> None:
        """Start at the stored position."""
        self._next = positions.get(TopicPartition(self.TOPIC, 0), 0)

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - a recording never makes anyone wait
        """The next events."""
        events = itertools.islice(self.traffic.events(self._next), self.max_records)
        records = [_record(offset, event) for offset, event in enumerate(events, start=self._next)]
        self._next += len(records)
        return records

    def commit(self, positions: Positions) -> None:
        """Nobody watches a recording."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Events not yet polled."""
        return {TopicPartition(self.TOPIC, 0): len(self.traffic) - self._next}

    @property
    def is_exhausted(self) -> bool:
        """True at the end of the stream."""
        return self._next >= len(self.traffic)

    def close(self) -> None:
        """Nothing is held."""


def _record(offset: int, event: Generation | Label) -> Record:
    # float32 holds whatever precision the recording has
    value = encode_label(event) if isinstance(event, Label) else encode_generation(event, dtype="float32")
    key = event.response_id if isinstance(event, Label) else event.id
    headers = (("content-type", b"application/msgpack"),)
    return Record(RecordingSource.TOPIC, 0, offset, key.encode(), value, headers, event.event_time)
