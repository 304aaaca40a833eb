"""What became of the records of an import: counts, the first refusals, annotators and their agreement.

Memory: a number for each response and annotator, for at most `MAX_VERDICTS` of them; labels beyond are counted, but
take no part in the agreement. Annotators beyond `MAX_ANNOTATORS` are counted as one, `(other)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from driftgauge.connectors.labels.mapping import Refusal
from driftgauge.models.agreement import Agreement, agreement
from driftgauge.models.events import Label

MAX_VERDICTS = 2_000_000
MAX_ANNOTATORS = 10_000
MAX_EXAMPLES = 5
"""Refusals of each reason that are shown."""


@dataclass(slots=True)
class ImportSummary:
    """Counts of an import.

    Attributes
    ----------
    records : documents and rows that were read
    refused : records that gave no label, by reason
    examples : the first refusals of each reason: where, and the detail
    annotators : labels by annotator, such as ``human reviewer-3``
    """

    records: int = 0
    labels: int = 0
    withdrawals: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    annotators: Counter[str] = field(default_factory=Counter)
    without_agreement: int = 0
    _verdicts: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    _n_verdicts: int = 0

    def add(self, place: str, found: Iterable[Label | Refusal]) -> None:
        """Count what one record gave. ``place`` names it for people."""
        self.records += 1
        for one in found:
            if isinstance(one, Refusal):
                self.refused[one.reason] += 1
                shown = self.examples.setdefault(one.reason, [])
                if len(shown) < MAX_EXAMPLES:
                    shown.append(f"{place}: {one.detail}")
            elif one.correct is None:
                self.withdrawals += 1
            else:
                self._count(one, one.correct)

    def _count(self, label: Label, correct: float) -> None:
        annotator = f"{label.annotator_kind} {label.annotator_id}".rstrip()
        self.labels += 1
        is_counted = annotator in self.annotators or len(self.annotators) < MAX_ANNOTATORS
        self.annotators[annotator if is_counted else "(other)"] += 1
        by_annotator = self._verdicts.get(label.response_id, {})
        known = by_annotator.get(annotator)
        if known is None and self._n_verdicts >= MAX_VERDICTS:
            self.without_agreement += 1
            return
        self._n_verdicts += known is None
        verdict = (label.event_time, correct)
        by_annotator[annotator] = verdict if known is None else max(known, verdict)
        self._verdicts[label.response_id] = by_annotator

    def agreement(self) -> Agreement:
        """The agreement of the annotators; of several labels of one annotator and response the latest counts."""
        return agreement(
            {annotator: correct for annotator, (_, correct) in each.items()} for each in self._verdicts.values()
        )

    def to_json(self) -> dict[str, Any]:
        """All counts as plain values."""
        return {
            "records": self.records,
            "labels": self.labels,
            "withdrawals": self.withdrawals,
            "refused": dict(self.refused),
            "examples": self.examples,
            "annotators": dict(self.annotators.most_common()),
            "agreement": asdict(self.agreement()),
        }
