"""The parsing process: order, bounds, crashes, and that every task is accounted for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driftgauge.agent.gateway import body_parser
from driftgauge.agent.gateway.body_parser import NICENESS, BodyParser
from tests.deadline import until
from tests.gateway.parsing import SECRET, parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process finds this folder of tests, and is started again at once."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(body_parser, "RESTART_PAUSE_S", 0.0)


@contextmanager
def running(max_bytes: int = 1 << 20) -> Iterator[tuple[BodyParser, list[tuple[bytes, bytes]]]]:
    arrived: list[tuple[bytes, bytes]] = []
    parser = BodyParser(parse, lambda key, value: arrived.append((key, value)), max_bytes=max_bytes)
    parser.start()
    yield parser, arrived
    parser.close(10.0)
    counts = parser.counts()
    assert counts["put"] == counts["parsed"] + counts["failed"] + counts["dropped"] + counts["waiting"]
    assert (counts["waiting"], counts["waiting_bytes"]) == (0, 0)


def test_the_events_of_tasks_arrive_in_order_and_closing_waits_for_them() -> None:
    with running() as (parser, arrived):
        tasks = [b"%d" % n * n for n in range(200)]
        assert all(map(parser.put, tasks))
    assert arrived == [(key, task) for task in tasks for key in (b"1", b"2")]
    assert parser.counts()["parsed"] == len(tasks)


def test_choices_without_an_event_are_counted_with_what_failed_and_what_was_dropped() -> None:
    with running() as (parser, _):
        for task in (b"empty", b"empty", b"fail"):
            parser.put(task)
    assert not parser.put(b"late")
    assert parser.lost() == {"no_logprobs": 4, "parser_failed": 1, "parser_full": 1}


def test_the_process_has_low_priority() -> None:
    with running() as (parser, arrived):
        parser.put(b"niceness")
    assert arrived == [(b"niceness", b"%d" % (os.nice(0) + NICENESS))]


def test_a_full_queue_drops_and_counts_new_tasks_and_does_not_wait() -> None:
    parser = BodyParser(parse, lambda *_: None, max_bytes=1_000)
    assert [parser.put(b"x" * 400) for _ in range(5)] == [True, True, True, False, False]
    assert (parser.counts()["dropped"], parser.counts()["waiting_bytes"]) == (2, 1_200)
    parser.close(0.0)
    assert parser.counts()["dropped"] == 5


def test_a_task_that_fails_is_counted_and_the_others_are_parsed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), running() as (parser, arrived):
        for task in (b"a", b"fail", b"b"):
            parser.put(task)
    assert [value for _, value in arrived] == [b"a", b"a", b"b", b"b"]
    assert (parser.counts()["failed"], parser.counts()["restarts"]) == (1, 0)
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_a_process_that_ends_is_replaced_and_only_its_task_is_lost() -> None:
    with running() as (parser, arrived):
        for task in (b"a", b"die", b"b"):
            parser.put(task)
    assert [value for _, value in arrived] == [b"a", b"a", b"b", b"b"]
    assert (parser.counts()["failed"], parser.counts()["restarts"]) == (1, 1)


def test_a_process_that_is_killed_between_tasks_is_replaced() -> None:
    with running() as (parser, arrived):
        parser.put(b"a")
        until(lambda: len(arrived) == 2)
        assert parser._process is not None
        parser._process.kill()
        parser._process.wait()
        parser.put(b"b")
        parser.put(b"c")
    assert arrived[-1] == (b"2", b"c")
    assert parser.counts()["restarts"] == 1


def test_the_process_ends_when_the_parser_is_closed() -> None:
    with running() as (parser, arrived):
        parser.put(b"a")
        until(lambda: arrived)
        process = parser._process
    assert process is not None
    assert process.poll() == 0


def test_a_parser_that_was_closed_drops_tasks() -> None:
    with running() as (parser, arrived):
        pass
    assert not parser.put(b"late")
    assert not arrived
