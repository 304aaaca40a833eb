"""Several agents read one log, and each takes some responses: nothing of one reaches another, and nothing is lost."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.publishing.encode import Topics, encode
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.account import Account, account_of
from driftgauge.models.events import Chunk, Context, Event, Generation, Label, Origin, Rejected, Signal, Tick
from driftgauge.models.outputs import Estimate, Output, Prediction
from driftgauge.models.selection import Group, Selection
from tests.copying import replace
from tests.crash.agents import World, records
from tests.crash.test_extracted import Counting
from tests.pipeline.logs import SETTINGS, START, comparable, make_log, play
from tests.pipeline.stepping import SETTINGS as FEW_PENDING
from tests.pipeline.stepping import T0, Agent, label, rejected, response

GROUPS = pytest.mark.parametrize(
    "group",
    [{"model": ["m"]}, {"domain": ["a", "b"]}, {"tenant": ["t[123]"], "model": ["m*"]}],
    ids=lambda g: "/".join(g),
)


def of_group(group: Group) -> PipelineSettings:
    return replace(SETTINGS, selection=Selection(only=group))


def others(group: Group) -> PipelineSettings:
    return replace(SETTINGS, selection=Selection(leave_out=group))


def response_of(event: Event) -> Generation | None:
    found = event.piece if isinstance(event, Chunk) else event
    return found if isinstance(found, Generation) else None


def alone(log: list[Event], selection: Selection) -> list[Event]:
    """The events of a log that only has the responses of this selection, with their labels."""
    mine = {found.id for event in log if (found := response_of(event)) is not None and selection.takes(found)}
    return [
        event
        for event in log
        if not isinstance(event, Label | Generation | Chunk)
        or (event.response_id if isinstance(event, Label) else getattr(response_of(event), "id", "")) in mine
    ]


def rows(store: MemoryStore) -> dict[str, object]:
    return {
        name: (row.seq, row.features.tobytes(), repr((row.p_correct, row.correct, row.weight)), row.domain)
        for name, row in store.tables.responses.items()
    }


def counts(outputs: list[Output]) -> dict[str, object]:
    """What each window has in the end."""
    return {out.key: (out.n_events, out.n_labels) for out in outputs if isinstance(out, Estimate)}


@GROUPS
@pytest.mark.parametrize("seed", [1, 2])
def test_whole_responses_of_others_change_nothing_at_all(group: Group, seed: int) -> None:
    settings = of_group(group)
    whole = make_log(seed)
    mine, log = alone(whole, settings.selection), merged(whole, settings.selection)
    selected, single = MemoryStore(), MemoryStore()
    outputs, expected = play(selected, [[event] for event in log], settings), play(single, [mine])
    assert len(mine) < len(log)
    assert comparable(outputs) == comparable([out for out in expected if not is_unmatched(out)])
    assert rows(selected) == rows(single)
    assert selected.tables.labels == single.tables.labels


def is_unmatched(output: Output) -> bool:
    """Whether a label met no response: with others about, it may be theirs."""
    return isinstance(output, Rejected) and output.reason == "unmatched_label"


def merged(log: list[Event], selection: Selection) -> list[Event]:
    """The events of this selection, and whole responses of others between them."""
    mine = {id(event) for event in alone(log, selection)}
    return [event for event in log if id(event) in mine or selection.passes_over(event)]


@GROUPS
@pytest.mark.parametrize("seed", [1, 2])
def test_labels_and_streams_of_others_change_only_when_past_windows_are_estimated_again(
    group: Group, seed: int
) -> None:
    log, settings, selected, single = make_log(seed), of_group(group), MemoryStore(), MemoryStore()
    end: list[Event] = [Tick(START + 900.0)] * 60  # until every past window was estimated again
    outputs = play(selected, [log + end], settings)
    expected = play(single, [alone(log, settings.selection) + end])
    assert 0 < len(rows(single)) < 150
    assert rows(selected) == rows(single)
    found, wanted = counts(outputs), counts(expected)
    common = found.keys() & wanted.keys()  # a window may be estimated again without need, or not
    assert len(common) > 0.9 * len(wanted)
    assert {key: found[key] for key in common} == {key: wanted[key] for key in common}
    predicted = [[out for out in outs if isinstance(out, Prediction)] for outs in (outputs, expected)]
    assert predicted[0] == predicted[1]
    assert "unmatched_label" not in rejected(outputs)


@GROUPS
def test_of_two_agents_each_response_belongs_to_exactly_one(group: Group) -> None:
    log, first, second, both = make_log(3), MemoryStore(), MemoryStore(), MemoryStore()
    outputs = [play(first, [log], of_group(group)), play(second, [log], others(group))]
    whole = play(both, [log])
    assert not first.tables.responses.keys() & second.tables.responses.keys()
    assert first.tables.responses.keys() | second.tables.responses.keys() == both.tables.responses.keys()
    given_up = [{out.key for out in outs if isinstance(out, Rejected) and out.reason == "incomplete_response"}
                for outs in (*outputs, whole)]  # fmt: skip
    assert not given_up[0] & given_up[1]
    assert given_up[0] | given_up[1] == given_up[2] != set()


def test_every_record_is_in_one_account_of_each_agent() -> None:
    log = records(5, 160)
    accounts = []
    for selection in (Selection(only={"model": ["m"]}), Selection(leave_out={"model": ["m"]}), Selection()):
        world = World(log, replace(SETTINGS, selection=selection))
        accounts.append(account_of_run(world))
    first, second, whole = accounts
    for account in accounts:
        assert account.records == len(log)
        assert account.tombstones == whole.tombstones
        assert account.dead_letters["invalid_value"] == whole.dead_letters["invalid_value"] > 0
    assert second.passed_over > first.passed_over > whole.passed_over == 0
    assert first.given_up["incomplete_response"] > 0
    assert "unmatched_label" not in first.given_up | second.given_up


def account_of_run(world: World) -> Account:
    Counting.loops.clear()
    world.run(loop=Counting)
    return Counting.loops[-1].account


def test_labels_of_others_are_counted_in_place_of_dead_letters_and_the_oldest_give_way() -> None:
    agent = Agent(replace(FEW_PENDING, selection=Selection(only={"model": ["m"]})))
    for i in range(10):
        agent.take(label(f"other{i}", 1_000 + i, 1.0, at=T0 + i))
        assert agent.state.n_pending <= FEW_PENDING.max_pending_labels
    agent.take(label("early", 1, 1.0, at=T0 + 60))
    agent.take(response(1, T0 + 50))
    assert agent.row("r1").correct == 1.0
    agent.take(response(2, T0 + 5_000))
    agent.take(response(3, T0 + 5_100))
    assert agent.state.n_pending == 0
    assert rejected(agent.said) == []
    assert agent.state.counters["labels_passed_over"] == 10
    assert agent.state.counters["labels_joined"] == 1


def test_an_agent_that_takes_everything_still_rejects_labels_that_meet_no_response() -> None:
    agent = Agent()
    agent.take(*(label(f"l{i}", 1_000 + i, 1.0) for i in range(4)))
    agent.take(response(1, T0), response(2, T0 + 5_000), response(3, T0 + 5_100))
    assert Counter(rejected(agent.said)) == {"too_many_pending_labels": 1, "unmatched_label": 3}


def test_whose_a_stream_is_shows_when_it_is_complete() -> None:
    agent = Agent(replace(FEW_PENDING, selection=Selection(only={"model": ["m"]})))
    whole = response(1, T0)
    for name, model in (("mine", "m"), ("other", "n")):
        unnamed = replace(whole, id=name, context=Context())
        agent.take(
            Chunk(unnamed, 0, is_last=False), Chunk(replace(unnamed, context=Context(model=model)), 1, is_last=True)
        )
    assert [*agent.store.tables.responses] == ["mine"]
    assert agent.state.counters["responses_passed_over"] == 1


def test_a_clock_that_is_wrong_is_reported_by_the_agent_that_takes_the_response() -> None:
    for models, expected in ((["m"], ["event_time_ahead"] * 2), (["n"], [])):
        agent = Agent(replace(FEW_PENDING, selection=Selection(only={"model": models})))
        ahead = response(1, T0 + 90_000).with_signal(response(1, T0).signal, Origin("t/0", T0))
        agent.take(ahead, Chunk(ahead, 0, is_last=False))
        assert rejected(agent.said) == expected
        assert agent.state.event_time < T0 or agent.state.event_time == float("-inf")


def test_agents_that_share_output_topics_would_overwrite_each_other_only_where_keys_lack_the_model() -> None:
    """What docs/scaling.md says about shared topics of outputs."""
    log = make_log(4)
    keys = [
        {(topic, message.key) for out in play(MemoryStore(), [log], settings)
         for message in [encode(out, Topics(), "", 0)] if (topic := message.topic)}
        for settings in (of_group({"model": ["m"]}), others({"model": ["m"]}))
    ]  # fmt: skip
    shared = Counter(topic for topic, _ in keys[0] & keys[1])
    assert {"driftgauge.estimates", "driftgauge.predictions"}.isdisjoint(shared)
    assert {"driftgauge.alerts", "driftgauge.priorities"} <= shared.keys()


def test_the_values_of_a_name_are_alternatives_and_names_hold_together() -> None:
    def one(model: str, domain: str, tenant: str = "") -> Generation:
        slices = {"tenant": tenant} if tenant else {}
        return Generation("r", 0.0, domain, Context(model=model), Signal(entropy=np.zeros(1, np.float32)), slices)

    selection = Selection(only={"model": ["a", "b-*"], "tenant": ["x"]}, leave_out={"domain": ["law"]})
    assert selection.takes(one("b-7", "tax", "x"))
    assert not selection.takes(one("B-7", "tax", "x"))
    assert not selection.takes(one("a", "tax"))
    assert not selection.takes(one("a", "law", "x"))


def test_a_record_that_holds_anything_but_responses_of_others_is_not_passed_over() -> None:
    mine, other = response(1, T0), replace(response(2, T0), context=Context(model="other"))
    bad = Rejected("malformed", "", topic="t")
    held: list[list[Event]] = [[other], [other, other], [mine, other], [other, label("l", 2, 1.0)], [other, bad], []]
    events = [event for of_record in held for event in of_record]
    counted = [len(of_record) for of_record in held]
    account = account_of([b""] * 5 + [None], events, counted, [bad], Selection(only={"model": ["m"]}))
    assert account == Account(used=2, passed_over=2, tombstones=1, dead_letters=Counter(malformed=1))
