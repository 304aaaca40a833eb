"""The log is readable by people or machines, and libraries cannot fill it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from driftgauge.agent.service.logs import start_logging


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("driftgauge", "kafka.net.selector"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_log_message_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info")
    logging.getLogger("driftgauge.agent.service.loop").info("broker %s is away", "a:9092")
    written = capsys.readouterr().err
    assert written.endswith("Z INFO driftgauge.agent.service.loop: broker a:9092 is away\n")
    assert written.count("\n") == 1


def test_with_json_lines_a_log_message_is_one_object_with_its_exception(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", json_lines=True)
    try:
        raise OSError("disk\nfull")
    except OSError:
        logging.getLogger("driftgauge").exception("no\nreport")
    (line,) = capsys.readouterr().err.splitlines()
    message = json.loads(line)
    assert (message["level"], message["logger"], message["message"]) == ("error", "driftgauge", "no\nreport")
    assert "disk\nfull" in message["exception"]


def test_the_log_level_applies_to_driftgauge_and_libraries_log_warnings_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging("debug")
    for name in ("driftgauge.agent", "kafka.conn"):
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).info("info of %s", name)
        logging.getLogger(name).warning("warning of %s", name)
    written = capsys.readouterr().err
    assert "debug of driftgauge" in written
    assert "of kafka" in written
    assert "debug of kafka" not in written
    assert "info of kafka" not in written


def test_warnings_of_the_kafka_client_about_a_busy_agent_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info")
    logging.getLogger("kafka.net.selector").warning("task ran for 0.2 s")
    assert capsys.readouterr().err == ""


def test_messages_below_the_log_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("error")
    logging.getLogger("driftgauge.agent").warning("quiet")
    assert capsys.readouterr().err == ""
