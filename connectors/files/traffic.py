"""Recordings as a stream of events: responses in a shuffled order, and each label some responses later.

Owns the order, the event times, and the choice of labelled responses. All three are determined by the recordings, the
`LabelPlan` and the seed, so a stream can start again at any position.
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
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSet

START_TIME = 1_767_225_600.0
"""2026-01-01T00:00:00Z: the default start of event time."""


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """Which responses get a label, and when.

    Attributes
    ----------
    delay : number of responses between a response and its label
    fraction : probability in [0, 1] with which each response gets a label, independently of the others
    fractions : by domain, in place of ``fraction``
    per_domain : if given, exactly this number of responses of every domain gets a label, drawn without replacement
    without : domains without labels
    """

    delay: int = 200
    fraction: float = 0.1
    fractions: Mapping[str, float] = field(default_factory=dict)
    per_domain: int | None = None
    without: frozenset[str] = frozenset()

    def choose(self, domains: Strings, rng: np.random.Generator) -> Float64s:
        """Draw the responses that get a label.

        Parameters
        ----------
        domains : (n,) domain of each response

        Returns
        -------
        (n,) probability with which the response was drawn; NaN where it was not drawn
        """
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
    """One stream of several recordings, one after another, each shuffled separately.

    Event number i of `events` is the same in every run with the same arguments. Ids are unique even when a
    recording is given twice. A response whose correctness is unknown gets no label.

    Parameters
    ----------
    recordings : in the order of the stream
    plan : which responses get a label, and when
    seed : of the shuffles and of the choice of labels
    start_time : event time of the first response, UTC seconds
    rate : responses per second of event time

    Attributes
    ----------
    id, domain, event_time, correct : (n,) columns of the responses in stream order; ``correct`` NaN where unknown
    label_time : (n,) event time of the label of each response, NaN where it gets none
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
        self._probability = plan.choose(self.domain, rng)
        is_labelled = ~np.isnan(self._probability) & ~np.isnan(self.correct)
        self.label_time = np.where(is_labelled, self.event_time + plan.delay / rate, np.nan)
        self._stream = _interleaved(is_labelled, plan.delay)

    def __len__(self) -> int:
        """Number of events: responses and labels."""
        return len(self._stream)

    @property
    def n_labels(self) -> int:
        """Number of labels in the stream."""
        return len(self._stream) - len(self._row)

    def events(self, first: int = 0) -> Iterator[Generation | Label]:
        """Yield every event from number ``first`` on, in stream order."""
        for at in self._stream[first:].tolist():
            yield self._generation(at) if at >= 0 else self._label(~at)

    def true_accuracy(self, domain: str, start: float, end: float, *, last: int | None = None) -> float | None:
        """Mean correctness of a domain's responses in ``[start, end)``, or of the newest ``last`` of them.

        None if the correctness of no response in that window is known.
        """
        inside = (self.domain == domain) & (self.event_time >= start) & (self.event_time < end)
        values = self.correct[inside][-last if last else None :]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else None

    def features(self, feature_set: FeatureSet = DEFAULT_SPEC.set) -> Float64s:
        """Features of all responses in stream order, (n, d), the columns of the set; NaN where missing."""
        of_recordings = [recording.features(feature_set) for recording in self._recordings]
        first = np.cumsum([0, *map(len, of_recordings)])
        rows: Float64s = np.concatenate(of_recordings)[first[self._file] + self._row]
        return rows

    def _generation(self, at: int) -> Generation:
        recording = self._recordings[int(self._file[at])]
        return recording.generation(int(self._row[at]), self.id[at], float(self.event_time[at]))

    def _label(self, at: int) -> Label:
        return Label(
            label_id=f"label-{self.id[at]}",
            response_id=self.id[at],
            event_time=float(self.label_time[at]),
            correct=float(self.correct[at]),
            annotator_id="recording",
            inclusion_probability=float(self._probability[at]),
        )


def _interleaved(labelled: Bools, delay: int) -> Int64s:
    """Numbers of the responses in order, with each label as ``~number`` after the response that comes ``delay`` later.

    >>> _interleaved(np.array([True, False, True]), delay=1).tolist()
    [0, 1, -1, 2, -3]
    """
    responses, labels = np.arange(len(labelled)), np.flatnonzero(labelled)
    due = np.concatenate([2 * responses, 2 * (labels + delay) + 1])
    return np.concatenate([responses, ~labels])[np.argsort(due, kind="stable")]


class RecordingSource:
    """Recorded traffic as a topic with one partition of packed MessagePack events.

    Replayed records are decoded and processed exactly like records from a broker.
    """

    TOPIC = "recordings"

    def __init__(self, traffic: Traffic, *, max_records: int = 200) -> None:
        self.traffic = traffic
        self.max_records = max_records
        self._next = 0

    def open(self, positions: Positions) -> None:
        """Start at the stored position."""
        self._next = positions.get(TopicPartition(self.TOPIC, 0), 0)

    def poll(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - reading a recording never waits
        """Return the next events."""
        events = itertools.islice(self.traffic.events(self._next), self.max_records)
        records = [_record(offset, event) for offset, event in enumerate(events, start=self._next)]
        self._next += len(records)
        return records

    def commit(self, positions: Positions) -> None:
        """Do nothing: a recording has no group offsets."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Events not yet polled."""
        return {TopicPartition(self.TOPIC, 0): len(self.traffic) - self._next}

    @property
    def is_exhausted(self) -> bool:
        """True at the end of the stream."""
        return self._next >= len(self.traffic)

    def close(self) -> None:
        """Do nothing: the source holds no resources."""


def _record(offset: int, event: Generation | Label) -> Record:
    # float32 is at least as precise as the recording
    value = encode_label(event) if isinstance(event, Label) else encode_generation(event, dtype="float32")
    key = event.response_id if isinstance(event, Label) else event.id
    headers = (("content-type", b"application/msgpack"),)
    return Record(RecordingSource.TOPIC, 0, offset, key.encode(), value, headers, event.event_time)
