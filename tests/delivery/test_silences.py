"""A silenced alert is not delivered while the silence lasts; stores and other sinks keep it."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.delivery.silenced import READ_EVERY_S, Silenced, Unsilenced
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.silences import add_silence, end_silence, silences
from driftgauge.models.alerts.silence import Silence
from driftgauge.models.outputs import Alert
from tests.delivery.loopback import raise_alerts
from tests.store.examples import alert

NOW = 1_000.0
LAW, TAX = alert(1), alert(2, domain="tax")


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def test_a_silence_holds_from_the_next_look_to_its_end(tmp_path: Path) -> None:
    url, clock = raise_alerts(tmp_path / "gauge.db", [LAW, TAX]), Clock()

    def passing(wanted: Unsilenced) -> list[str]:
        return [one.domain for one in (LAW, TAX) if wanted(one)]

    with closing(open_queries(url)) as queries:
        wanted = Unsilenced(Wanted(), Silenced(queries, clock))
        assert passing(wanted) == ["law", "tax"]
        add_silence(url, Silence(until=NOW + 60, reason="new prompts", kind="drift", domain="l*"))
        assert passing(wanted) == ["law", "tax"]  # read again after a few seconds
        clock.now = NOW + READ_EVERY_S
        assert passing(wanted) == ["tax"]
        clock.now = NOW + 60
        assert passing(wanted) == ["law", "tax"]


def test_a_silence_that_is_ended_silences_no_more(tmp_path: Path) -> None:
    url = raise_alerts(tmp_path / "gauge.db", [LAW])
    for reason in ("one", "two"):
        add_silence(url, Silence(until=NOW + 60, reason=reason))
    end_silence(url, 1, NOW)
    with closing(open_queries(url)) as queries:
        assert [(one.number, one.reason, one.domain) for one in silences(queries, NOW)] == [(2, "two", "")]
        assert silences(queries, NOW + 60) == []


def test_a_file_that_is_no_store_gets_no_silence(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError):
        add_silence(f"sqlite:///{tmp_path / 'none.db'}", Silence(until=NOW, reason="x"))
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("silence", "matches"),
    [
        (Silence(NOW + 1, "x"), True),
        (Silence(NOW + 1, "x", kind="drift", domain="law"), True),
        (Silence(NOW + 1, "x", kind="below_*"), False),
        (Silence(NOW + 1, "x", slice="language=de"), False),
        (Silence(NOW, "x"), False),
    ],
)
def test_a_silence_matches_all_its_patterns(silence: Silence, matches: bool) -> None:
    assert silence.matches(LAW, NOW) is matches


def test_a_silence_with_control_characters_is_one_line_of_the_list(tmp_path: Path) -> None:
    url, run = raise_alerts(tmp_path / "gauge.db", [LAW]), CliRunner().invoke
    add_silence(url, Silence(time.time() + 3_600, "one\n2  \x1b[31mtwo", domain="\u202ewal"))
    header, line = run(app, ["silence", "list", "--store", url]).output.splitlines()
    assert header.startswith("number")
    assert line.isprintable()


def test_the_command_makes_shows_and_ends_silences(tmp_path: Path) -> None:
    url, run = raise_alerts(tmp_path / "gauge.db", [LAW]), CliRunner().invoke
    options = ["--domain", "law-*", "--hours", "2", "--reason", "new prompts"]
    made = run(app, ["silence", "add", *options, "--store", url])
    assert made.exit_code == 0, made.output
    assert made.output.startswith("silence 1 until ")
    assert "law-*" in run(app, ["silence", "list", "--store", url]).output
    assert run(app, ["silence", "end", "1", "--store", url]).exit_code == 0
    assert "law-*" not in run(app, ["silence", "list", "--store", url]).output
    with closing(open_queries(url)) as queries:
        assert silences(queries, time.time()) == []


@pytest.mark.parametrize(
    ("command", "code", "why"),
    [
        (("add", "--hours", "2", "--reason", "x", "--kind", "drfit"), 2, "did you mean drift?"),
        (("add", "--hours", "2", "--reason", "x", "--kind", "nothing_*"), 2, "there are below_target"),
        (("end", "2"), 1, "there is no silence 2"),
    ],
)
def test_a_silence_of_no_kind_and_the_end_of_no_silence_are_errors(
    command: tuple[str, ...], code: int, why: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url, run = raise_alerts(tmp_path / "gauge.db", [LAW]), CliRunner().invoke
    assert (
        run(app, ["silence", "add", "--hours", "2", "--reason", "x", "--kind", "below_*", "--store", url]).exit_code
        == 0
    )
    done = run(app, ["silence", *command, "--store", url])
    assert done.exit_code == code
    unwrapped = (done.output + capfd.readouterr().err).replace("│", " ").split()
    assert why in " ".join(unwrapped)
    with closing(open_queries(url)) as queries:
        assert len(silences(queries, time.time())) == 1


@pytest.mark.parametrize("one", [LAW, TAX])
def test_what_is_pending_inhibited_or_of_another_domain_is_for_nobody(one: Alert) -> None:
    from dataclasses import replace

    assert Wanted()(one)
    assert not Wanted()(replace(one, state="pending"))
    assert not Wanted()(replace(one, inhibited_by="below_target/law/f1"))
    assert not Wanted(domains={"billing"})(one)
    assert Wanted(domains={"billing"})(replace(one, domain="(all)"))
