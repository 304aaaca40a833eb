"""`driftgauge deliver` as a process: killed in the middle, started again, with receivers on loopback."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.delivery import build
from driftgauge.config.delivery import DeliverySettings
from driftgauge.config.load import ConfigError, load_settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.alertmanager import Alertmanager
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.mail import Mail
from driftgauge.connectors.delivery.web import PagerDuty, Slack, Webhook
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.store.queries import open_queries
from tests.deadline import until
from tests.delivery.loopback import Answer, Got, raise_alerts, receiving
from tests.store.examples import alert

SECRET = "planted-hunter2"


@contextmanager
def delivering(folder: Path, sinks: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "driftgauge.yaml").write_text(
        f"store: {{url: 'sqlite:///gauge.db'}}\n"
        f"delivery: {{poll_s: 0.05, longest_wait_s: 0.2, allow_private: true, sinks: {{{sinks}}}}}\n"
    )
    command = [sys.executable, "-m", "driftgauge.agent.cli", "deliver", "--config", "driftgauge.yaml", *more]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_process_that_is_killed_loses_nothing_and_gives_no_second_identity(tmp_path: Path) -> None:
    raise_alerts(tmp_path / "gauge.db", [alert(n) for n in range(1, 31)])
    got, other, killed = list[Got](), list[Got](), list[bool]()
    with receiving(other) as healthy, receiving(got, lambda _: Answer(200 if len(got) % 4 else 503)) as flaky:
        sinks = ", ".join(
            f"{name}: {{type: webhook, url: 'http://127.0.0.1:{server.server_port}/'}}"
            for name, server in {"flaky": flaky, "healthy": healthy}.items()
        )
        for n_before_kill in (5, 15, 25):
            with delivering(tmp_path, sinks, "--from-start") as process:
                until(lambda n=n_before_kill: len(got) >= n)  # type: ignore[misc]  # bound at once
                process.kill()
                killed.append(process.wait() == -signal.SIGKILL)
        with delivering(tmp_path, sinks) as process:
            until(lambda: len({request.json["id"] for request in got}) == 30 and len(other) >= 30)
            raise_alerts(tmp_path / "gauge.db", [alert(31)])
            until(lambda: other[-1].json["id"] == got[-1].json["id"] == "law/drift/31")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert killed == [True] * 3
    expected = [f"law/drift/{n}" for n in range(1, 32)]
    for requests in (got, other):
        ids = [request.json["id"] for request in requests]
        assert list(dict.fromkeys(ids)) == expected  # in order; repeats only under the same id
        assert all(request.headers["webhook-id"] == request.json["id"] for request in requests)


def test_a_new_sink_starts_with_the_next_alert(tmp_path: Path) -> None:
    raise_alerts(tmp_path / "gauge.db", [alert(1), alert(2)])
    got = list[Got]()
    with receiving(got) as server:
        sink = f"one: {{type: webhook, url: 'http://127.0.0.1:{server.server_port}/'}}"
        with delivering(tmp_path, sink):
            until((tmp_path / "delivery.cursors").exists)
            raise_alerts(tmp_path / "gauge.db", [alert(3)])
            until(lambda: got)
    assert [request.json["id"] for request in got] == ["law/drift/3"]


def settings(text: str, folder: Path) -> DeliverySettings:
    path = folder / "driftgauge.yaml"
    path.write_text(text)
    return load_settings(path).delivery


def test_each_type_of_sink_gets_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK_URL", "HOOK_URL"):
        monkeypatch.setenv(name, f"https://hooks.example/{SECRET}?token={SECRET}")
    monkeypatch.setenv("PD_KEY", SECRET)
    monkeypatch.setenv("AM_AUTH", f"Basic {SECRET}\n")
    found = settings(
        """
delivery:
  cursors: c
  poll_s: 7
  longest_wait_s: 8
  sinks:
    chat: {type: slack, url_from: SLACK_URL, severities: [alarm], timeout_s: 3}
    hook: {type: webhook, url_from: HOOK_URL, kinds: [drift], cafile: ca.pem}
    pager: {type: pagerduty, secret_from: PD_KEY, domains: [law]}
    mail: {type: email, host: mail.example, port: 25, security: none, username: me, secret_from: PD_KEY,
           sender: gauge@example.com, to: [team@example.com], timeout_s: 4}
    am: {type: alertmanager, url: "https://am.example/base", authorization_from: AM_AUTH, interval_s: 9}
""",
        tmp_path,
    )
    made = build.receivers(found)
    assert [type(one) for one in made.values()] == [Slack, Webhook, PagerDuty, Mail, Alertmanager]
    chat, hook, pager, mail, am = (vars(one) for one in made.values())
    assert (chat["_place"].url, chat["_place"].timeout_s) == (f"https://hooks.example/{SECRET}?token={SECRET}", 3.0)
    assert (hook["_place"].cafile, hook["_place"].allow_private) == ("ca.pem", False)
    assert (pager["_place"].url, pager["_routing_key"]) == ("https://events.pagerduty.com/v2/enqueue", SECRET)
    assert (am["_place"].authorization, hook["_place"].authorization) == (f"Basic {SECRET}", "")
    assert (am["_place"].url, am["interval_s"]) == ("https://am.example/base/api/v2/alerts", 9.0)
    server = mail["_server"]
    assert (server.host, server.port, server.security, server.username) == ("mail.example", 25, "none", "me")
    assert (server.password, server.timeout_s) == (SECRET, 4.0)
    assert (mail["_sender"], mail["_to"]) == ("gauge@example.com", ("team@example.com",))
    assert build.wanted(found.sinks["chat"]).severities == {"alarm"}
    assert build.wanted(found.sinks["hook"]).kinds == {"drift"}
    assert build.wanted(found.sinks["pager"]).domains == {"law"}
    raise_alerts(tmp_path / "gauge.db", [])
    with closing(open_queries(f"sqlite:///{tmp_path}/gauge.db")) as queries, Cursors(tmp_path / "c") as cursors:
        one = vars(build.couriers(found, build.receivers(found), queries, cursors, lambda _: True)[0])
    assert (one["_poll_s"], one["_longest_wait_s"], found.cursors) == (7.0, 8.0, Path("c"))
    assert SECRET not in repr(made) + repr([vars(one) for one in (made["chat"], made["mail"], made["am"])])


def test_wrong_settings_are_named_all_at_once(tmp_path: Path) -> None:
    text = """
delivery:
  sinks:
    a: {type: slack, url: "https://hooks.example"}
    b: {type: email, host: mail.example, to: [team]}
    c: {type: webhook, url: "https://x.example", username: me}
    d: {type: pagerduty, secret_from: "not a name"}
    e: {type: pigeon}
"""
    with pytest.raises(ConfigError) as error:
        settings(text, tmp_path)
    assert [line.strip().replace(f" ({tmp_path}/driftgauge.yaml)", "") for line in str(error.value).splitlines()] == [
        "5 problems with the settings:",
        "delivery.sinks.a: url_from is needed; url is no setting of this type",
        "delivery.sinks.b: sender is needed; sender and to must be addresses like name@example.com",
        "delivery.sinks.c: username is no setting of this type; username needs secret_from",
        "delivery.sinks.d: secret_from must be the name of an environment variable",
        "delivery.sinks.e.type: must be 'webhook', 'slack', 'pagerduty', 'email', 'alertmanager' or 'apprise'",
    ]
    with pytest.raises(ConfigError, match="the name of a sink"):
        settings('delivery: {sinks: {"A b": {type: slack, url_from: X}}}', tmp_path)


def test_sinks_that_cannot_be_made_are_named_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("HOOK", SECRET)
    monkeypatch.setenv("TWO_LINES", f"Bearer {SECRET}\nX-Other: 1")
    text = """
delivery:
  sinks:
    a: {type: slack, url_from: NOT_SET}
    b: {type: webhook, url: "http://10.0.0.1/hook"}
    c: {type: webhook, url: "https://x.example", secret_from: HOOK, kinds: [drft]}
    d: {type: slack, url_from: HOOK}
    e: {type: email, host: localhost, sender: a@b.example, to: [c@d.example]}
    f: {type: alertmanager, url: "https://x.example", authorization_from: TWO_LINES}
"""
    with pytest.raises(ConnectorError) as error:
        build.receivers(settings(text, tmp_path))
    private = "the address is inside a private network: set delivery.allow_private if it is meant"
    assert [line.strip() for line in str(error.value).splitlines()] == [
        "7 problems with delivery:",
        "delivery.sinks.a.url_from: the environment variable NOT_SET is not set",
        f"delivery.sinks.b: {private}",
        "delivery.sinks.c.kinds: no such kind of alert: drft",
        "delivery.sinks.c.secret_from: the secret of a webhook must be base64 text",
        "delivery.sinks.d.url_from: the variable must hold an address, https://host/path",
        f"delivery.sinks.e: {private}",
        "delivery.sinks.f.authorization_from: the variable must hold one line of ASCII text",
    ]
    assert SECRET not in str(error.value)


def test_without_sinks_the_command_says_so(tmp_path: Path) -> None:
    url = raise_alerts(tmp_path / "gauge.db", [])
    done = CliRunner().invoke(app, ["deliver", "--store", url])
    assert isinstance(done.exception, ConnectorError)
    assert str(done.exception) == "there is no sink: delivery.sinks names the receivers"


def test_a_store_that_has_fewer_alerts_than_were_delivered_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = settings("delivery: {sinks: {a: {type: webhook, url: 'https://x.example'}}}", tmp_path)
    raise_alerts(tmp_path / "gauge.db", [alert(1)])
    caplog.set_level(logging.INFO, "driftgauge")
    with closing(open_queries(f"sqlite:///{tmp_path}/gauge.db")) as queries, Cursors(tmp_path / "c") as cursors:
        cursors.save("a", 7)
        build.couriers(found, build.receivers(found), queries, cursors, lambda _: True)
    assert "a goes on after alert number 7" in caplog.text
    assert "was the store replaced?" in caplog.text


def test_the_page_shows_what_was_sent_and_what_waits(tmp_path: Path) -> None:
    raise_alerts(tmp_path / "gauge.db", [alert(n, event_time=1_000.0 * n) for n in range(1, 6)])
    got = list[Got]()
    (port,) = free_ports(1)
    with receiving(got, lambda _: Answer(200 if len(got) == 1 else 410 if len(got) == 2 else 503)) as server:
        sink = f"hook: {{type: webhook, url: 'http://127.0.0.1:{server.server_port}/'}}"
        page = f"http://127.0.0.1:{port}/metrics"
        with delivering(tmp_path, sink, "--from-start", "--set", f"delivery.status_port={port}"):
            until(lambda: len(got) >= 4)
            with urllib.request.urlopen(page, timeout=30) as answer:
                families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    values = {
        name.removeprefix("driftgauge_delivery_"): [s.value for s in family.samples if s.labels == {"sink": "hook"}]
        for name, family in families.items()
    }
    assert values.pop("failed")[0] >= 2
    assert values == {
        "sent": [1.0],
        "skipped": [1.0],
        "waiting": [3.0],
        "oldest_waiting_timestamp_seconds": [3_000.0],
    }
