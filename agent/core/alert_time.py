"""At a boundary of event time, open alerts fire, are repeated, lose their data, or end."""

from __future__ import annotations

from driftgauge.agent.core.batch import Batch
from driftgauge.models.alerts.evidence import Evidence
from driftgauge.models.series import SeriesKey


def age_alerts(batch: Batch, boundary: float) -> None:
    """Tell what became of the open alerts by this boundary."""
    state, window_s = batch.state, batch.settings.windows.window_s

    def is_silent(series: SeriesKey) -> bool:
        domain = state.domains.get(series._replace(slice=""))
        return domain is None or domain.last_boundary <= boundary - window_s

    def sample(evidence: Evidence) -> int:
        domain = state.domains.get(evidence.series._replace(slice=""))
        if domain is None or evidence.since is None:
            return 0
        times = domain.window.event_time[domain.window.span(boundary)]
        return int((times >= evidence.since).sum())

    for turn in state.alerts.pass_time(boundary, is_silent, sample):
        batch.tell(turn, boundary)
