"""What an id names: repeats of one response, other responses under the same id, and streams that come again."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.publishing.kinds import with_bytes
from driftgauge.models.events import Chunk, Context, Event, Generation, Label, Origin, Rejected, Signal, Tick
from driftgauge.models.outputs import Alert, Output, Prediction
from tests.copying import replace
from tests.pipeline.logs import signal
from tests.pipeline.stepping import SETTINGS, T0, Agent, rejected, response, responses

DAY_S = 86_400.0


def pieces(whole: Generation, cuts: list[int], *, numbered: bool = False) -> list[Event]:
    """The response in pieces that end after these numbers of tokens; the last cut is the end of the response."""
    top, chosen = whole.signal.top_logprobs, whole.signal.chosen_logprobs
    assert top is not None
    assert chosen is not None
    made: list[Event] = []
    for n, (start, stop) in enumerate(zip([0, *cuts], cuts, strict=False)):
        part = whole.with_signal(Signal(top_logprobs=top[start:stop], chosen_logprobs=chosen[start:stop]))
        made.append(Chunk(part, n if numbered else None, is_last=stop == len(top)))
    return made


def alerts(outputs: list[Output]) -> list[Alert]:
    return [output for output in outputs if isinstance(output, Alert) and output.kind == "id_conflict"]


def other(i: int, at: float) -> Generation:
    """Another response under the id of response i."""
    return replace(response(i, at), signal=signal(np.random.default_rng(1000 + i), 8))


def test_a_response_that_is_sent_again_counts_once() -> None:
    agent = Agent()
    said = agent.take(*responses(3), *responses(3))
    assert rejected(said) == []
    assert agent.state.counters["responses"] == 3
    assert agent.state.counters["duplicate_responses"] == 3


def test_another_response_under_a_known_id_becomes_a_dead_letter_that_holds_it() -> None:
    agent = Agent()
    said = agent.take(*responses(3), other(1, T0 + 9))
    (letter,) = [with_bytes(output) for output in said if isinstance(output, Rejected)]
    assert (letter.reason, letter.key) == ("id_conflict", b"r1")
    assert "decode.response_id" in letter.detail
    (sent,) = Decoder().decode([Record("t", 0, 0, None, letter.value, letter.headers)])
    assert isinstance(sent, Generation)
    assert (sent.id, sent.event_time, sent.signal.n_tokens) == ("r1", T0 + 9, 8)
    assert agent.state.counters["responses"] == 3


def test_repeat_and_conflict_are_told_apart_within_one_batch() -> None:
    agent = Agent()
    with agent.store.transaction() as transaction:
        said = agent.pipeline.step([response(1, T0), response(1, T0), other(1, T0), response(2, T0)], transaction)
    assert rejected(said) == ["id_conflict"]
    assert agent.state.counters["duplicate_responses"] == 1
    assert agent.state.counters["responses"] == 2


def bare(i: int, at: float, n_tokens: int | None = None, finish_reason: str | None = None) -> Generation:
    """A response without log-probabilities."""
    return Generation(
        f"r{i}", at, "a", Context(model="m"), Signal(), finish_reason=finish_reason, n_completion_tokens=n_tokens
    )


@pytest.mark.parametrize(
    ("again", "reasons"),
    [
        (bare(0, T0, 5, "stop"), []),
        (bare(0, T0, 5), []),
        (bare(0, T0 + 60, 5, "stop"), ["id_conflict"]),
        (bare(0, T0, 6, "stop"), ["id_conflict"]),
        (bare(0, T0, 5, "length"), ["id_conflict"]),
    ],
)
def test_without_features_time_length_and_finish_reason_decide(again: Generation, reasons: list[str]) -> None:
    agent = Agent()
    assert rejected(agent.take(bare(0, T0, 5, "stop"), again)) == reasons


def test_the_same_short_answer_at_another_time_is_another_response() -> None:
    first, second = response(0, T0), replace(response(0, T0), event_time=T0 + 60)
    agent = Agent()
    assert rejected(agent.take(first, second)) == ["id_conflict"]


def test_a_response_without_a_time_of_its_own_may_be_sent_again_later() -> None:
    first, second = (replace(response(0, at), origin=Origin("t/0", at)) for at in (T0, T0 + 60))
    agent = Agent()
    assert rejected(agent.take(first, second)) == []
    assert agent.state.counters["duplicate_responses"] == 1


def test_a_repeat_of_other_precision_is_a_repeat() -> None:
    whole = response(0, T0)
    top = whole.signal.top_logprobs
    assert top is not None
    rounded = replace(whole.signal, top_logprobs=top.astype(np.float16))
    agent = Agent()
    assert rejected(agent.take(whole, whole.with_signal(rounded))) == []
    assert agent.state.counters["duplicate_responses"] == 1


def test_conflicts_are_alerted_once_a_day_of_event_time() -> None:
    agent = Agent()
    first = agent.take(*responses(3), other(0, T0 + 5), other(1, T0 + 6))
    assert [(alert.severity, alert.event_time) for alert in alerts(first)] == [("warning", T0 + 5)]
    assert alerts(agent.take(response(5, T0 + DAY_S - 60), other(2, T0 + DAY_S - 60))) == []
    later = agent.take(response(6, T0 + DAY_S + 7_200), other(2, T0 + DAY_S + 7_200))
    assert [(alert.state, alert.began) for alert in alerts(later)] == [("firing", alerts(first)[0].number)]


def test_a_restart_does_not_repeat_the_alert() -> None:
    agent = Agent()
    agent.take(*responses(3), other(0, T0 + 5))
    agent.restart()
    assert alerts(agent.take(other(1, T0 + 6))) == []


@pytest.mark.parametrize("numbered", [False, True])
def test_a_stream_that_is_sent_again_is_a_repeat_wherever_it_is_cut(numbered: bool) -> None:
    agent, whole = Agent(), response(0, T0)
    said = agent.take(*pieces(whole, [3, 8], numbered=numbered), *pieces(whole, [2, 5, 8], numbered=numbered))
    assert rejected(said) == []
    assert agent.state.counters["responses"] == 1
    assert agent.state.counters["duplicate_responses"] == 1


def test_a_stream_under_the_id_of_another_response_becomes_a_dead_letter() -> None:
    agent = Agent()
    said = agent.take(*pieces(response(0, T0), [3, 8]), *pieces(other(0, T0 + 60), [2, 8]))
    assert rejected(said) == ["id_conflict"]


def test_a_whole_response_after_its_stream_is_a_repeat_and_so_is_a_stream_after_it() -> None:
    agent, whole = Agent(), response(0, T0)
    said = agent.take(*pieces(whole, [3, 8]), whole, response(1, T0), *pieces(response(1, T0), [4, 8]))
    assert rejected(said) == []
    assert agent.state.counters["duplicate_responses"] == 2


def test_pieces_of_a_known_response_that_stay_incomplete_are_counted_and_no_dead_letter() -> None:
    agent, whole = Agent(), response(0, T0)
    said = agent.take(whole, *pieces(whole, [2, 5, 8], numbered=True)[:2], Tick(T0 + 3_000))
    said += agent.take(response(1, T0 + 3_100), Tick(T0 + 6_000))
    assert rejected(said) == []
    assert agent.state.counters["duplicate_chunks"] == 2


def test_the_end_of_a_known_stream_that_comes_again_alone_is_no_other_response() -> None:
    agent, whole = Agent(), response(0, T0)
    said = agent.take(*pieces(whole, [2, 5, 8]), pieces(whole, [2, 5, 8])[-1])
    assert rejected(said) == []
    assert agent.state.counters["duplicate_chunks"] == 1


def test_a_stream_that_may_be_a_repeat_gives_no_early_predictions() -> None:
    agent, whole = Agent(replace(SETTINGS, predictions="all")), response(0, T0)
    agent.take(*pieces(whole, [2, 5, 8]))
    again = agent.take(*pieces(whole, [2, 5, 8]))
    assert [output for output in again if isinstance(output, Prediction)] == []


# --- aliases ---------------------------------------------------------------------------------------------------


def known_as(i: int, at: float, *aliases: str) -> Generation:
    return replace(response(i, at), aliases=aliases)


def named(name: str, response_id: str, correct: float | None = 1.0, at: float = T0 + 30) -> Label:
    return Label(name, response_id, at, correct)


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_label_finds_its_response_by_an_alias_before_and_after_it(is_early: bool, in_pieces: bool) -> None:
    agent, whole = Agent(), known_as(0, T0, "ticket-0", "b0")
    came: list[Event] = pieces(whole, [3, 8]) if in_pieces else [whole]
    labels: list[Event] = [named("l", "ticket-0", 0.0), named("m", "b0", 1.0, T0 + 40)]
    agent.take(response(5, T0), *(labels + came if is_early else came + labels))
    assert agent.row("r0").correct == 1.0
    assert sorted(event.label_id for event in agent.stored_labels("r0")) == ["l", "m"]
    assert agent.stored_labels("ticket-0") == []
    assert agent.state.n_pending == 0
    assert agent.state.counters["labels_joined"] == 1


@pytest.mark.parametrize("is_early", [False, True])
def test_a_label_may_name_the_only_choice_by_its_number(is_early: bool) -> None:
    agent, labels = Agent(), [named("l", "r0#0", 1.0)]
    agent.take(*(labels if is_early else ()), response(0, T0), *(() if is_early else labels))
    assert agent.row("r0").correct == 1.0
    assert agent.state.n_pending == 0


def test_of_several_choices_each_has_its_labels() -> None:
    agent = Agent()
    choices = [replace(response(i, T0), id=f"r#{i}") for i in range(2)]
    agent.take(named("l", "r#0", 1.0), *choices, named("m", "r#1", 0.0), named("n", "r"))
    assert (agent.row("r#0").correct, agent.row("r#1").correct) == (1.0, 0.0)
    assert agent.state.n_pending == 1


def test_an_id_goes_before_an_alias() -> None:
    agent = Agent()
    agent.take(known_as(0, T0, "r1"), response(1, T0 + 1), named("l", "r1"))
    assert np.isnan(agent.row("r0").correct)
    assert agent.row("r1").correct == 1.0


def test_an_alias_of_several_responses_names_none_of_them() -> None:
    agent = Agent()
    said = agent.take(known_as(0, T0, "tenant"), known_as(1, T0 + 1, "tenant"), named("l", "tenant"))
    assert np.isnan(agent.row("r0").correct)
    assert np.isnan(agent.row("r1").correct)
    assert agent.state.counters["labels_ambiguous"] == 1
    assert agent.state.n_pending == 1
    said = agent.take(known_as(2, T0 + 2, "tenant"), response(3, T0 + 3), Tick(T0 + 1_000), Tick(T0 + 2_000))
    assert rejected(said) == ["unmatched_label"]


def test_a_response_that_is_sent_again_keeps_its_alias_to_itself() -> None:
    agent = Agent()
    agent.take(known_as(0, T0, "ticket-0"), known_as(0, T0, "ticket-0"), named("l", "ticket-0"))
    assert agent.row("r0").correct == 1.0


def test_a_repeat_may_bring_a_further_alias_that_a_label_waits_for() -> None:
    agent = Agent()
    agent.take(response(0, T0), named("l", "ticket-0"), known_as(0, T0, "ticket-0"))
    assert agent.row("r0").correct == 1.0
    assert agent.state.n_pending == 0


def test_another_response_under_a_known_id_takes_no_alias() -> None:
    agent = Agent()
    agent.take(response(0, T0), replace(other(0, T0 + 5), aliases=("ticket-0",)), named("l", "ticket-0"))
    assert np.isnan(agent.row("r0").correct)
    assert agent.state.n_pending == 1


def test_a_label_and_its_correction_are_one_label_by_whatever_name_they_come() -> None:
    agent = Agent()
    agent.take(named("l", "ticket-0", 1.0), named("l", "r0", 0.0, T0 + 50), known_as(0, T0, "ticket-0"))
    assert agent.row("r0").correct == 0.0
    assert [event.correct for event in agent.stored_labels("r0")] == [0.0]
    agent.take(named("l", "ticket-0", 1.0, T0 + 60))
    assert agent.row("r0").correct == 1.0
    assert agent.state.n_pending == 0


def test_an_alias_is_known_after_a_restart() -> None:
    agent = Agent()
    agent.take(known_as(0, T0, "ticket-0"), *pieces(known_as(1, T0, "ticket-1"), [3, 8])[:1])
    agent.restart()
    agent.take(named("l", "ticket-0"), *pieces(response(1, T0), [3, 8])[1:], named("m", "ticket-1"))
    assert (agent.row("r0").correct, agent.row("r1").correct) == (1.0, 1.0)


def test_the_key_of_a_busy_tenant_is_not_written_for_each_response() -> None:
    agent = Agent()
    agent.take(known_as(0, T0, "tenant"), known_as(1, T0 + 1, "tenant"))
    before = agent.store.tables.aliases["tenant"]
    agent.take(*(known_as(i, T0 + i, "tenant") for i in range(2, 50)))
    assert agent.store.tables.aliases["tenant"] is before
    agent.take(known_as(60, T0 + 4_000, "tenant"))
    assert agent.store.tables.aliases["tenant"].event_time == T0 + 4_000
