"""Conditions and selections on the tables of the store that several queries share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, func, select, true

from driftgauge.connectors.store import schema
from driftgauge.connectors.store.output_tables import output_table
from driftgauge.models.outputs import Alert
from driftgauge.models.probes import DOMAIN_PREFIX

_R, _A = schema.responses.c, output_table(Alert).c

domains, fingerprints = schema.names.alias("domains"), schema.names.alias("fingerprints")
"""The names of the domains and contexts of `select_responses`."""

IS_LIVE = ~schema.names.c.name.startswith(DOMAIN_PREFIX, autoescape=True)
"""A name of a domain that is not one of probes."""

_IS_STATE = and_(_A.state.in_(["firing", "no_data", "resolved"]), _A.severity != "info")
IS_NEWEST_STATE = _A.number.in_(
    select(func.max(_A.number)).where(_IS_STATE).group_by(_A.kind, _A.domain, _A.fingerprint, _A.slice)
)
"""The newest message about each alert that fires or fired, without those that only inform."""


def select_responses(*columns: Any) -> Select[*tuple[Any, ...]]:
    """A query on responses, joined with the names of their `domains` and `fingerprints`."""
    tables = schema.responses.join(domains, _R.domain == domains.c.seq)
    return select(*columns).select_from(tables.join(fingerprints, _R.fingerprint == fingerprints.c.seq))


def select_state(prefix: str) -> Select[*tuple[Any, ...]]:
    """Name and value of the saved state whose names start with ``prefix``."""
    name = schema.state.c.name
    starts = and_(name >= prefix, name < prefix + "\U0010ffff") if prefix else true()
    return select(name, schema.state.c.value).where(starts)
