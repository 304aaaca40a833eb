"""How a response is named: settings that say where names are, its place, its stream, and its further ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError, alias_of, id_of
from driftgauge.connectors.decoding.lookup import Lookup, Path, text_of_key

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True)
class NameRules:
    """Where names come from, before the places that formats have for them.

    Attributes
    ----------
    domain, model_revision : empty: the places that the format has
    slices : by name of the slice
    response_id : paths whose values together name a response; empty: the id of the payload, or else the key
    aliases : paths to further ids
    single_choice : the pieces of a stream are those of one choice, whatever they say in ``index``
    """

    domain: Lookup = field(default_factory=Lookup)
    model_revision: Lookup = field(default_factory=Lookup)
    slices: Mapping[str, Lookup] = field(default_factory=dict)
    response_id: tuple[Path, ...] = ()
    aliases: tuple[Path, ...] = ()
    single_choice: bool = False

    @cached_property
    def is_set(self) -> bool:
        """Whether there is a rule for any name."""
        return bool(self.domain.paths or self.model_revision.paths or self.slices or self.response_id or self.aliases)

    @cached_property
    def joins(self) -> bool:
        """Whether the id and the index of a payload tell to which response a piece of a stream belongs.

        They do not where a setting names responses by other fields, or passes over the index.
        """
        return not self.single_choice and all(path[0] != "payload" for path in self.response_id)


@dataclass(slots=True)
class Place:
    """The place of a document: its record and its number there, and the stream it belongs to.

    Attributes
    ----------
    open_indices : choices of a stream without ids that have not ended
    errors : choices that gave no event, beside others of their document that did
    """

    record: Record
    n_documents: int = 1
    is_stream: bool = False
    document: int = 0
    stream_id: str = ""
    n_streams: int = 0
    open_indices: set[int] = field(default_factory=set)
    errors: list[PayloadError] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The key of the record as text; "" where there is none."""
        return id_of(text_of_key(self.record.key))

    @property
    def key_of_document(self) -> str:
        """The key as the id of a response: the key itself for the first document of a record, numbered for others."""
        return f"{self.key}/{self.document}" if self.key and self.document else self.key

    def name(self, number: int) -> str:
        """An id made of the place of the record and a number within it."""
        record = self.record
        return f"{record.topic}/{record.partition}/{record.offset}" + (f"/{number}" if number else "")


def aliases_of(name: str, further: Iterable[str | float | None], index: int | None = None) -> tuple[str, ...]:
    """The other ids of a response; those of one of several choices end like its name.

    >>> aliases_of("r", ["r", "ticket-7", 0, None]), aliases_of("r#1", ["r", "ticket-7", ""], 1)
    (('ticket-7', '0'), ('ticket-7#1',))
    """
    others = [other if index is None else f"{other}#{index}" for other in further if other not in (None, "")]
    return tuple(alias for alias in dict.fromkeys(map(alias_of, others)) if alias and alias != name)


def traced(traceparent: str) -> tuple[str, ...]:
    """The ids of the span and of the trace in a W3C ``traceparent``; none where it is none.

    >>> traced("00-5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174-01")
    ('eee19b7ec3c1b174', '5b8efff798038103d269b633813fc60c')
    >>> traced("00-00000000000000000000000000000000-eee19b7ec3c1b174-01")
    ()
    """
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    return (match[2], match[1]) if match else ()


def ids_of_record(record: Record) -> list[str]:
    """Further ids of the response in a record: its key, and the span and the trace of its header ``traceparent``."""
    found = (value for name, value in record.headers if name.lower() == "traceparent")
    return [text_of_key(record.key), *traced(next(found, b"").decode("latin-1"))]


def stream_id_of(payload: Payload, place: Place) -> str:
    """The id of the response a piece belongs to; "" where it is unknown."""
    key = payload.key or place.key
    if key and (payload.is_keyed or not payload.id):
        return key
    if payload.id:
        place.stream_id = payload.id
    elif not place.stream_id and (place.n_documents > 1 or all(piece.is_last for piece in payload.pieces)):
        place.stream_id = place.name(place.n_streams)
    return place.stream_id
