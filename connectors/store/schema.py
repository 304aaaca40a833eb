"""The tables of the store, the same on SQLite and PostgreSQL.

Responses are appended under an integer key: with random text as the primary key the table would slow down as it
grows. Their ids are found through a narrow index of 64-bit hashes (verified against the text, so a collision costs a
comparison, never a mistake). Domains and fingerprints are interned. Unknown numbers are NULL.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    true,
)
from sqlalchemy.dialects import postgresql

SCHEMA_VERSION = 1

METADATA = MetaData()

_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")  # sorted by code point, as Python does
_KEY = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself there


def _numbered(name: str, *columns: Column[object]) -> Table:
    """A table whose ``seq`` only grows, also after the last row was deleted."""
    return Table(name, METADATA, Column("seq", _KEY, primary_key=True), *columns, sqlite_autoincrement=True)


meta = Table("meta", METADATA, Column("name", _TEXT, primary_key=True), Column("value", BigInteger, nullable=False))

names = _numbered("names", Column("name", _TEXT, nullable=False, unique=True))

responses = Table(
    "responses",
    METADATA,
    Column("seq", _KEY, primary_key=True, autoincrement=False),
    Column("id_hash", BigInteger, nullable=False),
    Column("id", _TEXT, nullable=False),
    Column("domain", BigInteger, nullable=False),  # names.seq
    Column("fingerprint", BigInteger, nullable=False),  # names.seq
    Column("event_time", Double, nullable=False),
    Column("p_correct", Double),
    Column("correct", Double),
    Column("weight", Double, nullable=False),
    Column("label_kind", _TEXT, nullable=False),
    Column("classifier_version", BigInteger, nullable=False),
    Column("n_tokens", BigInteger, nullable=False),
    Column("finish_reason", _TEXT),
    Column("slices", _TEXT),  # JSON object; NULL: none
    Column("text", _TEXT),
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

labels = _numbered(
    "labels",
    Column("response_hash", BigInteger, nullable=False),
    Column("response_id", _TEXT, nullable=False),
    Column("label_id", _TEXT, nullable=False),
    Column("event_time", Double, nullable=False),
    Column("correct", Double),
    Column("annotator_kind", _TEXT, nullable=False),
    Column("annotator_id", _TEXT, nullable=False),
    Column("inclusion_probability", Double),
    Column("supersedes", _TEXT),
    Column("is_pending", Boolean, nullable=False),  # until its response is known to be here
)
Index("labels_by_response", labels.c.response_hash)
Index(
    "labels_pending",
    labels.c.event_time,
    sqlite_where=labels.c.is_pending == true(),
    postgresql_where=labels.c.is_pending == true(),
)

estimates = Table(
    "estimates",
    METADATA,
    Column("key", _TEXT, primary_key=True),
    Column("domain", _TEXT, nullable=False),
    Column("fingerprint", _TEXT, nullable=False),
    Column("model", _TEXT, nullable=False),
    Column("window_start", Double, nullable=False),
    Column("window_end", Double, nullable=False),
    Column("watermark", Double, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("status", _TEXT, nullable=False),
    Column("status_reason", _TEXT),
    Column("accuracy", Double),
    Column("ci_low", Double),
    Column("ci_high", Double),
    Column("confidence_level", Double, nullable=False),
    Column("estimator", _TEXT, nullable=False),
    Column("n_events", BigInteger, nullable=False),
    Column("n_labels", BigInteger, nullable=False),
    Column("effective_sample_size", Double, nullable=False),
    Column("accuracy_labelled", Double),
    Column("classifier_version", BigInteger, nullable=False),
    Column("components", _TEXT, nullable=False),  # JSON object
    Column("spread", Double),
    Column("interval_parts", _TEXT, nullable=False),  # JSON object
    Column("anytime_low", Double),
    Column("anytime_high", Double),
)
Index("estimates_by_domain", estimates.c.domain, estimates.c.fingerprint, estimates.c.window_end)
Index("estimates_by_end", estimates.c.window_end)

alerts = Table(
    "alerts",
    METADATA,
    Column("key", _TEXT, primary_key=True),
    Column("kind", _TEXT, nullable=False),
    Column("severity", _TEXT, nullable=False),
    Column("domain", _TEXT, nullable=False),
    Column("fingerprint", _TEXT, nullable=False),
    Column("event_time", Double, nullable=False),
    Column("since", Double),
    Column("what", _TEXT, nullable=False),
    Column("before", Double),
    Column("after", Double),
    Column("message", _TEXT, nullable=False),
    Column("number", BigInteger, nullable=False),
)
Index("alerts_by_time", alerts.c.event_time)

acquisitions = Table(
    "acquisitions",
    METADATA,
    Column("key", _TEXT, primary_key=True),
    Column("event_time", Double, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("priorities", _TEXT, nullable=False),  # JSON array
)
Index("acquisitions_by_time", acquisitions.c.event_time)

dead_letters = _numbered(
    "dead_letters",
    Column("reason", _TEXT, nullable=False),
    Column("detail", _TEXT, nullable=False),
    Column("topic", _TEXT, nullable=False),
    Column("partition", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("headers", LargeBinary, nullable=False),  # MessagePack: array of (name, bytes)
    Column("key", LargeBinary),
    Column("value", LargeBinary),
)

daily = Table(
    "daily",
    METADATA,
    Column("domain", BigInteger, primary_key=True, autoincrement=False),  # names.seq
    Column("fingerprint", BigInteger, primary_key=True, autoincrement=False),  # names.seq
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # days since the epoch, UTC
    Column("n_events", BigInteger, nullable=False),
    Column("n_predicted", BigInteger, nullable=False),
    Column("sum_p_correct", Double, nullable=False),
    Column("n_labels", BigInteger, nullable=False),
    Column("sum_correct", Double, nullable=False),
)

state = Table("state", METADATA, Column("name", _TEXT, primary_key=True), Column("value", LargeBinary))

positions = Table(
    "positions",
    METADATA,
    Column("topic", _TEXT, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, nullable=False),
)

outbox = _numbered(
    "outbox",
    Column("topic", _TEXT, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", LargeBinary, nullable=False),  # MessagePack: array of (name, bytes)
)

applied = _numbered(
    "applied",
    Column("topic", _TEXT, nullable=False),
    Column("partition", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
)


def id_hash(text: str) -> int:
    """A signed 64-bit name of an id."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
