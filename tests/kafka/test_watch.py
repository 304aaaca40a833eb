"""``driftgauge watch`` on a topic that others write to as well."""

import json
import threading
from typing import Any

import pytest

from driftgauge.agent.commands.options import settings_from
from driftgauge.agent.commands.watch import print_estimates
from tests.kafka.conftest import NewTopic, fill

pytestmark = pytest.mark.kafka

NONE = {"window_end": "2026-01-01T01:00:00Z", "domain": "law", "accuracy": None, "status_reason": "no labels"}
KNOWN = {**NONE, "accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_events": 9, "n_labels": 3, "revision": 2}
OTHERS = [b"", None, b"[1]", b"\xff", b'{"domain": "law"}', json.dumps(KNOWN | {"ci_low": None}).encode()]


def test_a_record_that_is_no_estimate_is_named_and_passed_over(
    broker: str, new_topic: NewTopic, producer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, stopping = new_topic(), threading.Event()
    fill(producer, topic, [json.dumps(NONE).encode(), *OTHERS, json.dumps(KNOWN).encode()])
    stopping.set()
    settings = settings_from(None, [f"kafka.bootstrap_servers={broker}", f"kafka.topics.estimates={topic}"])
    print_estimates(settings, stopping)
    assert capsys.readouterr().out.splitlines() == [
        "2026-01-01T01:00:00Z  law         no labels",
        *(f"{topic}/0/{offset} is no estimate" for offset in range(1, 7)),
        "2026-01-01T01:00:00Z  law         0.50 [0.40, 0.60]  9 events, 3 labels, revision 2",
    ]
