"""When asking pauses and when it goes on; the time is passed in."""

from __future__ import annotations

import random

import pytest

from driftgauge.agent.gateway import breaker as rules
from driftgauge.agent.gateway.breaker import LONGEST_PAUSE_S, Breaker, Outcome


def test_one_refusal_pauses_its_kind_and_no_other() -> None:
    breaker = Breaker(600.0)
    breaker.note("tools", "refused", asked_at=0.0, now=1.0)
    assert not breaker.may_ask("tools", now=2.0)
    assert breaker.may_ask("plain", now=2.0)
    assert breaker.paused() == {"tools": "refused"}


@pytest.mark.parametrize(("outcome", "n"), [("not_got", rules.IGNORED_IN_A_ROW), ("failed", rules.FAILED_IN_A_ROW)])
def test_asking_pauses_after_a_row_of_failures_and_not_before(outcome: Outcome, n: int) -> None:
    breaker = Breaker()
    for time in range(n):
        assert breaker.may_ask("kind", now=float(time))
        breaker.note("kind", outcome, asked_at=float(time), now=float(time))
    assert not breaker.may_ask("kind", now=float(n))


@pytest.mark.parametrize("outcome", ["not_got", "failed"])
def test_failures_with_successes_between_them_do_not_pause(outcome: Outcome) -> None:
    breaker = Breaker()
    for time in range(200):
        breaker.note("kind", outcome if time % 3 else "got", asked_at=float(time), now=float(time))
    assert breaker.may_ask("kind", now=200.0)


def test_one_request_tries_again_after_a_pause_and_each_failure_doubles_the_pause() -> None:
    breaker, now, pauses = Breaker(600.0), 0.0, []
    breaker.note("kind", "refused", asked_at=0.0, now=0.0)
    for _ in range(12):
        paused_at = now
        while not breaker.may_ask("kind", now=now):
            now += 100.0
        assert not breaker.may_ask("kind", now=now + 1.0)
        pauses.append(now - paused_at)
        breaker.note("kind", "failed", asked_at=now, now=now)
    assert pauses == [min(600.0 * 2**n, LONGEST_PAUSE_S) for n in range(12)]


def test_a_success_after_the_pause_ends_it_and_the_next_pause_is_a_first_one() -> None:
    breaker = Breaker(600.0)
    breaker.note("kind", "refused", asked_at=0.0, now=0.0)
    assert breaker.may_ask("kind", now=600.0)
    breaker.note("kind", "got", asked_at=600.0, now=601.0)
    assert breaker.may_ask("kind", now=602.0)
    breaker.note("kind", "refused", asked_at=602.0, now=603.0)
    assert breaker.may_ask("kind", now=1_203.0)


def test_a_trial_without_an_outcome_is_repeated_a_pause_later() -> None:
    breaker = Breaker(600.0)
    breaker.note("kind", "refused", asked_at=0.0, now=0.0)
    assert breaker.may_ask("kind", now=600.0)
    assert [breaker.may_ask("kind", now=now) for now in (601.0, 1_199.0, 1_200.0)] == [False, False, True]


@pytest.mark.parametrize("outcome", ["got", "refused", "failed"])
def test_an_answer_to_a_request_from_before_the_pause_changes_nothing(outcome: Outcome) -> None:
    breaker = Breaker(600.0)
    breaker.note("kind", "refused", asked_at=5.0, now=10.0)
    breaker.note("kind", outcome, asked_at=9.0, now=300.0)
    assert [breaker.may_ask("kind", now=now) for now in (609.0, 610.0)] == [False, True]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("share_asked", "pauses"), [(0.05, False), (0.4, True)])
def test_asking_pauses_when_asked_requests_fail_more_often_than_others(
    share_asked: float, pauses: bool, seed: int
) -> None:
    """Requests that were not asked fail at 5 %; a success follows each failure, so that no row of them counts."""
    breaker, random_ = Breaker(), random.Random(seed)  # noqa: S311 - no secret
    for time in range(600):
        breaker.note_unasked("kind", failed=random_.random() < 0.05)
        failed = random_.random() < share_asked
        if failed and not breaker.paused():
            breaker.note("kind", "failed", asked_at=float(time), now=float(time))
        if not breaker.paused():
            breaker.note("kind", "got", asked_at=float(time), now=float(time))
    assert bool(breaker.paused()) is pauses


def test_the_kind_that_was_used_longest_ago_is_forgotten_beyond_the_bound() -> None:
    breaker = Breaker()
    for kind in range(rules.MAX_KINDS):
        breaker.note(kind, "refused", asked_at=0.0, now=0.0)
    assert not breaker.may_ask(0, now=1.0)
    breaker.note("one more", "refused", asked_at=0.0, now=0.0)
    assert len(breaker.paused()) == rules.MAX_KINDS
    assert not breaker.may_ask(0, now=1.0)
    assert breaker.may_ask(1, now=1.0)
