"""What delivery needs of a store, on every database: alerts in order, the state of each, silences."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from driftgauge.agent.delivery.courier import Courier
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.receiver import SENT, Outcome
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.silences import add_silence, end_silence, silences
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.alerts.silence import Silence
from driftgauge.models.outputs import Alert
from tests.store.examples import alert

ALERTS = [
    alert(1, began=1),
    alert(2, began=2, kind="below_target", severity="alarm"),
    alert(3, began=3, kind="new_context", severity="info"),
    alert(4, began=1, state="no_data"),
    alert(5, began=2, kind="below_target", severity="alarm", state="resolved"),
    alert(6, began=6, domain="tax", state="pending"),
    alert(7, began=7, slice="language=de", rows=("r-1", "r-2"), n=9, link="https://gauge.example/"),
]


class Taking:
    """A receiver that takes everything."""

    takes_groups: ClassVar[bool] = False

    def __init__(self) -> None:
        self.got: list[Alert] = []

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        self.got += alerts
        return SENT


def test_a_courier_and_the_states_of_alerts_read_what_the_agent_wrote(url: str, tmp_path: Path) -> None:
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as memory:
        memory.emit(ALERTS)
    receiver = Taking()
    with closing(open_queries(url)) as queries, Cursors(tmp_path / "cursors") as cursors:
        Courier(
            "sink", receiver, queries, cursors, wanted=Wanted(), start=0, pause=lambda _: True,
            poll_s=1.0, longest_wait_s=1.0,
        ).step()  # fmt: skip
        assert receiver.got == [one for one in ALERTS if one.state != "pending"]
        assert [one.number for one in queries.alert_states()] == [4, 5, 7]
        assert queries.newest_alert_number() == 7


def test_silences_are_written_beside_the_agent(url: str) -> None:
    with closing(open_store(url, topics=Topics())):
        add_silence(url, Silence(until=60.0, reason="night", domain="law"))
        add_silence(url, Silence(until=90.0, reason="release", kind="drift"))
        end_silence(url, 1, now=10.0)
    with closing(open_queries(url)) as queries:
        assert silences(queries, now=20.0) == [Silence(until=90.0, reason="release", kind="drift", number=2)]
