"""Code and documents say the same about what to do."""

from __future__ import annotations

import re
from pathlib import Path

from driftgauge.models.alerts.guide import ACTIONS, action
from driftgauge.models.outputs import ALERTS
from tests.store.examples import alert

OPERATING = (Path(__file__).parents[2] / "docs/operating.md").read_text()


def test_the_actions_are_those_of_the_table_of_alerts() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:alarm|warning|info) \| .* \| (.*) \|$", OPERATING, re.MULTILINE)
    plain = {kind: re.sub(r" \(\[.*?\]\(.*?\)\)|[`\[\]]|\(#\w+\)", "", text) for kind, text in rows}
    assert plain == ACTIONS
    assert {*ACTIONS} == {*ALERTS}


def test_a_kind_that_is_not_known_leads_to_the_documents() -> None:
    assert action(alert(1, kind="of_tomorrow")) == "see docs/operating.md"
