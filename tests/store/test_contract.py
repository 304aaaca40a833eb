"""The contract suite of stores: an adapter is finished when all of it passes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from driftgauge.connectors.base import FencedError, Record, TopicPartition
from driftgauge.connectors.decoding.formats.own import encode_label
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Label, Rejected
from driftgauge.models.outputs import Output, Prediction
from driftgauge.models.pending import PendingLabels
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.feature_sets import LAYOUTS
from driftgauge.models.stale_windows import StaleWindow
from tests.store.conftest import AnyStore, Opener
from tests.store.examples import acquisition, alert, estimate, label, rejected, response, same


class BoomError(Exception):
    """The batch failed."""


# --- responses -------------------------------------------------------------------------------------------------


def test_a_stored_response_is_read_back_to_the_bit(store: AnyStore) -> None:
    features = np.array([np.nan, np.inf, -0.0, 1 / 3, 3e38, *range(12)], dtype=np.float32)
    plain = response(0)
    rich = response(
        1,
        id="ü/😀 '\"",
        domain="рус",
        features=features,
        p_correct=float("nan"),
        slices={"язык": "de", "b": ""},
        finish_reason="stop",
        correct=0.5,
        weight=1 / 3,
        label_kind="designed",
        text="an answer",
        event_time=1.7e9 + 1 / 3,
    )
    with store.transaction() as memory:
        memory.add_responses([plain, rich])
    with store.transaction() as memory:
        found = memory.responses([plain.id, rich.id, "absent"])
    assert found.keys() == {plain.id, rich.id}
    assert same(found[plain.id], plain)
    assert same(found[rich.id], rich)


def test_more_responses_than_one_query_takes_are_found_by_id(store: AnyStore) -> None:
    rows = [response(n) for n in range(1203)]
    with store.transaction() as memory:
        memory.add_responses(rows)
        found = memory.responses([row.id for row in rows])
    assert all(same(found[row.id], row) for row in rows)


def test_a_stored_response_does_not_change_with_the_callers_array(store: AnyStore) -> None:
    row = response(0)
    with store.transaction() as memory:
        memory.add_responses([row])
        row.features[:] = 9
        assert memory.responses(["r-0"])["r-0"].features[0] == np.float32(0.1)


def test_a_resolved_label_is_stored_with_its_response(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0), response(1)])
        memory.resolve([response(0, correct=1.0, weight=4.0, label_kind="designed")])
    with store.transaction() as memory:
        memory.resolve([response(0, correct=0.0, weight=2.0, label_kind="designed")])
        memory.resolve([response(1, correct=1.0)])
        memory.resolve([response(1)])  # withdrawn
    with store.transaction() as memory:
        found = memory.responses(["r-0", "r-1"])
        labelled = memory.labelled("f1", 10)
    assert same(found["r-0"], response(0, correct=0.0, weight=2.0, label_kind="designed"))
    assert same(found["r-1"], response(1))
    assert labelled.id.tolist() == ["r-0"]


# --- aliases ---------------------------------------------------------------------------------------------------


def test_an_alias_takes_the_place_of_the_stored_one_with_its_name(store: AnyStore) -> None:
    one, other, shared = Alias("ticket-1", "r-0", 5.0), Alias("tïcket", "r-1", 6.0), Alias("ticket-1", None, 7.5)
    with store.transaction() as memory:
        memory.add_aliases([one, other])
        assert memory.aliases(["ticket-1", "absent"]) == {"ticket-1": one}
    with store.transaction() as memory:
        memory.add_aliases([shared, Alias("again", "r-0", 1.0)])
        memory.add_aliases([Alias("again", "r-0", 2.0)])
    with store.transaction() as memory:
        found = memory.aliases(["ticket-1", "tïcket", "again"])
    assert found == {"ticket-1": shared, "tïcket": other, "again": Alias("again", "r-0", 2.0)}


def test_more_aliases_than_one_query_takes_are_found_by_name(store: AnyStore) -> None:
    aliases = [Alias(f"a-{n}", f"r-{n}", float(n)) for n in range(1203)]
    with store.transaction() as memory:
        memory.add_aliases(aliases)
        assert memory.aliases([alias.name for alias in aliases]) == {alias.name: alias for alias in aliases}


# --- windows ---------------------------------------------------------------------------------------------------


def test_a_window_is_half_open_and_sorted_by_time_then_id(store: AnyStore) -> None:
    times = [("b", 10.0), ("a", 10.0), ("ä", 10.0), ("B", 10.0), ("early", 9.99), ("end", 20.0), ("late", 19.99)]
    rows = [response(n, id=name, event_time=time) for n, (name, time) in enumerate(times)]
    with store.transaction() as memory:
        memory.add_responses(rows)
        memory.add_responses([response(8, domain="other", event_time=15.0), response(9, fingerprint="f2")])
        window = memory.window(SeriesKey("law", "f1"), 10.0, 20.0, 100)
        last = memory.window(SeriesKey("law", "f1"), 10.0, 20.0, 2)
    assert window.id.tolist() == ["B", "a", "b", "ä", "late"]
    assert last.id.tolist() == ["ä", "late"]
    assert last.seq.tolist() == [2, 6]
    assert window.domain.tolist() == ["law"] * 5
    assert window.features.dtype == np.float32
    assert window.features[1].tolist() == rows[1].features.tolist()


def test_unknown_numbers_of_a_window_are_nan(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0, p_correct=float("nan")), response(1, correct=1.0, weight=2.0)])
        window = memory.window(SeriesKey("law", "f1"), 0, 9999, 10)
    assert np.isnan(window.p_correct).tolist() == [True, False]
    assert np.isnan(window.correct).tolist() == [True, False]
    assert window.weight.tolist() == [1.0, 2.0]


def test_an_empty_window_has_columns_of_no_rows(store: AnyStore) -> None:
    with store.transaction() as memory:
        assert len(memory.window(SeriesKey("nobody", "f1"), 0, 1, 10)) == 0
        assert memory.labelled("nobody", 10).features.shape == (0, 17)


@pytest.mark.parametrize(("widths", "common"), [((17, 51), 51), ((17, 22), 22), ((22, 51), 66), ((17, 22, 66), 66)])
def test_rows_of_several_sets_of_features_have_the_columns_of_all(
    store: AnyStore, widths: tuple[int, ...], common: int
) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(n, features=np.arange(d, dtype=np.float32)) for n, d in enumerate(widths)])
        window = memory.window(SeriesKey("law", "f1"), 0, 9999, 10)
    assert window.features.shape == (len(widths), common)
    for row, width in zip(window.features.tolist(), widths, strict=True):
        named = dict(zip(LAYOUTS[common], row, strict=True))
        assert [named[name] for name in LAYOUTS[width]] == list(range(width))
        assert sum(value != value for value in row) == common - width


def test_training_rows_are_the_last_labelled_of_one_fingerprint(store: AnyStore) -> None:
    rows = [response(n, domain=f"d{n % 2}", correct=n % 2, event_time=100.0 - n) for n in range(6)]
    with store.transaction() as memory:
        memory.add_responses([*rows, response(7, correct=1.0, fingerprint="f2"), response(8)])
        labelled = memory.labelled("f1", 4)
    assert labelled.id.tolist() == ["r-3", "r-2", "r-1", "r-0"]
    assert labelled.domain.tolist() == ["d1", "d0", "d1", "d0"]
    assert labelled.correct.tolist() == [1.0, 0.0, 1.0, 0.0]


# --- labels ----------------------------------------------------------------------------------------------------


def test_labels_are_read_back_by_response(store: AnyStore) -> None:
    first = label("l1", "r-0", correct=0.5, annotator_kind="model", annotator_id="judge", inclusion_probability=0.1)
    second = label("l2", "r-0", correct=None, supersedes="l1")
    other = label("l1", "r-9")  # the same id under another response is another event
    with store.transaction() as memory:
        memory.add_labels([first, other])
    with store.transaction() as memory:
        memory.add_labels([second])
        found = memory.labels(["r-0", "r-9", "r-77"])
    assert found == {"r-0": [first, second], "r-9": [other]}


def test_a_removed_label_leaves_the_others_of_its_response(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_labels([label("l1", "r-0"), label("l2", "r-0"), label("l1", "r-9")])
        memory.remove_labels([label("l1", "r-0"), label("absent", "r-0")])
        memory.add_labels([label("l1", "r-0", 3000.0, correct=0.0)])
        assert memory.labels(["r-0"])["r-0"] == [label("l2", "r-0"), label("l1", "r-0", 3000.0, correct=0.0)]
    with store.transaction() as memory:
        memory.remove_labels([label("l2", "r-0"), label("l1", "r-0")])
        assert memory.labels(["r-0", "r-9"]) == {"r-9": [label("l1", "r-9")]}


def test_the_labels_of_a_topic_are_found_newest_first_in_the_order_in_which_they_were_stored(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_labels([label("b", "r-1", 9.0, topic="t"), label("a", "r-1", 1.0, topic="t"), label("c", "r-2")])
    with store.transaction() as memory:
        memory.add_labels([label("d", "r-3", 5.0, topic="t"), label("e", "r-3", topic="other")])
        memory.remove_labels([label("b", "r-1")])
        memory.add_labels([label("b", "r-1", 2.0, topic="t")])
        found = memory.labels_of_topic("t", 2)
        assert [event.label_id for event in memory.labels_of_topic("t", 9)] == ["b", "d", "a"]
        assert memory.labels_of_topic("absent", 9) == []
    assert [(event.label_id, event.event_time, event.topic) for event in found] == [("b", 2.0, "t"), ("d", 5.0, "t")]
    with store.transaction() as memory:
        assert memory.labels(["r-3"])["r-3"][0].topic == "t"


def test_labels_whose_response_never_came_expire_oldest_first(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0)])
        memory.add_labels([label("c", "gone-1", 10.0), label("b", "gone-2", 10.0), label("a", "gone-1", 5.0)])
        memory.add_labels([label("joined", "r-0", 1.0), label("young", "gone-1", 50.0)])
    with store.transaction() as memory:
        assert [event.label_id for event in memory.expire_labels(50.0, 2)] == ["a", "b"]
    with store.transaction() as memory:
        assert [event.label_id for event in memory.expire_labels(50.0, 2)] == ["c"]
        assert memory.expire_labels(50.0, 2) == []
        assert memory.labels(["gone-1", "gone-2", "r-0"]).keys() == {"gone-1", "r-0"}
        assert [event.label_id for event in memory.expire_labels(51.0, 2)] == ["young"]


def test_pending_labels_are_those_whose_response_is_not_stored_with_the_likeliest_cause(store: AnyStore) -> None:
    assert store.pending_labels() == PendingLabels(0, None)
    with store.transaction() as memory:
        assert memory.oldest_pending() is None
        memory.add_responses([response(0), response(1, id="r-1#0")])
        memory.add_aliases([Alias("Ticket", "r-0", 1.0), Alias("tenant", None, 1.0)])
        memory.add_labels([label("joined", "r-0", 1.0)], are_joined=True)
        memory.add_labels([label("found", "r-0", 2.0), label("early", "r-9", 3.0), label("a", "R-0", 4.0)])
        memory.add_labels([label("b", "r-1", 5.0), label("c", "tenant", 6.0), label("d", "ticket", 7.0)])
        memory.add_labels([label("e", "r-0 ", 8.0)])
        assert memory.oldest_pending() == 3.0
    found = store.pending_labels()
    assert (found.n, found.oldest) == (5 + 1, 3.0)
    assert found.causes == {"never_seen": 1, "case": 2, "choice": 1, "ambiguous": 1, "white_space": 1}
    assert found.examples == {"case": ("R-0", "r-0"), "choice": ("r-1", "r-1#0"), "white_space": ("r-0 ", "r-0")}
    with store.transaction() as memory:
        memory.add_responses([response(9)])
        assert memory.oldest_pending() == 4.0


def test_a_label_that_is_stored_as_joined_never_expires(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0)])
        memory.add_labels([label("l", "r-0", 1.0)], are_joined=True)
        assert memory.expire_labels(1e9, 10) == []
        assert memory.labels(["r-0"]) == {"r-0": [label("l", "r-0", 1.0)]}


def test_an_expired_label_is_encoded_as_it_came(store: AnyStore) -> None:
    came = Label("l", "nobody", 10.0, 1.0, inclusion_probability=0.5)
    with store.transaction() as memory:
        memory.add_labels([came])
    with store.transaction() as memory:
        assert [encode_label(left) for left in memory.expire_labels(50.0, 2)] == [encode_label(came)]


def test_a_label_whose_response_came_later_does_not_expire(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_labels([label("l", "r-5", 1.0)])
    with store.transaction() as memory:
        memory.add_responses([response(5)])
        assert memory.expire_labels(1e9, 10) == []
        assert memory.labels(["r-5"])["r-5"] == [label("l", "r-5", 1.0)]


# --- state and positions ---------------------------------------------------------------------------------------


def test_state_is_found_by_prefix(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.save_state({"w/a": b"1", "w/ü": b"\x00", "wa": b"2", "w": b"3", "v": b"4", "w%": b"5"})
        assert memory.state("w/") == {"w/a": b"1", "w/ü": b"\x00"}
        assert memory.state("w%") == {"w%": b"5"}
        assert memory.state("").keys() == {"w/a", "w/ü", "wa", "w", "v", "w%"}


def test_state_is_replaced_and_deleted(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.save_state({"a": b"1", "b": b"1", "c": b"1"})
    with store.transaction() as memory:
        memory.save_state({"a": None, "b": b"2", "absent": None})
        memory.save_state({"c": None})
        memory.save_state({"c": b"3"})
        memory.save_state({"b": b"4"})
        memory.save_state({"b": None})
    with store.transaction() as memory:
        assert memory.state("") == {"c": b"3"}


def test_positions_are_replaced_one_by_one(store: AnyStore) -> None:
    one, two = TopicPartition("t", 0), TopicPartition("t", 1)
    with store.transaction() as memory:
        memory.save_positions({one: 5, two: 2**40})
    with store.transaction() as memory:
        memory.save_positions({one: 6})
        assert memory.positions() == {one: 6, two: 2**40}


def test_positions_in_a_topic_that_has_another_id_are_forgotten(store: AnyStore) -> None:
    new, other, gone = TopicPartition("new", 0), TopicPartition("other", 0), TopicPartition("gone", 0)
    with store.transaction() as memory:
        assert memory.store_topic_ids({"other": "1", "gone": "2"}) == []
        memory.save_positions({new: 5, other: 6, gone: 7})
    with store.transaction() as memory:
        assert memory.store_topic_ids({"new": "3", "other": "4"}) == ["other"]
        assert memory.positions() == {new: 5, gone: 7}
    with store.transaction() as memory:
        assert memory.store_topic_ids({"new": "3", "other": "4", "gone": "2"}) == []


# --- transactions ----------------------------------------------------------------------------------------------


def test_a_failed_transaction_changes_nothing(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0)])
        memory.save_state({"kept": b"1", "gone": b"1"})
        memory.add_labels([label("old", "nobody", 1.0), label("of-0", "r-0", topic="t")])
    with pytest.raises(BoomError), store.transaction() as memory:  # noqa: PT012 - all of it must be undone
        memory.add_responses([response(1, domain="new", fingerprint="new", correct=1.0)])
        memory.add_aliases([Alias("ticket-1", "r-1", 5.0)])
        memory.resolve([response(0, correct=1.0)])
        memory.add_labels([label("l", "r-0")])
        memory.remove_labels([label("of-0", "r-0")])
        assert memory.labels_of_topic("t", 9) == []
        memory.save_state({"kept": b"2", "gone": None, "new": b"3"})
        memory.save_positions({TopicPartition("t", 0): 1})
        memory.emit([estimate(), alert(), acquisition(), rejected()])
        assert len(memory.expire_labels(10.0, 10)) == 1
        assert memory.window(SeriesKey("new", "new"), 0, 9999, 10).id.tolist() == ["r-1"]
        raise BoomError
    with store.transaction() as memory:
        assert memory.responses(["r-0", "r-1"]).keys() == {"r-0"}
        assert same(memory.responses(["r-0"])["r-0"], response(0))
        assert len(memory.window(SeriesKey("new", "new"), 0, 9999, 10)) == len(memory.labelled("new", 10)) == 0
        assert memory.labels_of_topic("t", 9) == [label("of-0", "r-0")]
        assert memory.labels(["r-0", "nobody"]) == {
            "r-0": [label("of-0", "r-0")],
            "nobody": [label("old", "nobody", 1.0)],
        }
        assert memory.aliases(["ticket-1"]) == {}
        assert memory.state("") == {"kept": b"1", "gone": b"1"}
        assert memory.positions() == {}
        assert memory.estimate(estimate().key) is None
    assert store.outbox(10) == []
    assert store.newest(Rejected, 10) == []


def test_names_of_a_failed_transaction_are_interned_again(store: AnyStore) -> None:
    with pytest.raises(BoomError), store.transaction() as memory:  # noqa: PT012 - all of it must be undone
        memory.add_responses([response(0, domain="new")])
        memory.labelled("f1", 1)
        raise BoomError
    with store.transaction() as memory:
        memory.add_responses([response(0, domain="other"), response(1, domain="new")])
        assert memory.responses(["r-1"])["r-1"].domain == "new"
        assert memory.window(SeriesKey("new", "f1"), 0, 9999, 10).id.tolist() == ["r-1"]


def test_reads_see_the_earlier_writes_of_their_transaction(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(0)])
        assert memory.responses(["r-0"]).keys() == {"r-0"}
        memory.resolve([response(0, correct=1.0)])
        memory.add_responses([response(1)])
        memory.resolve([response(1, correct=0.0)])
        assert memory.labelled("f1", 5).correct.tolist() == [1.0, 0.0]
        memory.add_labels([label("l", "r-0")])
        assert memory.labels(["r-0"]).keys() == {"r-0"}
        memory.emit([estimate()])
        assert memory.estimate(estimate().key) == estimate()


def test_a_reopened_store_holds_what_was_committed(opener: Opener) -> None:
    store = opener()
    with store.transaction() as memory:
        memory.add_responses([response(0)])
        memory.save_positions({TopicPartition("t", 0): 1})
        memory.emit([alert()])
    store.close()
    store.close()
    reopened = opener()
    assert [message.key for message in reopened.outbox(10)] == [b"law/drift/1"]
    with reopened.transaction() as memory:
        assert memory.positions() == {TopicPartition("t", 0): 1}
        assert same(memory.responses(["r-0"])["r-0"], response(0))


def test_transactions_of_several_threads_run_one_after_another(store: AnyStore) -> None:
    def work(thread: int) -> None:
        for turn in range(10):
            with store.transaction() as memory:
                count = int(memory.state("n").get("n", b"0"))
                memory.add_responses([response(100 * thread + turn)])
                memory.save_state({"n": str(count + 1).encode()})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.transaction() as memory:
        assert memory.state("n") == {"n": b"40"}
        assert len(memory.window(SeriesKey("law", "f1"), 0, 1e9, 100)) == 40


# --- outputs ---------------------------------------------------------------------------------------------------


def test_the_outbox_holds_outputs_in_order_until_acknowledged(opener: Opener) -> None:
    store = opener()
    outputs: list[Output] = [
        estimate(),
        Prediction("r-1", "law", "f1", 1.0, None, 3, 0, is_final=True),
        rejected(),
        acquisition(),
    ]
    with store.transaction() as memory:
        memory.emit(outputs)
    with store.transaction() as memory:
        memory.emit([alert()])
    waiting = store.outbox(10)
    assert [message.topic.rpartition(".")[2] for message in waiting] == [
        "estimates", "predictions", "dead-letters", "priorities", "alerts"
    ]  # fmt: skip
    assert [message.seq for message in waiting] == sorted({message.seq for message in waiting})
    assert store.outbox(2) == waiting[:2]
    store.acknowledge(waiting[1].seq)
    assert store.outbox(10) == waiting[2:]
    store.acknowledge(waiting[-1].seq)
    assert store.outbox(10) == []
    store.close()
    reopened = opener()
    assert reopened.outbox(10) == []
    with reopened.transaction() as memory:
        memory.emit([alert(2)])
    assert reopened.outbox(10)[0].seq > waiting[-1].seq


def test_an_output_without_a_topic_is_stored_and_not_published(opener: Opener) -> None:
    store = opener(topics=Topics(estimates="", predictions=""))
    with store.transaction() as memory:
        memory.emit([estimate(), Prediction("r-1", "law", "f1", 1.0, None, 3, 0, is_final=True), alert()])
        assert memory.estimate(estimate().key) == estimate()
    assert [message.topic for message in store.outbox(10)] == ["driftgauge.alerts"]


def test_a_message_that_waited_goes_to_the_topic_that_the_settings_name_today(opener: Opener) -> None:
    store = opener(topics=Topics(alerts="mistyped", estimates="switched-off-later"))
    with store.transaction() as memory:
        memory.emit([alert(), estimate()])
    assert [message.topic for message in store.outbox(10)] == ["mistyped", "switched-off-later"]
    store.close()
    later = opener(topics=Topics(alerts="alerts", estimates=""))
    assert [message.topic for message in later.outbox(10)] == ["alerts", ""]


def test_every_message_carries_the_epoch_of_its_writer(opener: Opener) -> None:
    epochs = []
    for number in (1, 2):
        store = opener()
        with store.transaction() as memory:
            memory.emit([alert(number)])
        epochs.append(store.epoch)
        store.close()
    carried = [dict(message.headers)["driftgauge-epoch"] for message in opener().outbox(10)]
    assert epochs == sorted(set(epochs))
    assert carried == [str(epoch).encode() for epoch in epochs]


def test_the_highest_revision_of_an_estimate_is_kept(store: AnyStore) -> None:
    second = estimate(revision=2, accuracy=None, status="insufficient_data", status_reason="few", components={})
    with store.transaction() as memory:
        memory.emit([estimate(), second])
        memory.emit([estimate(revision=1, accuracy=0.1)])
        assert memory.estimate(second.key) == second
        assert memory.estimate("absent") is None
    assert len(store.outbox(10)) == 3


def test_the_accuracies_of_a_window_are_those_of_the_newest_estimates_that_have_one(store: AnyStore) -> None:
    unknown: dict[str, Any] = {"accuracy": None, "status": "insufficient_data", "status_reason": "few"}
    with store.transaction() as memory:
        memory.emit([estimate(), estimate(revision=2, accuracy=0.25), estimate(domain="math", accuracy=0.5)])
        memory.emit([estimate(domain="history", **unknown), estimate(domain="math", window_end=7200.0, accuracy=0.75)])
        law, math, history = (SeriesKey(name, estimate().fingerprint) for name in ("law", "math", "history"))
        assert memory.accuracies([law, math, history], 3600.0) == {law: 0.25, math: 0.5}
        assert memory.accuracies([history, math], 7200.0) == {math: 0.75}
        assert memory.accuracies([law], 0.0) == {}


def test_the_newest_dead_letters_are_kept_and_the_others_counted(opener: Opener) -> None:
    store = opener(max_dead_letters=3)
    with store.transaction() as memory:
        memory.emit([rejected(offset) for offset in range(4)])
    with store.transaction() as memory:
        memory.emit([rejected(4, key=None, value=None, headers=())])
    assert store.newest(Rejected, 10) == [rejected(4, key=None, value=None, headers=()), rejected(3), rejected(2)]
    assert store.newest(Rejected, 1)[0].offset == 4
    assert store.dropped_dead_letters() == 2
    assert len(store.outbox(10)) == 5


def test_applied_positions_are_stored_only_with_keep_audit(opener: Opener) -> None:
    records = [Record("t", 0, offset, None, b"") for offset in (0, 1)]
    for keep in (False, True):
        store = opener(keep_audit=keep)
        with store.transaction() as memory:
            memory.audit(records)
        assert store.audit() == ([("t", 0, 0), ("t", 0, 1)] if keep else [])
        store.close()


# --- owners ----------------------------------------------------------------------------------------------------


def test_a_late_write_of_an_agent_that_was_taken_over_is_rejected(opener: Opener) -> None:
    zombie = opener()
    with zombie.transaction() as memory:
        memory.save_state({"a": b"zombie"})
    owner = opener(takeover=True)
    assert owner.epoch > zombie.epoch
    with pytest.raises(FencedError), zombie.transaction() as memory:
        memory.save_state({"a": b"late"})
    with owner.transaction() as memory:
        assert memory.state("a") == {"a": b"zombie"}
        memory.save_state({"a": b"owner"})
    zombie.close()
    with owner.transaction() as memory:
        assert memory.state("a") == {"a": b"owner"}


# --- retention -------------------------------------------------------------------------------------------------


def test_retention_deletes_old_responses_with_their_labels_oldest_first(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.add_responses([response(n, event_time=100.0 - n, correct=n % 2) for n in range(6)])
        memory.add_labels([label("of-5", "r-5", topic="t"), label("of-0", "r-0", topic="t")])
        memory.add_labels([label("pending", "nobody", 1.0)])
        memory.emit([estimate(window_end=90.0), estimate(window_end=100.0), alert(event_time=99.0)])
    assert store.expire(97.5, 2) == 2
    with store.transaction() as memory:
        assert memory.window(SeriesKey("law", "f1"), 0, 1000, 10).id.tolist() == ["r-3", "r-2", "r-1", "r-0"]
        assert memory.labels(["r-5", "r-0", "nobody"]).keys() == {"r-0", "nobody"}
        assert [event.label_id for event in memory.labels_of_topic("t", 9)] == ["of-0"]
        assert memory.estimate(estimate(window_end=90.0).key) is None
        assert memory.estimate(estimate(window_end=100.0).key) is not None
    assert [store.expire(97.5, 2), store.expire(97.5, 2)] == [1, 0]
    with store.transaction() as memory:
        assert memory.responses([f"r-{n}" for n in range(6)]).keys() == {"r-0", "r-1", "r-2"}
        assert memory.labelled("f1", 10).id.tolist() == ["r-2", "r-1", "r-0"]


def test_retention_deletes_the_aliases_of_the_responses_that_it_deletes(store: AnyStore) -> None:
    names = [f"a-{n}" for n in range(6)]
    with store.transaction() as memory:
        memory.add_responses([response(n, event_time=100.0 + n) for n in range(6)])
        memory.add_aliases([Alias(f"a-{n}", f"r-{n}", 100.0 + n) for n in range(6)])
        memory.add_aliases([Alias("shared", None, 105.0)])
    assert store.expire(104.0, 2) == 2
    with store.transaction() as memory:
        assert memory.aliases(names).keys() >= {"a-2", "a-3", "a-4", "a-5"}
    assert [store.expire(104.0, 2), store.expire(104.0, 2)] == [2, 0]
    with store.transaction() as memory:
        assert memory.aliases([*names, "shared"]).keys() == {"a-4", "a-5", "shared"}


def stale(boundary: float, domain: str, end: float) -> StaleWindow:
    return StaleWindow(boundary, SeriesKey(domain, "f"), end)


def test_marks_of_windows_are_counted_once_and_taken_in_their_order(store: AnyStore) -> None:
    first = [stale(120.0, "ü", 60.0), stale(120.0, "a", 60.0), stale(60.0, "b", 30.0)]
    with store.transaction() as memory:
        assert memory.mark_stale(first) == 3
        assert memory.mark_stale([]) == 0
        assert memory.mark_stale([stale(180.0, "a", 60.0), stale(180.0, "a", 90.0)]) == 1
    with store.transaction() as memory:
        assert memory.take_stale(2) == [stale(60.0, "b", 30.0), stale(120.0, "a", 60.0)]
        assert memory.mark_stale([stale(180.0, "a", 60.0)]) == 1
    with store.transaction() as memory:
        expected = [stale(120.0, "ü", 60.0), stale(180.0, "a", 60.0), stale(180.0, "a", 90.0)]
        assert memory.take_stale(100) == expected
        assert memory.take_stale(100) == []


def test_marks_that_were_taken_are_back_after_a_rollback(store: AnyStore) -> None:
    with store.transaction() as memory:
        memory.mark_stale([stale(60.0, "a", 30.0)])
    with pytest.raises(IndexError), store.transaction() as memory:
        _ = memory.take_stale(2)[1]
    with store.transaction() as memory:
        assert memory.take_stale(1) == [stale(60.0, "a", 30.0)]
