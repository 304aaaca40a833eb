"""An estimate far below the target raises a warning that ends when it is back; one within the noise raises none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.estimate_watch import watch_estimate
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.outputs import Alert, Estimate
from driftgauge.models.series import SeriesKey
from driftgauge.models.watch.estimated import upper_bound
from tests.store.examples import estimate

SETTINGS = PipelineSettings(targets={"law": 0.8})
HOUR_S = 3_600.0


def told(accuracies: list[tuple[float | None, float | None]], settings: PipelineSettings = SETTINGS) -> list[str]:
    """The states of the warnings about estimates of one domain, hour by hour."""
    state = State(settings)
    domain = state.add_domain(state.new_domain(SeriesKey("law", "f1")))
    with MemoryStore().transaction() as memory:
        batch = Batch(settings, state, memory)
        for hour, (accuracy, ci_high) in enumerate(accuracies, 1):
            state.event_time = state.boundary = hour * HOUR_S
            made: Estimate = estimate(
                accuracy=accuracy, ci_low=accuracy, ci_high=ci_high, confidence_level=0.9, window_end=hour * HOUR_S
            )
            watch_estimate(batch, domain, made)
        return [o.state for o in batch.outputs if isinstance(o, Alert) and o.kind == "estimate_below_target"]


def test_an_estimate_far_below_the_target_warns_until_it_is_back() -> None:
    assert told([(0.9, 0.95), (0.5, 0.55), (0.5, 0.55), (0.79, 0.85), (0.8, 0.9)]) == ["firing", "resolved"]


@pytest.mark.parametrize("values", [(0.7, 0.79), (0.75, 0.9), (None, None)])
def test_an_interval_that_just_misses_the_target_is_one_of_many(values: tuple[float | None, float | None]) -> None:
    assert told([values] * 3) == []


def test_a_warning_ends_with_the_estimate() -> None:
    assert told([(0.5, 0.55), (None, None)]) == ["firing", "resolved"]


def test_without_drift_detection_there_is_no_warning() -> None:
    assert told([(0.5, 0.55)], replace(SETTINGS, detect_drift=False)) == []


def test_a_bound_is_higher_the_smaller_its_tail_and_stays_within_0_and_1() -> None:
    made = SimpleNamespace(accuracy=0.98, ci_high=0.99, confidence_level=0.9)
    bounds = [upper_bound(made, tail) for tail in (0.05, 0.01, 1e-4, 1e-9)]  # type: ignore[arg-type]
    assert bounds == sorted(bounds, key=lambda bound: bound or 0.0)
    assert bounds[0] == pytest.approx(0.99)
    assert all(bound is not None and 0.98 < bound < 1 for bound in bounds)
    certain = SimpleNamespace(accuracy=1.0, ci_high=1.0, confidence_level=0.9)
    assert upper_bound(certain, 0.01) == pytest.approx(1.0, abs=1e-5)  # type: ignore[arg-type]
