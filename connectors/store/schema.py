"""The tables of the store, the same on SQLite and PostgreSQL; those of outputs are made by `output_tables`.

Responses are appended under an integer key: with random text as the primary key the table would slow down as it
grows. Their ids are found through a narrow index of 64-bit hashes (verified against the text, so a collision costs a
comparison, never a mistake). Domains and fingerprints are interned. Unknown numbers are NULL.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    select,
    true,
)
from sqlalchemy.dialects import postgresql

SCHEMA_VERSION = 5

OLDEST_READER = 200
"""The first version of driftgauge that reads this schema: 0.2.0 as 200, 1.2.3 as 10203."""

METADATA = MetaData()

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that a column can hold, where text from outside is decoded."""

TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")  # sorted by code point, as Python does
_KEY = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself there


def table(name: str, *columns: Column[Any]) -> Table:
    """A table of the store."""
    return Table(name, METADATA, *columns)


def numbered(name: str, *columns: Column[Any]) -> Table:
    """A table whose ``seq`` only grows, also after the last row was deleted."""
    return Table(name, METADATA, Column("seq", _KEY, primary_key=True), *columns, sqlite_autoincrement=True)


meta = table("meta", Column("name", TEXT, primary_key=True), Column("value", BigInteger, nullable=False))

silences = numbered(
    "silences",
    Column("until", Double, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("domain", TEXT, nullable=False),
    Column("slice", TEXT, nullable=False),
)

names = numbered("names", Column("name", TEXT, nullable=False, unique=True))

responses = table(
    "responses",
    Column("seq", _KEY, primary_key=True, autoincrement=False),
    Column("id_hash", BigInteger, nullable=False),
    Column("id", TEXT, nullable=False),
    Column("domain", BigInteger, nullable=False),  # names.seq
    Column("fingerprint", BigInteger, nullable=False),  # names.seq
    Column("event_time", Double, nullable=False),
    Column("p_correct", Double),
    Column("correct", Double),
    Column("weight", Double, nullable=False),
    Column("label_kind", TEXT, nullable=False),
    Column("classifier_version", BigInteger, nullable=False),
    Column("n_tokens", BigInteger, nullable=False),
    Column("finish_reason", TEXT),
    Column("slices", TEXT),  # JSON object; NULL: none
    Column("text", TEXT),
    Column("features", LargeBinary, nullable=False),  # float32, little-endian
)
Index("responses_by_id", responses.c.id_hash)
Index("responses_by_window", responses.c.domain, responses.c.fingerprint, responses.c.event_time)
Index("responses_by_age", responses.c.event_time)
Index(
    "responses_labelled",
    responses.c.fingerprint,
    responses.c.event_time,
    sqlite_where=responses.c.correct.is_not(None),
    postgresql_where=responses.c.correct.is_not(None),
)

labels = numbered(
    "labels",
    Column("response_hash", BigInteger, nullable=False),
    Column("response_id", TEXT, nullable=False),
    Column("label_id", TEXT, nullable=False),
    Column("event_time", Double, nullable=False),
    Column("correct", Double),
    Column("annotator_kind", TEXT, nullable=False),
    Column("annotator_id", TEXT, nullable=False),
    Column("inclusion_probability", Double),
    Column("supersedes", TEXT),
    Column("is_pending", Boolean, nullable=False),  # until its response is known to be stored
    Column("topic", TEXT, nullable=False, server_default=""),  # "": unknown
    Column("source", TEXT, nullable=False, server_default=""),  # "": unknown
)
Index("labels_by_response", labels.c.response_hash)
LABELS_BY_TOPIC = Index("labels_by_topic", labels.c.topic, labels.c.seq)
Index(
    "labels_pending",
    labels.c.event_time,
    sqlite_where=labels.c.is_pending == true(),
    postgresql_where=labels.c.is_pending == true(),
)

aliases = table(  # further ids of responses
    "aliases",
    Column("name_hash", BigInteger, primary_key=True, autoincrement=False),
    Column("name", TEXT, primary_key=True),
    Column("response_id", TEXT),  # NULL: several responses have the alias
    Column("event_time", Double, nullable=False),  # of the newest response that has it
)
Index("aliases_by_age", aliases.c.event_time)

daily = table(
    "daily",
    Column("domain", BigInteger, primary_key=True, autoincrement=False),  # names.seq
    Column("fingerprint", BigInteger, primary_key=True, autoincrement=False),  # names.seq
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # days since the epoch, UTC
    Column("n_events", BigInteger, nullable=False),
    Column("n_predicted", BigInteger, nullable=False),
    Column("sum_p_correct", Double, nullable=False),
    Column("n_labels", BigInteger, nullable=False),
    Column("sum_correct", Double, nullable=False),
)

stale_windows = table(  # closed windows that are to be estimated again; the newest boundary is last
    "stale_windows",
    Column("domain", TEXT, primary_key=True),
    Column("fingerprint", TEXT, primary_key=True),
    Column("slice", TEXT, primary_key=True),
    Column("window_end", Double, primary_key=True),
    Column("boundary", Double, nullable=False),
)
STALE_ORDER = (
    stale_windows.c.boundary,
    stale_windows.c.domain,
    stale_windows.c.fingerprint,
    stale_windows.c.slice,
    stale_windows.c.window_end,
)
Index("stale_windows_in_order", *STALE_ORDER)

state = table("state", Column("name", TEXT, primary_key=True), Column("value", LargeBinary))

retired = table(  # the state of contexts and domains that left
    "retired",
    Column("name", TEXT, primary_key=True),
    Column("number", BigInteger, nullable=False),  # the order in which they left
    Column("value", LargeBinary),
)

positions = table(
    "positions",
    Column("topic", TEXT, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, nullable=False),
)

topics = table("topics", Column("name", TEXT, primary_key=True), Column("id", TEXT, nullable=False))

outbox = numbered(
    "outbox",
    Column("topic", TEXT, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", LargeBinary, nullable=False),  # MessagePack: array of (name, bytes)
)

applied = numbered(
    "applied",
    Column("topic", TEXT, nullable=False),
    Column("partition", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
)


def number_of(name: str | BindParameter[str]) -> ColumnElement[int]:
    """The number of an interned name; NULL for an unknown one."""
    return select(names.c.seq).where(names.c.name == name).scalar_subquery()


@lru_cache(maxsize=8_192)  # a batch asks several times for the hash of each id
def id_hash(text: str) -> int:
    """A signed 64-bit hash of an id."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
