"""Watches estimates against their target: a warning where no labels prove yet what the estimates say."""

from __future__ import annotations

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.models.outputs import Estimate
from driftgauge.models.watch.estimated import upper_bound

KIND = "estimate_below_target"


def watch_estimate(batch: Batch, domain: DomainState, estimate: Estimate) -> None:
    """Warn while an estimate is below the target of its domain by more than all looks of a horizon explain.

    The warning ends when the estimate is back on the target, and when there is none.
    """
    settings, target, at = batch.settings, domain.watch.target, batch.state.event_time
    if not settings.detect_drift:
        return
    if estimate.accuracy is None:
        batch.end_alert(KIND, estimate.series, "there is no estimate any more", at=at)
        return
    n_looks = max(len(batch.state.domains), 1) * max(settings.drift_horizon_s / settings.windows.window_s, 1.0)
    high = upper_bound(estimate, min(settings.false_warnings_each / n_looks, 0.05))
    if high is not None and high < target:
        message = (
            f"accuracy of {estimate.domain} is estimated at {estimate.accuracy:.2f}, below its target of {target:.2f} "
            f"({estimate.n_labels} labels)"
        )
        batch.alert(
            KIND, estimate.series, "accuracy", message,
            at=at, before=target, after=estimate.accuracy, n=estimate.n_events,
        )  # fmt: skip
    elif estimate.accuracy >= target:
        reason = f"the estimate is {estimate.accuracy:.2f}"
        batch.end_alert(KIND, estimate.series, reason, at=at)
