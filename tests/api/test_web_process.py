"""The process that answers HTTP for the agent: its pages, its end and its return."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.agent.outlets.http import Response, json_response
from driftgauge.agent.service.agent import open_agent
from driftgauge.agent.service.web_process import WebProcess
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from tests.api.serving import ask
from tests.deadline import until


def settings_in(folder: Path) -> Settings:
    return load_settings(overrides={"server.port": 0, "store.url": f"sqlite:///{folder}/store.db"})


@pytest.fixture
def agent_port(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[int]:
    """The port of an agent that does not read yet."""
    with caplog.at_level("INFO", "driftgauge"), open_agent(settings_in(tmp_path)):
        yield int(caplog.messages[0].rpartition(":")[2])


def test_the_agent_answers_for_itself_through_the_process(agent_port: int) -> None:
    assert ask(agent_port, "/healthz").json == {"status": "alive"}
    assert ask(agent_port, "/readyz").status == 503
    assert b"driftgauge_batches_total" in ask(agent_port, "/metrics").body
    health = ask(agent_port, "/v1/health").json["agent"]
    assert health == {"alive": True, "ready": False, "reason": "starting", "watermark": None, "lag": {}}
    assert ask(agent_port, "/v1/domains").json["items"] == []
    assert ask(agent_port, "/healthz", method="POST").status == 405


class Counted:
    """A page that says how often it was asked for."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> Response:
        self.n += 1
        return json_response({"n": self.n})


def process_of(web: WebProcess) -> int:
    return web._process.pid


def test_a_process_that_is_killed_comes_back_on_the_same_port(tmp_path: Path) -> None:
    page = Counted()
    with closing(WebProcess(settings_in(tmp_path), {"/healthz": page})) as web:
        assert ask(web.port, "/healthz").json == {"n": 1}
        killed = process_of(web)
        os.kill(killed, signal.SIGKILL)
        until(lambda: process_of(web) != killed)
        assert ask(web.port, "/healthz").json == {"n": 2}
        last = process_of(web)
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_a_page_that_fails_is_an_error_of_that_page_alone(tmp_path: Path) -> None:
    def broken() -> Response:
        raise RuntimeError("planted")

    with closing(WebProcess(settings_in(tmp_path), {"/healthz": Counted(), "/metrics": broken})) as web:
        reply = ask(web.port, "/metrics")
        assert reply.status == 500
        assert b"planted" not in reply.body
        assert ask(web.port, "/healthz").json == {"n": 1}
