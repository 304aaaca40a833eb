"""The outbox: bounded in bytes with what is on its way, and every message is accounted for."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from driftgauge.connectors.capture.outbox import OVERHEAD_BYTES, Outbox

BOUND, LARGEST = 4_000, 2_000
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 2_500)),
    st.tuples(st.just("publish"), st.integers(1, 5)),
    st.tuples(st.just("refuse"), st.integers(1, 5)),
    st.tuples(st.just("drop"), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_captured_messages_are_published_dropped_or_queued_and_bytes_are_bounded(steps: list[tuple[str, int]]) -> None:
    outbox = Outbox(BOUND, max_message_bytes=LARGEST)
    put: list[bytes] = []
    taken: list[bytes] = []
    for step, number in steps:
        if step == "put":
            value = b"%d." % len(put) + b"x" * number
            if outbox.put("t", b"k", value):
                put.append(value)
        elif step == "drop":
            taken += [message.value for message in outbox.wait(timeout_s=0, max_messages=10**6, max_bytes=10**9)]
            outbox.drop_all("shutdown")
        else:
            first = outbox.wait(timeout_s=0, max_messages=number)
            taken += [message.value for message in first]
            outbox.published(len(first), refused=min(1, len(first)) if step == "refuse" else 0)
        counts = outbox.counts()
        assert counts.captured == counts.published + sum(counts.dropped.values()) + counts.queued
        assert counts.queued == len(put) - len(taken)
        rest = put[len(taken) :]
        assert counts.queued_bytes == sum(len(b"k") + len(value) + OVERHEAD_BYTES for value in rest)
        assert counts.queued_bytes < BOUND + LARGEST + OVERHEAD_BYTES
    queued = outbox.wait(timeout_s=0, max_messages=10**6, max_bytes=10**9)
    assert taken + [message.value for message in queued] == put


@given(st.integers(0, 9), st.lists(st.integers(0, LARGEST - 1), min_size=1, max_size=20))
def test_whether_a_message_is_dropped_does_not_depend_on_its_size(n_before: int, sizes: list[int]) -> None:
    answers = set()
    for size in sizes:
        outbox = Outbox(BOUND, max_message_bytes=LARGEST)
        for _ in range(n_before):
            outbox.put("t", b"k", b"x" * 300)
        answers.add(outbox.put("t", b"k", b"x" * size))
    assert len(answers) == 1


def test_a_message_stays_in_the_outbox_and_counts_until_it_is_acknowledged() -> None:
    outbox = Outbox(100)
    assert outbox.put("t", b"k", b"first")
    assert outbox.wait(timeout_s=0) == outbox.wait(timeout_s=0)
    assert not outbox.put("t", b"k", b"second")
    outbox.published(1)
    assert outbox.put("t", b"k", b"third")


def test_the_age_is_that_of_the_oldest_message() -> None:
    clock = iter([10.0, 12.0, 15.0])
    outbox = Outbox(10_000, now=lambda: next(clock))
    outbox.put("t", b"k", b"a")
    outbox.put("t", b"k", b"b")
    assert outbox.counts().oldest_s == 5.0


def test_messages_of_many_threads_arrive_once_and_in_the_order_of_each_thread() -> None:
    outbox, n_threads, n_each = Outbox(1 << 30), 4, 500

    def fill(thread: int) -> None:
        for n in range(n_each):
            outbox.put("t", b"%d" % thread, b"%d" % n)

    threads = [threading.Thread(target=fill, args=[thread]) for thread in range(n_threads)]
    for thread in threads:
        thread.start()
    arrived: dict[bytes, list[int]] = {}
    while sum(map(len, arrived.values())) < n_threads * n_each:
        messages = outbox.wait(timeout_s=10.0, max_messages=7)
        for message in messages:
            arrived.setdefault(message.key, []).append(int(message.value))
        outbox.published(len(messages))
    assert arrived == {b"%d" % thread: list(range(n_each)) for thread in range(n_threads)}
