"""What ``driftgauge versions`` and ``driftgauge rollback`` do: the classifiers a store holds, and going back to one.

Versions are listed beside a running agent. A rollback writes, so it takes the store: the agent must be stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from driftgauge.agent.core.state import context_model, contexts_saved, under
from driftgauge.connectors.base import ConnectorError, Store
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.classify.committee import Committee, CommitteeSettings
from driftgauge.models.classify.committee_record import CommitteeRecord, read_record
from driftgauge.models.classify.prequential import Metric

Parts = Mapping[str, bytes]

HEADER = ("context", "version", "kind", "labels", "Brier", "AUROC", "calibration error", "digest", "why stored")


def contexts_in(reader: StoreQueries) -> dict[str, dict[str, bytes]]:
    """The saved parts of every context of a store, by fingerprint."""
    return contexts_saved(reader.state("context/"))


def record_of(parts: Parts) -> CommitteeRecord:
    """What the committee of a saved context says about itself."""
    return read_record(under("committee/", parts))


def named_context(contexts: Mapping[str, Parts], fingerprint: str | None) -> str:
    """The context that was asked for, or the only one.

    Raises
    ------
    ConnectorError
        When there is none, or nobody said which of several.
    """
    if fingerprint in contexts:
        return str(fingerprint)
    if fingerprint is None and len(contexts) == 1:
        return next(iter(contexts))
    known = ", ".join(f"{name} ({context_model(parts) or 'unnamed model'})" for name, parts in sorted(contexts.items()))
    asked = "say which context with --context" if fingerprint is None else f"no context {fingerprint}"
    raise ConnectorError(f"{asked}; the store has {known or 'none'}", retriable=False)


def versions(contexts: Mapping[str, Parts]) -> list[dict[str, Any]]:
    """Every stored version as plain values, in the order they were stored; ``predicts`` says which is the champion."""
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


def table(found: Sequence[Mapping[str, Any]]) -> Iterable[Sequence[str]]:
    """Versions as rows of text for people, a header first; the one that predicts now has a star."""
    return itertools.chain([HEADER], (_line(version) for version in found))


def _line(version: Mapping[str, Any]) -> list[str]:
    metric = Metric(**version["metric"])
    scores = ["-" if x is None else f"{x:.3f}" for x in (metric.brier, metric.auroc, metric.calibration_error)]
    number = f"{version['number']}{'*' if version['predicts'] else ''}"
    labels = str(version["n_labels"])
    return [version["context"], number, version["kind"], labels, *scores, version["digest"], version["reason"]]


def rollback(store: Store, settings: CommitteeSettings, number: int, fingerprint: str | None = None) -> str:
    """Let a stored version of a context predict again; returns the fingerprint of that context.

    Raises
    ------
    ConnectorError
        When there is no such context or version, or the store was written with other classifiers than these settings
        name: members that are not wanted would leave it.
    """
    with store.transaction() as transaction:
        contexts = contexts_saved(transaction.state("context/"))
        name = named_context(contexts, fingerprint)
        _check_settings(record_of(contexts[name]), settings)
        committee = Committee.restore(settings, under("committee/", contexts[name]))
        try:
            committee.rollback(number)
        except ValueError as error:
            raise ConnectorError(f"context {name}: {error}", retriable=False) from error
        transaction.save_state({f"context/{name}/committee/{k}": part for k, part in committee.changes().items()})
    return name


def _check_settings(record: CommitteeRecord, settings: CommitteeSettings) -> None:
    named = {member for member in record.members if "@" not in member}
    if record.configured != settings.champion or named != {settings.champion, *settings.challengers}:
        text = (
            f"the store was written with classifier.kind {record.configured} and {', '.join(sorted(named))} in its "
            "committee; run this with the settings of the agent (--config)"
        )
        raise ConnectorError(text, retriable=False)
