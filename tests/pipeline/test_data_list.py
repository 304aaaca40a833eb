"""The data list of a boundary: shares of the traffic, trend, new domains, and the worst responses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from driftgauge.agent.core.data_list import ROWS_WITH_WORST
from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Pause, Tick
from driftgauge.models.outputs import Acquisition, Estimate, Priority
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, START, signal
from tests.pipeline.stepping import Agent

PERIOD_S = SETTINGS.windows.window_s


def responses(domain: str, n: int, start: float, model: str = "m") -> Iterator[Generation]:
    """Responses of one domain, as many as this, spread over a minute from ``start``; an odd one is uncertain."""
    for i in range(n):
        tokens = signal(np.random.default_rng(i), 8, correct=i % 2 == 0)
        yield Generation(f"{domain}-{start:.0f}-{i}", start + i * 60 / n, domain, Context(model=model), tokens)


def labels(domain: str, n: int, start: float) -> Iterator[Label]:
    """Labels of the first responses: an even one is right, an odd one wrong."""
    for i in range(n):
        of = f"{domain}-{start:.0f}-{i}"
        yield Label(f"label of {of}", of, start + 61, float(i % 2 == 0), inclusion_probability=1.0)


def all_lists(events: list[Event], settings: PipelineSettings = SETTINGS) -> list[Acquisition]:
    with MemoryStore().transaction() as memory:
        outputs = Pipeline(settings).step(sorted(events, key=lambda event: getattr(event, "event_time", 0.0)), memory)
    return [output for output in outputs if isinstance(output, Acquisition)]


def newest_list(events: list[Event], settings: PipelineSettings = SETTINGS) -> dict[str, Priority]:
    return {row.domain: row for row in all_lists(events, settings)[-1].priorities}


def test_there_is_no_list_when_the_source_pauses_before_the_first_response() -> None:
    assert not all_lists([Pause(), Label("early", "not yet here", START, 1.0), Pause()])


def shares(events: list[Event], settings: PipelineSettings = SETTINGS) -> dict[str, float]:
    return {domain: row.traffic_share for domain, row in newest_list(events, settings).items()}


def test_traffic_shares_are_the_shares_of_the_responses_in_the_newest_windows() -> None:
    minute: list[Event] = [*responses("math", 45, START), *responses("law", 15, START), Tick(START + 100)]
    assert shares(minute) == {"math": 0.75, "law": 0.25}
    assert {domain: row.n_events for domain, row in newest_list(minute).items()} == {"math": 45, "law": 15}


def test_responses_that_a_window_is_too_small_to_hold_count_as_traffic() -> None:
    settings = replace(SETTINGS, windows=replace(SETTINGS.windows, window_events=20))
    minute: list[Event] = [*responses("math", 90, START), *responses("law", 10, START), Tick(START + 100)]
    assert shares(minute, settings) == {"math": 0.9, "law": 0.1}
    assert {domain: row.n_events for domain, row in newest_list(minute, settings).items()} == {"math": 20, "law": 10}


def test_a_response_that_comes_twice_is_one_response_of_the_traffic() -> None:
    minute: list[Event] = [*responses("math", 30, START), *responses("law", 30, START), *responses("law", 30, START)]
    assert shares([*minute, Tick(START + 100)]) == {"math": 0.5, "law": 0.5}


def test_traffic_that_left_the_window_no_longer_counts() -> None:
    later = START + PERIOD_S + 60
    first: list[Event] = [*responses("math", 45, START), *responses("law", 15, START)]
    second: list[Event] = [*responses("math", 10, later), *responses("law", 40, later)]
    assert shares([*first, *second, Tick(later + 100)]) == pytest.approx({"law": 0.8, "math": 0.2})


def test_domains_have_the_targets_of_the_settings() -> None:
    settings = replace(SETTINGS, targets={"law": 0.95}, default_target=0.7)
    rows = newest_list([*responses("math", 30, START), *responses("law", 30, START), Tick(START + 100)], settings)
    assert {domain: row.target for domain, row in rows.items()} == {"law": 0.95, "math": 0.7}


# --- trend


def two_periods() -> list[Event]:
    """Two periods of one domain with labels for all; the responses of the second are uncertain more often."""
    later = START + PERIOD_S
    log: list[Event] = []
    for start, n in ((START, 60), (START + 60, 60), (later, 60), (later + 60, 60)):
        log += [*responses("math", n, start), *labels("math", n, start)]
    return [*log, *responses("law", 20, later + 60), Tick(later + 2 * PERIOD_S)]


@pytest.mark.parametrize("restarts", [False, True])
def test_the_trend_is_the_change_since_the_estimate_of_the_window_one_period_before(*, restarts: bool) -> None:
    agent = Agent(SETTINGS)
    for i, event in enumerate(sorted(two_periods(), key=lambda event: getattr(event, "event_time", 0.0))):
        agent.take(event)
        if restarts and i % 40 == 0:
            agent.restart()
    newest: dict[tuple[str, float], float | None] = {}
    compared = 0
    for output in agent.said:
        if isinstance(output, Estimate):
            newest[output.domain, output.window_end] = output.accuracy
        elif isinstance(output, Acquisition):
            for row in output.priorities:
                before = newest.get((row.domain, output.event_time - PERIOD_S))
                if before is None or row.accuracy is None:
                    assert row.trend is None
                else:
                    assert row.trend == row.accuracy - before
                    compared += 1
    assert compared > 1


def test_a_batch_of_any_size_gives_the_same_lists() -> None:
    agent = Agent(SETTINGS)
    log = sorted(two_periods(), key=lambda event: getattr(event, "event_time", 0.0))
    one_by_one = [output for output in agent.take(*log) if isinstance(output, Acquisition)]
    assert one_by_one == all_lists(log)


# --- new domains


def news(events: list[Event]) -> list[set[str]]:
    """The domains that each list marks as new."""
    return [{row.domain for row in found.priorities if row.is_new} for found in all_lists(events)]


def test_a_domain_is_new_for_one_period_and_none_is_when_the_agent_begins() -> None:
    began, later = START, START + PERIOD_S + 30
    old: list[Event] = [r for i in range(8) for r in responses("math", 10, began + 60 * i)]
    fresh: list[Event] = [r for i in range(5) for r in responses("law", 10, later + 60 * i)]
    found = news([*old, *fresh])
    assert found[0] == set()
    assert {"law"} in found
    assert found[-1] == set()
    assert all(domains <= {"law"} for domains in found)
    marked = found.count({"law"})
    assert marked == PERIOD_S / SETTINGS.windows.hop_s


def test_a_known_domain_in_a_new_context_is_not_new() -> None:
    later = START + PERIOD_S + 30
    old: list[Event] = [r for i in range(5) for name in ("law", "math") for r in responses(name, 10, START + 60 * i)]
    found = news([*old, *responses("math", 10, later + 60, model="other")])
    assert found[-1] == set()


def test_what_is_new_survives_a_restart() -> None:
    later = START + 2 * PERIOD_S
    agent = Agent(SETTINGS)
    agent.take(*responses("math", 20, START), *responses("math", 20, START + 60))
    agent.take(*responses("law", 20, later))
    agent.restart()
    lists = [output for output in agent.take(Tick(later + 85)) if isinstance(output, Acquisition)]
    assert [{row.domain for row in found.priorities if row.is_new} for found in lists] == [{"law"}] * len(lists)
    assert lists


# --- the worst responses


def test_the_worst_responses_are_those_labelled_wrong_and_then_the_unlabelled_that_are_most_likely_wrong() -> None:
    log: list[Event] = [*responses("math", 40, START), *labels("math", 4, START), Tick(START + 130)]
    (row,) = newest_list(log, replace(SETTINGS, min_events=2)).values()
    assert set(row.worst) == {f"math-{START:.0f}-1", f"math-{START:.0f}-3"}  # no prediction yet: the labelled ones only


@pytest.mark.parametrize("restarts", [False, True])
def test_a_response_labelled_right_or_out_of_the_window_is_never_among_the_worst(*, restarts: bool) -> None:
    agent = Agent(SETTINGS)
    later = START + 2 * PERIOD_S
    for start in (START, START + 60, later):
        agent.take(*responses("math", 60, start))
        agent.take(*labels("math", 30 if start == later else 60, start))
    if restarts:
        agent.restart()
    agent.take(Tick(later + 90))
    row = [output for output in agent.said if isinstance(output, Acquisition)][-1].priorities[0]
    assert len(row.worst) == 5
    wrong = {f"math-{later:.0f}-{i}" for i in range(30) if i % 2}
    assert set(row.worst) <= wrong
    agent.take(*(Label(f"label of {name}", name, later + 100, 1.0) for name in wrong))  # corrected: all are right
    agent.take(Tick(later + 119), *responses("math", 1, later + 119), Tick(later + 150))
    row = [output for output in agent.said if isinstance(output, Acquisition)][-1].priorities[0]
    unlabelled = {f"math-{later:.0f}-{i}" for i in range(30, 60)} | {f"math-{later + 119:.0f}-0"}
    assert len(row.worst) == 5
    assert set(row.worst) <= unlabelled
    odd = [name for name in row.worst if int(name.rpartition("-")[2]) % 2]
    assert len(odd) >= 4  # the uncertain ones


def test_only_the_first_rows_name_responses() -> None:
    settings = replace(SETTINGS, windows_at_once=100, max_domains=100)
    log: list[Event] = []
    for i in range(ROWS_WITH_WORST + 5):
        log += [*responses(f"d{i:02}", 6, START), *labels(f"d{i:02}", 6, START)]
    rows = sorted(newest_list([*log, Tick(START + 130)], settings).values(), key=lambda row: row.rank)
    assert [bool(row.worst) for row in rows] == [True] * ROWS_WITH_WORST + [False] * 5
