"""Nothing is lost, nothing comes under a second identity, and a receiver that is down delays itself alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from driftgauge.agent.delivery.courier import Courier
from driftgauge.agent.delivery.sink_thread import close
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.receiver import SENT, Outcome, Receiver
from driftgauge.connectors.delivery.web import Place, Webhook
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.models.outputs import Alert
from tests.deadline import until
from tests.delivery.loopback import Answer, Got, raise_alerts, receiving
from tests.store.examples import alert

ALERTS = [alert(n) for n in range(1, 8)]
KEYS = [one.key for one in ALERTS]


class Planned:
    """A receiver with planned outcomes; after them it takes everything."""

    takes_groups: ClassVar[bool] = False

    def __init__(self, *outcomes: Outcome) -> None:
        self.got: list[str] = []
        self._outcomes = list(outcomes)

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        self.got.extend(alert.key for alert in alerts)
        return self._outcomes.pop(0) if self._outcomes else SENT


@pytest.fixture
def queries(tmp_path: Path) -> Iterator[StoreQueries]:
    with closing(open_queries(raise_alerts(tmp_path / "gauge.db", ALERTS))) as opened:
        yield opened


class Waits(list[float]):
    """Waits that pass at once; the last of ``n`` stops the courier."""

    def __init__(self, n: int = 1_000) -> None:
        self._n = n

    def __call__(self, wait_s: float) -> bool:
        self.append(wait_s)
        return len(self) >= self._n


def courier(
    receiver: Receiver,
    queries: StoreQueries,
    cursors: Cursors,
    *,
    name: str = "sink",
    wanted: Wanted | None = None,
    start: int = 0,
    pause: Waits | None = None,
) -> Courier:
    waits = Waits() if pause is None else pause
    return Courier(
        name, receiver, queries, cursors,
        wanted=wanted or Wanted(), start=start, pause=waits, poll_s=0.01, longest_wait_s=8.0,
    )  # fmt: skip


def test_alerts_come_once_and_in_order(queries: StoreQueries, tmp_path: Path) -> None:
    receiver = Planned()
    with Cursors(tmp_path / "cursors") as cursors:
        made = courier(receiver, queries, cursors)
        assert made.step()
        assert not made.step()
        assert made.counts == {"sent": 7}
    assert receiver.got == KEYS


def test_waits_double_up_to_the_longest_and_a_receiver_may_ask_for_more(queries: StoreQueries, tmp_path: Path) -> None:
    busy = [Outcome("later", "busy")] * 5
    waits = Waits()
    with Cursors(tmp_path / "cursors") as cursors:
        receiver = Planned(*busy, Outcome("later", "slow down", 30.0), Outcome("later", "slow down", 1e9))
        made = courier(receiver, queries, cursors, pause=waits)
        made.step()
        assert made.counts == {"failed": 7, "sent": 7}
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 30.0, 3_600.0]
    assert receiver.got == [KEYS[0]] * 7 + KEYS


def test_what_a_receiver_will_never_take_is_skipped_and_logged(
    queries: StoreQueries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Cursors(tmp_path / "cursors") as cursors:
        made = courier(Planned(SENT, Outcome("never", "status 410")), queries, cursors)
        made.step()
        assert made.counts == {"sent": 6, "skipped": 1, "failed": 1}
    assert [r.getMessage() for r in caplog.records] == [f"sink: alert {KEYS[1]} is skipped: status 410"]


def test_one_problem_is_logged_once(queries: StoreQueries, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = [Outcome("later", "busy")] * 3 + [SENT, Outcome("later", "busy")]
    with Cursors(tmp_path / "cursors") as cursors:
        courier(Planned(*outcomes), queries, cursors).step()
    assert [record.getMessage() for record in caplog.records] == ["sink: busy; trying again"] * 2


def test_a_stop_during_a_wait_keeps_the_alert_for_the_next_start(queries: StoreQueries, tmp_path: Path) -> None:
    with Cursors(tmp_path / "cursors") as cursors:
        stopped = Planned(SENT, SENT, Outcome("later", "busy"))
        assert not courier(stopped, queries, cursors, pause=Waits(1)).step()
    with Cursors(tmp_path / "cursors") as cursors:
        receiver = Planned()
        courier(receiver, queries, cursors, start=99).step()
    assert stopped.got == KEYS[:3]
    assert receiver.got == KEYS[2:]


def test_a_new_sink_starts_where_it_is_told_to(queries: StoreQueries, tmp_path: Path) -> None:
    receiver = Planned()
    with Cursors(tmp_path / "cursors") as cursors:
        courier(receiver, queries, cursors, start=5).step()
    assert receiver.got == KEYS[5:]


def test_alerts_that_a_sink_does_not_want_are_passed_over(tmp_path: Path) -> None:
    alerts = [
        alert(1),
        alert(2, kind="below_target", severity="alarm"),
        alert(3, kind="below_target", severity="alarm", state="resolved"),
        alert(4, kind="below_target", severity="alarm", domain="tax"),
        alert(5, kind="new_context", severity="info"),
    ]
    receiver = Planned()
    with (
        closing(open_queries(raise_alerts(tmp_path / "gauge.db", alerts))) as queries,
        Cursors(tmp_path / "cursors") as cursors,
    ):
        made = courier(receiver, queries, cursors, wanted=Wanted(severities={"alarm"}, domains={"law"}))
        made.step()
        assert (made.cursor, cursors.start("sink", 0)) == (5, 5)
    assert receiver.got == ["law/below_target/2", "law/below_target/3"]


def test_an_unexpected_error_does_not_end_delivery(queries: StoreQueries, tmp_path: Path) -> None:
    class Broken(Planned):
        def send(self, alerts: Sequence[Alert]) -> Outcome:
            if not self.got:
                self.got.append("broken")
                raise RuntimeError
            return super().send(alerts)

    receiver = Broken()
    with Cursors(tmp_path / "cursors") as cursors:
        made = courier(receiver, queries, cursors, pause=Waits(3))
        made.start()
        made.join()
    assert receiver.got == ["broken", *KEYS]


def test_a_receiver_that_dies_in_the_middle_gets_all_and_delays_nobody_else(
    queries: StoreQueries, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    place = f"http://127.0.0.1:{port}/"
    got, other = list[Got](), list[Got]()
    stopping = threading.Event()
    with Cursors(tmp_path / "cursors") as cursors, receiving(other) as healthy:
        made = [
            Courier(
                name, Webhook(Place(url, allow_private=True)), queries, cursors,
                wanted=Wanted(), start=0, pause=stopping.wait, poll_s=0.01, longest_wait_s=0.05,
            )
            for name, url in {"dying": place, "healthy": f"http://127.0.0.1:{healthy.server_port}/"}.items()
        ]  # fmt: skip
        with receiving(got, lambda _: Answer(200 if len(got) < 3 else 0), port):
            for one in made:
                one.start()
            until(lambda: len(got) >= 4)  # two were taken; the third was read and never answered
        until(lambda: made[0].counts["failed"] >= 5)
        until(lambda: len(other) == len(ALERTS))
        assert made[0].cursor == 2
        with receiving(got, port=port):
            until(lambda: made[0].cursor == len(ALERTS))
        stopping.set()
        close(made)
    assert [request.json["id"] for request in other] == KEYS
    assert {request.json["id"] for request in got} == set(KEYS)
    assert all(request.headers["webhook-id"] == request.json["id"] for request in got)


def test_two_processes_do_not_use_one_file(tmp_path: Path) -> None:
    with Cursors(tmp_path / "cursors"), pytest.raises(Exception, match="in use by another process"):
        Cursors(tmp_path / "cursors")


def test_alerts_of_a_kind_that_follow_each_other_are_one_message_which_a_crash_repeats(tmp_path: Path) -> None:
    alerts = [alert(n, domain=f"d{n}") for n in range(1, 5)]
    alerts += [alert(5, kind="below_target", severity="alarm"), alert(6), alert(7, fingerprint="f2")]

    class Grouping(Planned):
        takes_groups: ClassVar[bool] = True

        def __init__(self, *outcomes: Outcome) -> None:
            super().__init__(*outcomes)
            self.sizes: list[int] = []

        def send(self, alerts: Sequence[Alert]) -> Outcome:
            self.sizes.append(len(alerts))
            return super().send(alerts)

    waits = Waits()
    with (
        closing(open_queries(raise_alerts(tmp_path / "gauge.db", alerts[:3]))) as queries,
        Cursors(tmp_path / "cursors") as cursors,
    ):
        stopped = Grouping(Outcome("later", "busy"))
        assert not courier(stopped, queries, cursors, pause=Waits(1)).step()
        raise_alerts(tmp_path / "gauge.db", alerts[3:])
        receiver = Grouping()
        made = Courier(
            "sink", receiver, queries, cursors, wanted=Wanted(), start=0, pause=waits,
            poll_s=1.0, longest_wait_s=1.0, group_wait_s=10.0,
        )  # fmt: skip
        made.step()
    assert waits == [10.0]
    assert (stopped.sizes, receiver.sizes) == ([3], [4, 1, 1, 1])
    assert stopped.got[0] == receiver.got[0]
    assert receiver.got == [one.key for one in alerts]
