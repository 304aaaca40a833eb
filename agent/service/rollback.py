"""Letting a stored classifier version predict again: in a store without an agent, or between two batches of one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from driftgauge.agent.core.context_state import contexts_saved, under
from driftgauge.agent.outlets.versions import named_context, record_of
from driftgauge.connectors.base import ConnectorError, Store
from driftgauge.models.learn.committee import Committee, CommitteeSettings
from driftgauge.models.learn.committee_record import CommitteeRecord

log = logging.getLogger(__name__)


def roll_back(store: Store, settings: CommitteeSettings, number: int, fingerprint: str | None = None) -> str:
    """Let a stored version of a context predict again; return the fingerprint of that context.

    Raises
    ------
    ConnectorError
        When the store has no such context or version, or when it was written with other classifiers than ``settings``
        names: a rollback would remove from the store those that the settings do not name.
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


def requested_rollback(settings: CommitteeSettings, number: int, fingerprint: str) -> Callable[[Store], None]:
    """The same for the loop of a running agent, which goes on whatever comes of it."""

    def work(store: Store) -> None:
        try:
            roll_back(store, settings, number, fingerprint)
            log.info("version %d predicts again in context %s, as asked for", number, fingerprint)
        except ConnectorError as error:
            if error.retriable:
                raise
            log.warning("no rollback: %s", error)

    return work


def _check_settings(record: CommitteeRecord, settings: CommitteeSettings) -> None:
    named = {member for member in record.members if "@" not in member}
    if record.configured != settings.champion or named != {settings.champion, *settings.challengers}:
        text = (
            f"the store was written with classifier.kind {record.configured} and {', '.join(sorted(named))} in its "
            "committee; run this with the settings of the agent (--config)"
        )
        raise ConnectorError(text, retriable=False)
