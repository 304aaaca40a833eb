"""What arrived, what could be used, and how right predictions were."""

from __future__ import annotations

from driftgauge.agent.api.shapes import Moment, Shape, Span
from driftgauge.agent.api.views.context import Known
from driftgauge.agent.api.views.domain import MAX_COMPARED, CalibrationBin, calibration_bin
from driftgauge.connectors.store.dead_letters import DeadLetterHead, newest_heads
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.responses import newest_since
from driftgauge.models.pending import Cause

SAMPLE = 20
"""Dead letters that are shown, the newest."""


class QualityQuestion(Span):
    """Of which responses to tell: without bounds, those of the period that ends with the newest window."""


class Pending(Shape):
    """Labels whose response has not come."""

    n: int
    oldest: Moment
    """Event time of the oldest one; null without any."""
    causes: dict[Cause, int]
    """The likeliest cause, and the number of labels, of the oldest 1,000."""
    examples: dict[Cause, tuple[str, str]]
    """For a cause that a stored response shows: the name that a label gives, and the id of that response."""


class LabelSource(Shape):
    """Labels of one source."""

    source: str
    n: int
    n_compared: int
    """Those whose response has a label that was drawn at random, too."""
    n_agreeing: int
    """Those of them that say the same."""


class DeadLetter(Shape):
    """A record that could not be used, without its content."""

    seq: int
    """Grows with time."""
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    size_bytes: int
    """Of key, value and headers."""


class Quality(Shape):
    """What arrived and could be used in a span of event time; dead letters and pending labels are those of any time."""

    start: Moment
    """Of the span; null: it has no start. It is later than asked for where more than 100,000 responses would count."""
    end: Moment
    """Of the span; null: it has no end."""
    n_stored: int
    """Responses of the span that are kept, without probes."""
    n_predicted: int
    """Those of them with a prediction."""
    rejected: dict[str, int]
    """Dead letters that are kept, by reason, the most frequent first."""
    dropped_dead_letters: int
    """Dead letters that made room for newer ones."""
    pending: Pending
    label_sources: list[LabelSource]
    """The 20 largest sources of labels of these responses."""
    reliability: list[CalibrationBin]
    """Predictions against labels; empty without labels."""
    sample: list[DeadLetter]
    """The 20 newest dead letters, the newest first."""


def quality(queries: StoreQueries, question: QualityQuestion, known: Known) -> Quality:
    """The quality of the data of a span."""
    start, end = _span(queries, question, known)
    n_stored, n_predicted = queries.predicted(start, end)
    return Quality(
        start=start,
        end=end,
        n_stored=n_stored,
        n_predicted=n_predicted,
        rejected=queries.rejected(),
        dropped_dead_letters=queries.dropped_dead_letters(),
        pending=Pending.model_validate(queries.pending_labels(), from_attributes=True),
        label_sources=[
            LabelSource.model_validate(counts, from_attributes=True) for counts in queries.label_sources(start, end)
        ],
        reliability=[calibration_bin(found) for found in queries.reliability(start, end, known.confidence_level)],
        sample=[_dead_letter(head) for head in newest_heads(queries, SAMPLE)],
    )


def _span(queries: StoreQueries, question: QualityQuestion, known: Known) -> tuple[float, float]:
    """The span that is asked for; without bounds, the newest period."""
    start, end, ends = question.start, question.end, queries.window_ends()
    if (question.from_, question.to) == (None, None) and ends is not None:
        start, end = ends[1] - known.period_s, ends[1]
    return newest_since(queries, start, end, MAX_COMPARED), end


def _dead_letter(head: DeadLetterHead) -> DeadLetter:
    return DeadLetter.model_validate(head, from_attributes=True)
