"""The life of alerts: one identity from the first evidence to the end, told once, repeated, held back, ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.models.alerts.book import DAY_S, AlertBook, AlertRules, Turn
from driftgauge.models.alerts.evidence import Evidence
from driftgauge.models.series import ALL_DOMAINS, SeriesKey

HOUR_S = 3_600.0
LAW, TAX = SeriesKey("law", "f1"), SeriesKey("tax", "f1")
FALL = Evidence("drift", LAW, "p_correct", "p_correct of law fell")
PROOF = Evidence("below_target", LAW, "accuracy", "labels prove it", n=20)
NOTE = Evidence("new_context", SeriesKey(ALL_DOMAINS, "f1"), "context", "a model not seen before")


def never(_: SeriesKey) -> bool:
    return False


def always(_: SeriesKey) -> bool:
    return True


def told(turns: list[Turn]) -> list[tuple[str, str]]:
    return [(turn.alert.evidence.kind, turn.alert.state) for turn in turns]


def passed(book: AlertBook, now: float, is_silent: bool = False) -> list[tuple[str, str]]:
    return told(list(book.pass_time(now, always if is_silent else never)))


def test_evidence_that_comes_again_and_again_is_told_once() -> None:
    book = AlertBook(AlertRules())
    turns = [book.see(FALL, now=60.0 * i, number=1) for i in range(100)]
    assert [turn is not None for turn in turns] == [True, *[False] * 99]
    assert len(book.open) == 1


def test_an_alert_ends_a_while_after_its_newest_evidence() -> None:
    book = AlertBook(AlertRules(resolve_after_s=10 * HOUR_S))
    book.see(FALL, now=0.0, number=1)
    book.see(FALL, now=5 * HOUR_S, number=2)
    assert [passed(book, hour * HOUR_S) for hour in (10, 14)] == [[], []]
    assert passed(book, 15 * HOUR_S) == [("drift", "resolved")]
    assert book.open == {}
    turn = book.see(FALL, now=20 * HOUR_S, number=7)
    assert turn is not None
    assert turn.alert.began == 7  # a new episode


def test_a_proof_ends_when_the_core_ends_it_and_not_before() -> None:
    book = AlertBook(AlertRules(repeat_s=0.0))
    book.see(PROOF, now=0.0, number=1)
    assert passed(book, 30 * DAY_S) == []
    turn = book.end(PROOF.identity, 30 * DAY_S, "labels are fine")
    assert turn is not None
    assert (turn.alert.state, turn.alert.began, turn.reason) == ("resolved", 1, "labels are fine")
    assert book.end(PROOF.identity, 31 * DAY_S, "again") is None


def test_an_alert_that_must_be_sustained_is_pending_and_fires_later_or_is_dropped() -> None:
    rules = AlertRules(sustained_s={"below_target": 2 * HOUR_S})
    book = AlertBook(rules)
    first = book.see(PROOF, now=0.0, number=1)
    assert first is not None
    assert (first.alert.state, first.fires_now) == ("pending", False)
    assert [passed(book, hour * HOUR_S) for hour in (1, 2)] == [[], [("below_target", "firing")]]
    book = AlertBook(rules)
    book.see(PROOF, now=0.0, number=1)
    ended = book.end(PROOF.identity, HOUR_S, "labels are fine")
    assert ended is not None
    assert ended.alert.state == "ok"


def test_an_alert_waits_for_its_sample() -> None:
    book = AlertBook(AlertRules(min_sample={"below_target": 50, "drift": 50}))
    book.see(PROOF, now=0.0, number=1)
    assert book.see(replace(PROOF, n=49), now=1.0, number=2) is None
    turn = book.see(replace(PROOF, n=50), now=2.0, number=3)
    assert turn is not None
    assert turn.fires_now
    book.see(replace(FALL, n=10), now=0.0, number=4)  # responses after the change are counted at boundaries
    assert told(list(book.pass_time(1.0, never, lambda _: 49))) == []
    assert told(list(book.pass_time(2.0, never, lambda _: 50))) == [("drift", "firing")]


def test_an_alert_that_fires_for_long_is_told_again() -> None:
    book = AlertBook(AlertRules(repeat_s=DAY_S))
    book.see(PROOF, now=0.0, number=1)
    days = [passed(book, hour * HOUR_S) for hour in range(1, 49)]
    assert [hour for hour, turns in enumerate(days, 1) if turns] == [24, 48]


def test_a_note_is_told_once_and_its_end_is_not_told() -> None:
    book = AlertBook(AlertRules(repeat_s=HOUR_S))
    assert book.see(NOTE, now=0.0, number=1) is not None
    assert [passed(book, day * DAY_S, is_silent=True) for day in (0.5, 1, 2)] == [[], [], []]
    assert book.open == {}


def test_an_alert_whose_domain_falls_silent_has_no_data_until_the_domain_is_back() -> None:
    book = AlertBook(AlertRules(resolve_after_s=2 * DAY_S, repeat_s=0.0))
    book.see(FALL, now=0.0, number=1)
    assert passed(book, DAY_S, is_silent=True) == [("drift", "no_data")]
    assert passed(book, 3 * DAY_S, is_silent=True) == []  # silence is no sign that all is well
    assert passed(book, 4 * DAY_S) == [("drift", "firing")]
    assert passed(book, 5 * DAY_S) == []
    assert passed(book, 6 * DAY_S) == [("drift", "resolved")]


def test_an_alert_without_data_for_too_long_is_closed() -> None:
    book = AlertBook(AlertRules(no_data_s=7 * DAY_S))
    book.see(PROOF, now=0.0, number=1)
    assert passed(book, DAY_S, is_silent=True) == [("below_target", "no_data")]
    assert passed(book, 8 * DAY_S, is_silent=True) == [("below_target", "resolved")]


def test_a_change_of_the_served_model_inhibits_the_drift_of_its_domains_until_it_is_over() -> None:
    book = AlertBook(AlertRules(resolve_after_s=DAY_S))
    served = replace(PROOF, kind="below_target", series=LAW)
    book.see(served, now=0.0, number=1)
    assert book.inhibitor(FALL) == served.identity
    assert book.inhibitor(replace(FALL, series=TAX)) is None
    assert book.inhibitor(replace(FALL, series=SeriesKey("law", "f2"))) is None
    book.see(FALL, now=0.0, number=2)
    assert not book.open[FALL.identity].is_told
    assert passed(book, HOUR_S) == []
    book.end(served.identity, HOUR_S, "over")
    assert passed(book, 2 * HOUR_S) == [("drift", "firing")]  # now it is told
    assert passed(book, 3 * HOUR_S) == []


def test_an_alert_that_ends_before_anybody_was_told_is_ok() -> None:
    book = AlertBook(AlertRules(resolve_after_s=HOUR_S))
    book.see(PROOF, now=0.0, number=1)
    book.see(FALL, now=0.0, number=2)
    assert passed(book, HOUR_S) == [("drift", "ok")]


def test_an_alert_beyond_the_bound_is_told_without_a_life() -> None:
    book = AlertBook(AlertRules(max_open=1))
    book.see(FALL, now=0.0, number=1)
    turn = book.see(replace(FALL, series=TAX), now=0.0, number=2)
    assert turn is not None
    assert turn.alert.state == "firing"
    assert [str(identity) for identity in book.open] == ["drift/law/f1"]


SERVED = replace(FALL, kind="served_model", series=SeriesKey(ALL_DOMAINS, "f1"))
KINDS = st.sampled_from([FALL, PROOF, NOTE, SERVED, replace(FALL, series=TAX), replace(PROOF, series=TAX)])
STEPS = st.lists(
    st.tuples(st.sampled_from(["see", "end", "time", "silence"]), KINDS, st.floats(0.0, 2 * DAY_S)), max_size=40
)
RULES = st.sampled_from(
    [
        AlertRules(),
        AlertRules(sustained_s={"drift": HOUR_S}, min_sample={"below_target": 30}),
        AlertRules(repeat_s=HOUR_S, resolve_after_s=3 * HOUR_S, max_open=2),
    ]
)


def play(book: AlertBook, steps: list[tuple[str, Evidence, float]], restart_at: int = -1) -> list[tuple[object, ...]]:
    """What was told; the book is saved and restored before one of the steps."""
    found, now, number = list[tuple[object, ...]](), 0.0, 0
    for at, (what, evidence, passes) in enumerate(steps):
        if at == restart_at:
            saved = [book.snapshot(identity) for identity in sorted(book.open, reverse=True)]
            book = AlertBook(book.rules)
            for alert in saved:
                assert alert is not None
                book.restore(alert)
        now += passes
        turns: list[Turn | None] = []
        if what == "see":
            turns = [book.see(evidence, now, number + 1)]
        elif what == "end":
            turns = [book.end(evidence.identity, now, "over")]
        else:
            turns = [*book.pass_time(now, always if what == "silence" else never)]
        for turn in turns:
            if turn is not None:
                number += 1
                told = turn.alert.state, turn.alert.began, turn.fires_now, book.inhibitor(turn.alert.evidence)
                found.append((str(turn.alert.evidence.identity), *told))
    return found


def test_of_two_inhibitors_the_same_one_is_named_after_a_restart() -> None:
    book, other = AlertBook(AlertRules()), AlertBook(AlertRules())
    for number, evidence in enumerate((SERVED, PROOF), 1):
        book.see(evidence, now=0.0, number=number)
    for identity in sorted(book.open):
        saved = book.snapshot(identity)
        assert saved is not None
        other.restore(saved)
    assert book.inhibitor(FALL) == other.inhibitor(FALL) == PROOF.identity


@given(STEPS, RULES, st.integers(0, 40))
def test_a_restart_changes_nothing(steps: list[tuple[str, Evidence, float]], rules: AlertRules, at: int) -> None:
    assert play(AlertBook(rules), steps, restart_at=at) == play(AlertBook(rules), steps)


@given(STEPS, RULES)
def test_every_episode_begins_and_ends_once(steps: list[tuple[str, Evidence, float]], rules: AlertRules) -> None:
    book, followed = AlertBook(rules), dict[str, tuple[str, int]]()
    told_of = play(book, steps)
    if rules.max_open < len({identity for identity, *_ in told_of}):
        return
    for identity, state, began, fires_now, _ in told_of:
        before, began_before = followed.get(str(identity), ("", 0))
        is_begin = before in ("", "resolved", "ok") or str(identity).startswith("new_context")
        assert is_begin or began == began_before
        assert not is_begin or state in ("pending", "firing")
        assert not fires_now or before != "firing" or is_begin
        if state in ("resolved", "ok"):
            assert before in (("pending", "firing", "no_data") if state == "ok" else ("firing", "no_data"))
        followed[str(identity)] = (str(state), int(str(began)))


@pytest.mark.parametrize("kind", ["drift", "below_target"])
def test_what_is_saved_is_plain(kind: str) -> None:
    import msgspec

    book, evidence = AlertBook(AlertRules()), replace(FALL, kind=kind, rows=("r-1", "r-2"), n=3, since=5.0)
    book.see(evidence, now=9.0, number=4)
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(book.snapshot(evidence.identity)))
    other = AlertBook(AlertRules())
    other.restore(saved)
    assert other.open == book.open
