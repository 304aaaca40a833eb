"""The time to rank a thousand domains for the data list of a boundary, in CPU seconds on one core.

The value is for intervals that say nothing, so that each domain may be among the first three; the baseline for
intervals of 0.2 and traffic of different sizes, where most domains cannot be.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from driftgauge.models.acquire.ranking import Candidate, rank
from driftgauge.models.outputs import Estimate
from tests.benchmarks.timing import seconds

N_DOMAINS = 1_000


def measure() -> dict[str, dict[str, Any]]:
    """Seconds, and how many times longer than the baseline."""
    wide, usual = seconds(partial(rank, _candidates(1.0, 0.0), 0), partial(rank, _candidates(0.1, 1.0), 0))
    return {"rank_1000_domains": {"value": wide, "unit": "s", "baseline": usual, "ratio": wide / usual}}


def _candidates(half_width: float, spread: float) -> list[Candidate]:
    """``spread`` is the standard deviation of the logarithm of a domain's traffic."""
    rng = np.random.default_rng(0)
    accuracies, traffic = rng.uniform(0.2, 0.9, N_DOMAINS), 1_000 * np.exp(spread * rng.standard_normal(N_DOMAINS))
    return [
        Candidate(_estimate(f"d{i:03}", accuracy, half_width), round(n), target=0.8, accuracy_before=accuracy)
        for i, (accuracy, n) in enumerate(zip(accuracies.tolist(), traffic.tolist(), strict=True))
    ]


def _estimate(domain: str, accuracy: float, half_width: float) -> Estimate:
    return Estimate(
        domain=domain, fingerprint="f", model="m", window_start=0, window_end=1, watermark=1, revision=1, status="ok",
        status_reason=None, accuracy=accuracy, ci_low=max(accuracy - half_width, 0.0),
        ci_high=min(accuracy + half_width, 1.0), confidence_level=0.9, estimator="e", n_events=1_000, n_labels=50,
        effective_sample_size=50.0, accuracy_labelled=None, classifier_version=1,
    )  # fmt: skip
