"""Alerts through the whole pipeline: pending, repeated, without data, over."""

from __future__ import annotations

import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.alerts.book import DAY_S, AlertRules
from driftgauge.models.events import Event, Generation
from driftgauge.models.outputs import Alert
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.stepping import T0, Agent, label
from tests.pipeline.stepping import response as response_of_a

HOUR_S = 3_600.0
SETTINGS = PipelineSettings(windows=WindowSpec(window_s=DAY_S, hop_s=HOUR_S), detect_drift=False)


def response(n: int, at: float, domain: str) -> Generation:
    return replace(response_of_a(n, at), domain=domain)


def told(agent: Agent, *events: Event) -> list[tuple[str, int]]:
    found = [o for o in agent.take(*events) if isinstance(o, Alert) and o.kind == "below_target"]
    return [(alert.state, alert.began) for alert in found]


def fallen(rules: AlertRules) -> tuple[Agent, list[tuple[str, int]]]:
    """An agent with forty wrong labels of one domain, and what it told of them."""
    agent = Agent(replace(SETTINGS, alerts=rules))
    agent.take(*(response(n, T0 + n, "law") for n in range(40)))
    return agent, told(agent, *(label(f"l{n}", n, 0.0) for n in range(40)))


def test_an_alarm_says_what_is_behind_it() -> None:
    agent = Agent(replace(SETTINGS, alert_link="https://gauge.example/{kind}/{domain}?from={since}"))
    agent.take(*(response(n, T0 + n, "law") for n in range(40)))
    outputs = agent.take(*(label(f"l{n}", n, 0.0) for n in range(40)))
    (alert,) = [o for o in outputs if isinstance(o, Alert)]
    assert alert.n is not None
    assert (alert.state, alert.began, alert.slice, alert.inhibited_by) == ("firing", alert.number, "", "")
    assert alert.rows == (f"r{alert.n}",)  # the first label was no evidence yet
    assert alert.link == f"https://gauge.example/below_target/law?from={T0 + 1:.0f}"
    assert alert.identity == f"below_target/law/{alert.fingerprint}"


def test_an_alarm_that_fires_for_long_is_told_once_a_day_across_restarts() -> None:
    agent, first = fallen(AlertRules())
    assert [state for state, _ in first] == ["firing"]
    later = list[tuple[str, int]]()
    for hour in range(1, 73):
        agent.restart()
        later += told(agent, response(1_000 + hour, T0 + hour * HOUR_S, "law"))
    assert later == [first[0]] * 2  # after 24 and 48 hours, at the boundaries after them


def test_an_alarm_must_hold_for_as_long_as_configured() -> None:
    agent, first = fallen(AlertRules(sustained_s={"below_target": 2 * HOUR_S}))
    assert [state for state, _ in first] == ["pending"]
    assert told(agent, response(1_000, T0 + HOUR_S, "law")) == []
    assert told(agent, response(1_001, T0 + 4 * HOUR_S, "law")) == [("firing", first[0][1])]


def test_an_alarm_waits_for_its_number_of_labels() -> None:
    agent, first = fallen(AlertRules(min_sample={"below_target": 50}))
    assert [state for state, _ in first] == ["pending"]
    agent.take(*(response(n, T0 + n, "law") for n in range(40, 60)))
    assert told(agent, *(label(f"l{n}", n, 0.0) for n in range(40, 60))) == [("firing", first[0][1])]


def test_an_alarm_of_a_domain_that_falls_silent_has_no_data_until_the_domain_is_back() -> None:
    agent, first = fallen(AlertRules(repeat_s=0.0))
    others = [response(2_000 + hour, T0 + hour * HOUR_S, "tax") for hour in range(1, 60)]
    assert told(agent, *others) == [("no_data", first[0][1])]
    back = [response(3_000 + hour, T0 + hour * HOUR_S, "law") for hour in (60, 61, 62)]
    assert told(agent, *back) == [("firing", first[0][1])]


@pytest.mark.parametrize("restarts", [False, True])
def test_the_end_of_an_alarm_has_its_identity(restarts: bool) -> None:
    agent, first = fallen(AlertRules())
    agent.take(*(response(n, T0 + n, "law") for n in range(40, 300)))
    if restarts:
        agent.restart()
    assert told(agent, *(label(f"l{n}", n, 1.0) for n in range(40, 300))) == [("resolved", first[0][1])]
    assert agent.state.alerts.open.keys() <= {i for i in agent.state.alerts.open if i.kind == "new_context"}
