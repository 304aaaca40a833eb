"""A month with days, nights and weekends through the whole pipeline: within the budget, and what changes is found."""

from __future__ import annotations

import pytest

from driftgauge.models.outputs import Alert
from tests.statistics.month import CHANGE_DAY, DAY_S, MONDAY, WARNINGS, alerts, month

pytestmark = pytest.mark.xdist_group("month")  # so that one worker makes the fixtures of this module, once

CHANGED = MONDAY + CHANGE_DAY * DAY_S


@pytest.fixture(scope="module")
def found() -> list[Alert]:
    """What is found of a month in which five things change at once, each where no other does."""
    changes = ("n_tokens", "coverage", "label_delay", "vanished", "new")
    return alerts(month(0, changes, a_day=200, n_days=CHANGE_DAY + 6))


def test_a_month_with_seasons_has_no_warning() -> None:
    assert alerts(month(1, a_day=100)) == []  # one is expected at most; none was seen in four of 300 responses a day


def test_nothing_is_found_before_it_changed(found: list[Alert]) -> None:
    assert all(alert.event_time >= CHANGED for alert in found)
    assert {alert.kind for alert in found} <= {*WARNINGS, "new_domain"}


@pytest.mark.parametrize(
    ("kind", "domain", "what", "within_days"),
    [
        ("drift", "law", "n_tokens", 2),
        ("coverage", "code", "coverage", 2),
        ("label_delay", "(all)", "label_delay", 6),
        ("vanished_domain", "billing", "responses", 1),
        ("new_domain", "travel", "domain", 1),
        ("traffic_mix", "(all)", "travel", 3),
    ],
)
def test_each_change_is_found_and_named(
    found: list[Alert], kind: str, domain: str, what: str, within_days: float
) -> None:
    (first, *_) = [alert for alert in found if (alert.kind, alert.domain) == (kind, domain)]
    assert first.event_time < CHANGED + within_days * DAY_S
    assert first.what == what


def test_a_month_cut_into_other_batches_with_restarts_between_them_has_the_same_alerts() -> None:
    events = month(2, ("vanished", "new", "n_tokens"), a_day=40, n_days=CHANGE_DAY + 4)
    straight = alerts(events)
    assert {alert.kind for alert in straight} >= {"vanished_domain", "new_domain"}
    assert alerts(events, n_at_once=331, is_restarted=True) == straight
