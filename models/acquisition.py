"""What to label next: series ranked by how much a label would help.

priority = traffic share x shortfall x uncertainty. The traffic share is the part of all responses of the newest period
that belongs to the series, also of those that its window is too small to hold. The shortfall is how far accuracy may
lie below the target of the domain. The uncertainty is the width of the interval. Without an estimate both are 1, so
series without an estimate come first, in the order of their traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from driftgauge.models.outputs import Estimate, Priority

FLOOR = 0.01
"""Smallest shortfall and uncertainty: a domain with perfect estimates still gets some labels."""


def rank(
    estimates: Sequence[Estimate], traffic: Sequence[int], targets: Mapping[str, float], default_target: float
) -> tuple[Priority, ...]:
    """Rank series for labelling, the most useful first.

    Parameters
    ----------
    estimates : the newest estimate of every series
    traffic : responses of each of these series in the newest period
    targets : the accuracy wanted of a domain, in [0, 1], by its name
    default_target : the accuracy wanted of every other domain
    """
    total = sum(traffic) or 1
    rows = [
        _priority(e, n / total, targets.get(e.domain, default_target)) for e, n in zip(estimates, traffic, strict=True)
    ]
    rows.sort(key=lambda row: (-row.priority, row.series))
    return tuple(replace(row, rank=i) for i, row in enumerate(rows, start=1))


def _priority(estimate: Estimate, share: float, target: float) -> Priority:
    low, high = estimate.ci_low, estimate.ci_high
    if estimate.accuracy is None or low is None or high is None:
        shortfall = uncertainty = 1.0
        why = f"{share:.0%} of traffic and no estimate yet: {estimate.status_reason}"
    else:
        shortfall = max(target - low, FLOOR)
        uncertainty = max(high - low, FLOOR)
        labels = f"{estimate.n_labels} labels" if estimate.n_labels else "no labels"
        why = (
            f"{share:.0%} of traffic, accuracy {estimate.accuracy:.2f} may be as low as {low:.2f} "
            f"against a target of {target:.2f}, interval {high - low:.2f} wide, {labels}"
        )
    return Priority(
        rank=0,
        domain=estimate.domain,
        fingerprint=estimate.fingerprint,
        priority=share * shortfall * uncertainty,
        traffic_share=share,
        shortfall=shortfall,
        uncertainty=uncertainty,
        n_events=estimate.n_events,
        n_labels=estimate.n_labels,
        why=why,
    )
