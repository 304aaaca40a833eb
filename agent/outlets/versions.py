"""The classifier versions of a store, as values. Reading them changes nothing, so the agent may be running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from driftgauge.agent.core.context_state import context_model, contexts_saved, under
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.learn.committee_record import CommitteeRecord, read_record
from driftgauge.models.names import shown
from driftgauge.models.probes import is_probe_context

Parts: TypeAlias = Mapping[str, bytes]
"""The saved parts of one context, by name."""


def contexts_in(queries: StoreQueries) -> dict[str, dict[str, bytes]]:
    """The saved parts of every context of a store, by fingerprint."""
    return contexts_saved(queries.state("context/"))


def record_of(parts: Parts) -> CommitteeRecord:
    """The record of the committee of a saved context: its members, versions and metrics."""
    return read_record(under("committee/", parts))


def named_context(contexts: Mapping[str, Parts], fingerprint: str | None) -> str:
    """The fingerprint of the context that ``fingerprint`` names; None names the only context of live traffic.

    Raises
    ------
    ConnectorError
        When there is no such context, or ``fingerprint`` is None and there is not exactly one context of live traffic.
    """
    if fingerprint in contexts:
        return str(fingerprint)
    live = [name for name in contexts if not is_probe_context(name)]
    if fingerprint is None and len(live) == 1:
        return live[0]
    if not contexts:
        raise ConnectorError("the store has no context yet", retriable=False)
    models = {name: context_model(parts) for name, parts in sorted(contexts.items())}
    known = ", ".join(f"{name} ({shown(model) if model else 'unnamed model'})" for name, model in models.items())
    problem = "name a context with --context" if fingerprint is None else f"no context {fingerprint}"
    raise ConnectorError(f"{problem}; the store has {known}", retriable=False)


def stored_versions(contexts: Mapping[str, Parts]) -> list[dict[str, Any]]:
    """Every stored version as plain values, in the order of storing; ``predicts`` is true for the champion."""
    return [
        {
            "context": name,
            "model": context_model(parts),
            "predicts": version.number == record.champion_version,
            **asdict(version),
        }
        for name, parts in sorted(contexts.items())
        for record in [record_of(parts)]
        for version in record.versions
    ]
