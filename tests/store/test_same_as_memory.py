"""A database and the store in memory return the same after any sequence of calls."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Rejected
from driftgauge.models.memory import Unlabelled
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow
from tests.store.conftest import AnyStore
from tests.store.examples import acquisition, estimate, label, label_list, rejected, response

NUMBERS = range(12)
IDS = [f"r-{number}" for number in NUMBERS]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("respond"), st.sampled_from(NUMBERS), st.sampled_from("ab"), st.integers(0, 4)),
        st.tuples(st.just("resolve"), st.sampled_from(NUMBERS), st.sampled_from([0.0, 1.0, float("nan")])),
        st.tuples(st.just("label"), st.sampled_from(NUMBERS), st.integers(0, 4)),
        st.tuples(st.just("remove label"), st.sampled_from(NUMBERS)),
        st.tuples(st.just("alias"), st.sampled_from("xyz"), st.sampled_from([None, *IDS]), st.integers(0, 4)),
        st.tuples(st.just("state"), st.sampled_from("xyz"), st.sampled_from([None, b"1", b"2"])),
        st.tuples(st.just("retired"), st.sampled_from("xyz"), st.sampled_from([None, (1, b"1"), (2, b"2"), (3, b"3")])),
        st.tuples(st.just("mark stale"), st.integers(0, 2), st.sampled_from("abü"), st.integers(0, 2)),
        st.tuples(st.just("take stale"), st.integers(0, 3)),
        st.tuples(st.just("emit"), st.integers(1, 4)),
        st.tuples(st.just("expire labels"), st.integers(0, 5), st.integers(1, 3)),
        st.tuples(st.just("look")),
        st.tuples(st.just("end"), st.booleans()),
    ),
    max_size=30,
)


class UndoneError(Exception):
    """The transaction is to be rolled back."""


@settings(max_examples=40, deadline=None)
@given(steps)
def test_sqlite_and_memory_stores_return_the_same(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'gauge.db'}"
        with closing(open_store(url, topics=Topics(), max_dead_letters=3)) as store:
            expected = play(MemoryStore(max_dead_letters=3), script)
            assert play(store, script) == expected


def play(store: AnyStore, script: list[tuple[Any, ...]]) -> list[Any]:
    """Do the steps; return every answer."""
    seen: list[Any] = []
    remaining = iter(script)
    is_over = False
    while not is_over:
        try:
            with store.transaction() as memory:
                is_over = play_transaction(memory, remaining, seen)
        except UndoneError:
            pass
        seen.append(look_outside(store))
    seen.append(store.expire(3.0, 4))
    with store.transaction() as memory:
        seen.append(look(memory))
    return seen


def play_transaction(memory: Any, remaining: Any, seen: list[Any]) -> bool:
    """Steps up to the end of one transaction; true when there are no more."""
    for step in remaining:
        match step:
            case "respond", number, domain, time:
                if not memory.responses([IDS[number]]):
                    memory.add_responses([response(number, domain=domain, event_time=float(time))])
            case "resolve", number, correct:
                for row in memory.responses([IDS[number]]).values():
                    memory.resolve([response(row.seq, correct=correct, weight=2.0 * (number % 3))])
            case "label", number, time:
                known = memory.labels([IDS[number]]).get(IDS[number], [])
                if len(known) < 3:
                    name = min({"l0", "l1", "l2"} - {event.label_id for event in known})
                    memory.add_labels([label(name, IDS[number], float(time), topic=f"t{time % 2}")])
            case "remove label", number:
                memory.remove_labels(memory.labels([IDS[number]]).get(IDS[number], [])[:1])
            case "alias", name, of, time:
                memory.add_aliases([Alias(name, of, float(time))])
            case "state", name, value:
                memory.save_state({name: value})
            case "retired", name, value:
                memory.save_retired({name: value})
            case "mark stale", boundary, domain, end:
                window = StaleWindow(float(boundary), SeriesKey(domain, "f1"), float(end))
                seen.append(memory.mark_stale([window, StaleWindow(9.0, SeriesKey("b", "f0"), 1.0)]))
            case "take stale", limit:
                seen.append(memory.take_stale(limit))
            case "emit", revision:
                lists = acquisition(revision=revision)
                of_labels = [label_list(float(end), rank=len(seen)) for end in (revision, 2 * revision)]
                memory.emit([estimate(revision=revision, n_events=len(seen)), lists, *of_labels, rejected(revision)])
            case "expire labels", time, limit:
                seen.append(memory.expire_labels(float(time), limit))
            case ("look",):
                seen.append(look(memory))
            case "end", True:
                return False
            case "end", False:
                raise UndoneError
    return True


def look(memory: Any) -> Any:
    windows = [memory.window(SeriesKey(domain, "f1"), 1.0, 4.0, 5) for domain in "ab"]
    columns = [(w.seq.tolist(), w.id.tolist(), repr(w.correct.tolist()), w.features.tobytes()) for w in windows]
    return (
        columns,
        memory.labelled("f1", 4).id.tolist(),
        memory.labels(IDS),
        memory.aliases("xyz"),
        [memory.labels_of_topic(topic, 4) for topic in ("t0", "t1")],
        memory.state(""),
        (list(memory.retired_numbers().items()), [memory.retired(name) for name in "xyz"]),
        memory.estimate(estimate().key),
        memory.acquisition(acquisition().key),
        [memory.label_lists(label_list().series, limit) for limit in (1, 3)],
        memory.aliases_of([*memory.responses(IDS).values()]),
        [unlabelled(memory, limit, seed) for limit in (2, 9) for seed in (1, 2)],
        sorted(memory.responses(IDS)),
    )


def unlabelled(memory: Any, limit: int, seed: int) -> Any:
    found: Unlabelled = memory.unlabelled(SeriesKey("a", "f1"), 1.0, 4.0, limit, seed)
    return found.n_responses, found.n_labelled, found.rows.id.tolist(), found.rows.features.tobytes()


def look_outside(store: AnyStore) -> Any:
    return (
        [(message.topic, message.key, message.value) for message in store.outbox(100)],
        store.newest(Rejected, 10),
        store.dropped_dead_letters(),
    )
