"""The bounds of a summary: what is beyond them is counted."""

from __future__ import annotations

import pytest

from driftgauge.connectors.labels import summary
from driftgauge.connectors.labels.mapping import Refusal
from driftgauge.models.events import Label


def test_what_is_beyond_the_bounds_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MAX_VERDICTS", 3)
    monkeypatch.setattr(summary, "MAX_ANNOTATORS", 2)
    found = summary.ImportSummary()
    for number in range(5):
        found.add(f"line {number}", [Label(str(number), "r", 1.0, correct=1.0, annotator_id=str(number))])
    for number in range(10):
        found.add(f"line {number}", [Refusal("no_value", "none")])
    assert dict(found.annotators) == {"human 0": 1, "human 1": 1, "(other)": 3}
    assert (found.labels, found.without_agreement, found.agreement().n_pairs) == (5, 2, 3)
    assert found.refused == {"no_value": 10}
    assert found.examples == {"no_value": [f"line {number}: none" for number in range(5)]}


def test_the_latest_label_of_an_annotator_counts_in_the_agreement() -> None:
    found = summary.ImportSummary()
    for label_id, annotator, at, correct in (("a", "ann", 2.0, 1.0), ("b", "ann", 1.0, 0.0), ("c", "bob", 1.0, 1.0)):
        found.add("line 1", [Label(label_id, "r", at, correct=correct, annotator_id=annotator)])
    assert found.agreement().share == 1.0
