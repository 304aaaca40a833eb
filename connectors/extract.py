"""Raw records to features: all that happens to a record before there is state, as one function of a record.

Owns the way from the bytes of a record to its decoded events and to the message that the topic of features holds for
it. The agent, its readers, ``driftgauge extract`` and Spark use this module. It needs numpy and msgspec, and no other
package: executors of a cluster import it from a small install (docs/spark.md). Keeps no record after a call.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from driftgauge.connectors.base import ConnectorError, Message, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.extracted import Head, encode
from driftgauge.connectors.decoding.formats.own import Encoding
from driftgauge.connectors.internal_errors import Failures, describe
from driftgauge.models.events import Arrival, Chunk, Event, Rejected
from driftgauge.models.signals.arrivals import with_features, without_tokens
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec

log = logging.getLogger(__name__)

_HEADERS = {"msgpack": (("content-type", b"application/msgpack"),), "json": (("content-type", b"application/json"),)}


class DecodedRecord(Record, frozen=True):
    """A record with its events; ``value`` is empty, as nobody needs it any more, or None for a tombstone.

    ``head`` names the raw record that ``driftgauge extract`` made it of.
    """

    events: tuple[Event, ...] = ()
    head: Head | None = None


@dataclass(frozen=True)
class RecordExtractor:
    """Decodes records, computes the features of their responses, and makes the messages of the topic of features.

    It can be pickled, so that another process or machine does the work.

    Parameters
    ----------
    decoder : how records are decoded
    spec : which features are computed
    min_coverage : smallest share of the generated tokens that must have an entry, in [0, 1]

    Examples
    --------
    >>> raw = Record("generations", 5, 17, b"key", b"{", timestamp=1.7e9)
    >>> [(decoded, message)] = RecordExtractor(Decoder()).extract([raw], "driftgauge.features", n_partitions=4)
    >>> decoded.events[0].reason, message.topic, message.key, message.partition
    ('malformed', 'driftgauge.features', b'key', 1)
    """

    decoder: Decoder
    spec: FeatureSpec = DEFAULT_SPEC
    min_coverage: float = 0.9
    _failures: Failures = field(default_factory=Failures, repr=False, compare=False)

    def extract(
        self, records: Sequence[Record], topic: str, n_partitions: int, encoding: Encoding = "msgpack"
    ) -> list[tuple[DecodedRecord, Message]]:
        """Decode records and make the message of each; partition p of any topic goes to partition p (mod n).

        Parameters
        ----------
        records : of any topics and partitions; the messages have their order
        topic : the topic of features
        n_partitions : how many partitions that has

        Raises
        ------
        ConnectorError
            Every one of several records in a row failed unexpectedly, so that no record is at fault.
        """
        decoded = self.decode(records)
        return [
            (one, self._message(record, one, topic, n_partitions, encoding))
            for record, one in zip(records, decoded, strict=True)
        ]

    def decode(self, records: Sequence[Record]) -> list[DecodedRecord]:
        """Decode records; each keeps its events, with features, and loses its value.

        When that fails unexpectedly, the records are decoded one by one, and one that fails again becomes a dead
        letter. Raises `ConnectorError` when too many fail in a row.
        """
        try:
            decoded = self._decode_together(records)
        except Exception:
            log.info("a batch of %d records failed; its records are decoded one by one", len(records))
            return [self._decode_alone(record) for record in records]
        if records:
            self._failures.reset()
        return decoded

    def _decode_alone(self, record: Record) -> DecodedRecord:
        try:
            (decoded,) = self._decode_together([record])
        except Exception as error:
            return self._decoded(record, (self._letter(record, error),))
        self._failures.reset()
        return decoded

    def _decode_together(self, records: Sequence[Record]) -> list[DecodedRecord]:
        found, counts = self.decoder.decode_counted(records)
        events = map(_without_tokens, with_features(found, self.spec, min_coverage=self.min_coverage))
        return [
            self._decoded(record, tuple(islice(events, n_events)))
            for record, n_events in zip(records, counts, strict=True)
        ]

    def _decoded(self, record: Record, events: tuple[Event, ...]) -> DecodedRecord:
        return DecodedRecord(
            record.topic, record.partition, record.offset, record.key, value=None if record.value is None else b"",
            timestamp=record.timestamp, problem=record.problem, events=events, head=self.decoder.head_of(record),
        )  # fmt: skip

    def _letter(self, record: Record, error: Exception) -> Rejected:
        try:
            return self._failures.note(record, error)
        except Exception:
            text = f"decoding failed on every record: {describe(error)}"
            raise ConnectorError(text, retriable=False) from error

    def _message(
        self, record: Record, decoded: DecodedRecord, topic: str, n_partitions: int, encoding: Encoding
    ) -> Message:
        try:
            value = encode(record, decoded.events, self.spec, encoding)
        except Exception as error:
            value = encode(record, [self._letter(record, error)], self.spec, encoding)
        key = next(filter(None, map(_response_id, decoded.events)), None)
        return Message(
            0, topic, record.key or b"" if key is None else key.encode(), value, _HEADERS[encoding],
            partition=record.partition % n_partitions,
        )  # fmt: skip


def _without_tokens(event: Event) -> Event:
    return without_tokens(event) if isinstance(event, Arrival) else event


def _response_id(event: Event) -> str | None:
    """The id of a response, for the key of its message."""
    if isinstance(event, Arrival):
        return event.generation.id
    return event.piece.id if isinstance(event, Chunk) else None
