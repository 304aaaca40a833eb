"""What fires is posted again and again, also to an Alertmanager that lost it, until it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from driftgauge.agent.delivery.repeater import Repeater
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.delivery.alertmanager import PATH, Alertmanager, posted_alert
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.web import Place
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.models.outputs import Alert
from tests.deadline import until
from tests.delivery.loopback import Answer, Got, raise_alerts, receiving
from tests.store.examples import alert

NOW = 10_000.0


def raised(number: int, domain: str = "law", **changes: Any) -> Alert:
    return alert(number, kind="below_target", severity="alarm", domain=domain, **{"after": 0.7, **changes})


def ended(number: int, domain: str = "law") -> Alert:
    return alert(number, kind="below_target", severity="alarm", domain=domain, state="resolved")


def repeater(queries: StoreQueries, cursors: Cursors, port: int, **changes: Any) -> Repeater:
    receiver = Alertmanager(
        Place(f"http://127.0.0.1:{port}{PATH}", allow_private=True), interval_s=changes.pop("interval_s", 30.0)
    )
    given: dict[str, Any] = {"wanted": Wanted(), "start": 0, "pause": lambda _: True, "now": lambda: NOW, **changes}
    return Repeater("am", receiver, queries, cursors, **given)


def states(request: Got) -> dict[str, bool]:
    """Whether each posted alert fires, by domain."""
    return {one["labels"]["domain"]: one["endsAt"] > "1970-01-01T02:46:40Z" for one in request.json}


def test_what_fires_is_posted_at_every_turn_and_an_end_once(tmp_path: Path) -> None:
    got = list[Got]()
    url = raise_alerts(
        tmp_path / "gauge.db", [raised(1), raised(2, "tax"), ended(3), alert(4, kind="new_context", severity="info")]
    )
    with (
        closing(open_queries(url)) as queries,
        Cursors(tmp_path / "cursors") as cursors,
        receiving(got) as server,
    ):
        made = repeater(queries, cursors, server.server_port)
        assert [made.turn() for _ in range(2)] == [30.0] * 2
        raise_alerts(tmp_path / "gauge.db", [ended(5, "tax"), raised(6)])
        made.turn()
        again = repeater(queries, cursors, server.server_port)
        again.turn()
    first, second, third, fourth = map(states, got)
    assert (first, second) == ({"tax": True, "law": False}, {"tax": True})
    assert (third, fourth) == ({"tax": False, "law": True}, {"law": True})
    assert all(request.path == PATH for request in got)


def test_numbers_are_no_part_of_the_identity(tmp_path: Path) -> None:
    got = list[Got]()
    url = raise_alerts(tmp_path / "gauge.db", [raised(1)])
    with closing(open_queries(url)) as queries, Cursors(tmp_path / "c") as cursors, receiving(got) as server:
        made = repeater(queries, cursors, server.server_port)
        made.turn()
        raise_alerts(tmp_path / "gauge.db", [ended(2), raised(3, before=0.9, event_time=NOW + 99)])
        made.turn()
    (first,), (second,) = (request.json for request in got)
    assert first["labels"] == second["labels"]
    assert (first["annotations"]["before"], second["annotations"]["before"]) == ("0.8", "0.9")
    assert second["startsAt"] == "1970-01-01T02:46:40Z"  # never in the future
    assert all(isinstance(value, str) for value in {**second["labels"], **second["annotations"]}.values())


def test_an_accuracy_of_zero_is_known() -> None:
    annotations = posted_alert(raised(1, after=0.0), NOW, 30.0)["annotations"]
    assert annotations["after"] == "0"


def test_an_end_that_was_not_taken_is_posted_again(tmp_path: Path) -> None:
    got, answers = list[Got](), [Answer(), Answer(503), Answer(), Answer()]
    url = raise_alerts(tmp_path / "gauge.db", [raised(1)])
    with (
        closing(open_queries(url)) as queries,
        Cursors(tmp_path / "c") as cursors,
        receiving(got, lambda _: answers.pop(0)) as server,
    ):
        made = repeater(queries, cursors, server.server_port)
        made.turn()
        raise_alerts(tmp_path / "gauge.db", [ended(2)])
        for _ in range(3):
            made.turn()
        assert made.counts == {"sent": 2, "failed": 1}
    assert list(map(states, got)) == [{"law": True}, {"law": False}, {"law": False}]


def test_one_bad_alert_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    got, taken = list[Got](), set[str]()

    def respond(request: Got) -> Answer:
        domains = {one["labels"]["domain"] for one in request.json}
        if "bad" in domains:
            return Answer(400)
        taken.update(domains)
        return Answer()

    url = raise_alerts(tmp_path / "gauge.db", [raised(1), raised(2, "bad"), raised(3, "tax")])
    with (
        closing(open_queries(url)) as queries,
        Cursors(tmp_path / "c") as cursors,
        receiving(got, respond) as server,
    ):
        made = repeater(queries, cursors, server.server_port)
        made.turn()
        made.turn()
        assert (made.counts["skipped"], made.cursor) == (1, 3)
    assert taken == {"law", "tax"}
    assert [record.getMessage() for record in caplog.records] == ["am: alert bad/below_target/2 is skipped: status 400"]


@contextmanager
def alertmanager(command: str, folder: Path, port: int, team: int) -> Iterator[str]:
    """A real Alertmanager that tells a receiver at port ``team``; it is killed at the end, and keeps no alert."""
    route = "{receiver: team, group_by: [alertname], group_wait: 200ms, group_interval: 1s, repeat_interval: 1h}"
    receiver = f"{{name: team, webhook_configs: [{{url: 'http://127.0.0.1:{team}/'}}]}}"
    (folder / "am.yml").write_text(f"{{route: {route}, receivers: [{receiver}]}}")
    arguments = [
        f"--config.file={folder / 'am.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("a") as log, subprocess.Popen([command, *arguments], stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}{PATH}"
        finally:
            process.kill()


def active(address: str) -> dict[str, str]:
    """The alarms that a real Alertmanager has, with their fingerprint, by domain; empty while it is down."""
    with suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310
        return {one["labels"]["domain"]: one["fingerprint"] for one in json.load(answer)}
    return {}


@pytest.mark.alertmanager
def test_a_real_alertmanager_that_was_killed_gets_what_fires_again_and_resolves_it(tmp_path: Path) -> None:
    command = shutil.which("prometheus-alertmanager")
    if command is None:  # it reads its templates from /usr/share, so that to unpack the package is not enough
        pytest.skip("no real Alertmanager: apt-get install prometheus-alertmanager")
    (port,), told = free_ports(1), list[Got]()

    def states_told() -> list[dict[str, str]]:
        """The state of each alert by its domain, in each message to the team."""
        return [{one["labels"]["domain"]: one["status"] for one in message.json["alerts"]} for message in told]

    both = {"law": "firing", "loi \u00e9\n": "firing"}
    url = raise_alerts(tmp_path / "gauge.db", [raised(1), raised(2, "loi \u00e9\n")])
    stopping = threading.Event()
    with closing(open_queries(url)) as queries, Cursors(tmp_path / "c") as cursors, receiving(told) as team:
        made = repeater(queries, cursors, port, pause=lambda _: stopping.wait(0.1), now=time.time)
        made.start()
        with alertmanager(command, tmp_path, port, team.server_port) as address:
            until(lambda: len(active(address)) == 2)
            before = active(address)
            until(lambda: states_told() == [both])  # one message about the group
        until(lambda: made.counts["failed"] >= 2)
        with alertmanager(command, tmp_path, port, team.server_port) as address:
            until(lambda: active(address) == before)
            raise_alerts(tmp_path / "gauge.db", [ended(3)])
            until(lambda: active(address).keys() == {"loi \u00e9\n"})
            until(lambda: both | {"law": "resolved"} in states_told())
        stopping.set()
        made.join()
        assert made.counts["skipped"] == 0
