"""Readiness names the sinks that have failed for long, and why."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from driftgauge.agent.delivery.courier import Courier
from driftgauge.agent.delivery.readiness import Readiness
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.web import Place, Slack
from driftgauge.connectors.store.queries import open_queries
from tests.delivery.loopback import Answer, Got, raise_alerts, receiving
from tests.store.examples import alert


def test_a_sink_that_fails_for_long_makes_delivery_unready_until_it_is_taken_again(tmp_path: Path) -> None:
    answers, got = [Answer(401), Answer(200)], list[Got]()
    with (
        closing(open_queries(raise_alerts(tmp_path / "gauge.db", [alert(1)]))) as queries,
        Cursors(tmp_path / "cursors") as cursors,
        receiving(got, lambda _: answers.pop(0)) as server,
    ):
        place = Place(f"http://127.0.0.1:{server.server_port}/planted", allow_private=True)
        sink = Courier(
            "team", Slack(place), queries, cursors,
            wanted=Wanted(), start=0, pause=lambda _: True, poll_s=1.0, longest_wait_s=1.0,
        )  # fmt: skip
        at = 0.0
        ready = Readiness([sink], unready_after_s=600.0, now=lambda: at)
        assert ready.readyz().status == 200
        assert not sink.step()
        assert sink.failing_since is not None
        at = sink.failing_since + 599.5
        assert ready.readyz().status == 200
        at = sink.failing_since + 600.25
        answer = ready.readyz()
        assert answer.status == 503
        assert json.loads(answer.body)["sinks"] == {"team": "status 401: is the secret right?, for 600 s"}
        sink.turn()
        assert ready.readyz().status == 200
        assert ready.healthz().status == 200
