"""Who is present: a domain that falls silent is reported when its history does not explain it, and at no other time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy.stats import poisson

from driftgauge.models.watch.roll_call import RollCall, Vanished

HOUR_S = 3_600.0
LIVE = {"a", "b"}


def played(
    is_present: Callable[[int, str], bool], hours: int = 24 * 28, *, is_interrupted: bool = False
) -> list[tuple[int, Vanished]]:
    """At which hours which domains are reported; an hour in which neither has a response does not come."""
    roll, found = RollCall("workdays"), list[tuple[int, Vanished]]()
    for hour in range(hours):
        present = {name for name in LIVE if is_present(hour, name)}
        if not present:
            continue
        roll.reach(hour * HOUR_S)
        found += [(hour, vanished) for vanished in roll.end_hour(present, LIVE)]
        if is_interrupted:
            saved = msgspec.msgpack.encode([roll.present(), roll.known()])
            roll = RollCall("workdays").restore(*msgspec.msgpack.decode(saved))
    return found


def is_open(hour: int) -> bool:
    return 8 <= hour % 24 < 20 and (hour // 24 + 3) % 7 < 5


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_domain_that_is_silent_at_night_and_at_weekends_is_reported_only_when_it_stays_away(
    is_interrupted: bool,
) -> None:
    gone = 24 * 25 + 12  # a Monday
    assert is_open(gone)
    found = played(lambda hour, name: name == "a" or (is_open(hour) and hour < gone), is_interrupted=is_interrupted)
    (hour, first), *later = found
    assert gone <= hour <= gone + 4
    assert (first.domain, first.since) == ("b", gone * HOUR_S)
    assert first.n_missed > 1
    assert later == []


def test_a_stream_that_stops_as_a_whole_is_the_silence_of_no_domain() -> None:
    assert played(lambda hour, _: not 24 * 14 <= hour < 24 * 17) == []


def test_a_domain_whose_traffic_comes_in_bursts_is_known_to_be_silent_between_them() -> None:
    bursts = {24 * day + int(np.random.default_rng(day).integers(24)) for day in range(28)}
    found = played(lambda hour, name: name == "a" or hour in bursts)
    assert found == []


def test_hardly_any_poisson_process_is_reported() -> None:
    rng, horizon_s, found, names = np.random.default_rng(0), 24 * 28 * HOUR_S, 0, [f"d{i}" for i in range(20)]
    for _ in range(10):
        roll, rates = RollCall("day", 2.0, horizon_s), rng.uniform(0.1, 3.0, 20)
        for hour in range(24 * 28):
            roll.reach(hour * HOUR_S)
            present = {name for name, n in zip(names, rng.poisson(rates).tolist(), strict=True) if n}
            found += len(roll.end_hour(present, names))
    assert found <= poisson.ppf(0.999, 10 * 2.0)


def test_a_domain_that_is_not_live_is_forgotten() -> None:
    roll = RollCall("none")
    for hour in range(50):
        roll.reach(hour * HOUR_S)
        assert (
            roll.end_hour({"a": 9, "b": 9 * (hour < 20)} if hour < 20 else {"a": 9}, LIVE if hour < 20 else {"a"}) == []
        )
    assert [name for name, _ in roll.known()[1]] == ["a"]


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_domain_that_is_forgotten_is_not_missed_although_it_had_a_response_in_that_hour(is_forgotten: bool) -> None:
    roll, missed = RollCall("day"), set[str]()
    for hour in range(24 * 14):
        present = LIVE if hour <= 24 * 7 else {"b"}
        roll.reach(hour * HOUR_S)
        if hour == 24 * 7 and is_forgotten:
            roll.forget("a")
        missed |= {vanished.domain for vanished in roll.end_hour(present, LIVE)}
    assert missed == (set() if is_forgotten else {"a"})
