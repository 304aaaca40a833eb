"""Labels whose response is not stored: how many, since when, and the likeliest cause."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select

from driftgauge.connectors.store import schema
from driftgauge.models.pending import Names, PendingLabels, explained

MAX_EXPLAINED = 1_000
"""Pending labels for which the cause is sought: the oldest ones."""

MAX_COMPARED = 10_000
"""Responses, and aliases, with which they are compared: the newest ones."""

_L, _R, _A = schema.labels.c, schema.responses.c, schema.aliases.c

HAS_RESPONSE = select(_R.seq).where(_R.id_hash == _L.response_hash, _R.id == _L.response_id).exists()


def select_pending(*columns: Any) -> Select[*tuple[Any, ...]]:
    """A query on the labels whose response is not stored."""
    return select(*columns).select_from(schema.labels).where(_L.is_pending, ~HAS_RESPONSE)


def pending_labels(connection: Connection) -> PendingLabels:
    """How many labels are pending, since when, and why the oldest of them may have met no response."""
    n, oldest = connection.execute(select_pending(func.count(), func.min(_L.event_time))).one()
    if not n:
        return PendingLabels(0, None)
    names = connection.scalars(select_pending(_L.response_id).order_by(_L.event_time).limit(MAX_EXPLAINED)).all()
    ids = connection.scalars(select(_R.id).order_by(_R.seq.desc()).limit(MAX_COMPARED)).all()
    newest = select(_A.name, _A.response_id).order_by(_A.event_time.desc()).limit(MAX_COMPARED)
    aliases = connection.execute(newest).all()
    known = Names(
        [*ids, *(alias.name for alias in aliases if alias.response_id is not None)],
        {alias.name for alias in aliases if alias.response_id is None},
    )
    return explained(n, oldest, names, known)
