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


def test_a_message_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info")
    logging.getLogger("driftgauge.agent.service.loop").info("broker %s is away", "a:9092")
    said = capsys.readouterr().err
    assert said.endswith("Z INFO driftgauge.agent.service.loop: broker a:9092 is away\n")
    assert said.count("\n") == 1


def test_a_message_is_one_json_object_with_its_exception(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", json_lines=True)
    try:
        raise OSError("disk\nfull")
    except OSError:
        logging.getLogger("driftgauge").exception("no\nreport")
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["level"], said["logger"], said["message"]) == ("error", "driftgauge", "no\nreport")
    assert "disk\nfull" in said["exception"]


def test_the_level_concerns_driftgauge_and_libraries_only_warn(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("debug")
    for name in ("driftgauge.agent", "kafka.conn"):
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).info("info of %s", name)
        logging.getLogger(name).warning("warning of %s", name)
    said = capsys.readouterr().err
    assert "debug of driftgauge" in said
    assert "of kafka" in said
    assert "debug of kafka" not in said
    assert "info of kafka" not in said


def test_that_our_own_work_holds_up_the_client_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info")
    logging.getLogger("kafka.net.selector").warning("task ran for 0.2 s")
    assert capsys.readouterr().err == ""


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("error")
    logging.getLogger("driftgauge.agent").warning("quiet")
    assert capsys.readouterr().err == ""
