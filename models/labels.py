"""From the label events of one response to one truth, and how long labels take.

The truth is a pure function of the *set* of events, so the order of arrival, duplicates and revisions cannot matter.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from driftgauge.models.events import AnnotatorKind, Label

Policy: TypeAlias = Literal["latest", "majority", "mean", "rank"]
"""How several labels of one response are settled; see `resolve`."""

Use: TypeAlias = Literal["count", "teach", "ignore"]
"""What a label is good for: to count in estimates and to teach the classifier, to teach alone, or nothing."""

USE_BY_SOURCE: dict[str, Use] = dict.fromkeys(("complaint", "confirmed_suggestion", "judge", "thumbs"), "teach")
"""Sources whose labels are no fair sample of the responses, or have errors of their own."""

RANK: dict[AnnotatorKind, int] = {"code": 0, "human": 1, "model": 2}
"""Order of trust under the policy ``rank``: a verifier first, then a person, then a judge model."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The resolved label of a response.

    Attributes
    ----------
    correct : in [0, 1]
    weight : 1 / inclusion probability, and 1 when that is unknown
    kind : ``designed`` when the inclusion probability is known, ``unknown`` when it is not
    counts : whether it counts in estimates; otherwise it only teaches the classifier
    """

    correct: float
    weight: float
    kind: Literal["designed", "unknown"]
    counts: bool = True


@dataclass(frozen=True, slots=True)
class LabelUse:
    """What labels are good for, by their source.

    Attributes
    ----------
    by_source : use of labels of single sources
    unknown : use of other labels without inclusion probability; other labels with one count

    Examples
    --------
    >>> use = LabelUse({"thumbs": "teach"})
    >>> use.of(Label("l", "r", 1.0, correct=1.0)), use.of(Label("l", "r", 1.0, correct=1.0, source="thumbs"))
    ('count', 'teach')
    """

    by_source: Mapping[str, Use] = field(default_factory=lambda: USE_BY_SOURCE)
    unknown: Use = "count"

    def of(self, label: Label) -> Use:
        """The use of one label."""
        if label.source in self.by_source:
            return self.by_source[label.source]
        return self.unknown if label.inclusion_probability is None else "count"


USE = LabelUse()


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """Labels of one source, compared with drawn labels of the same responses.

    Attributes
    ----------
    n : labels of the source
    n_compared : those without an inclusion probability whose response has a drawn label that counts
    n_agreeing : those of them on the same side of 0.5 as the truth of the response
    """

    source: str
    n: int
    n_compared: int
    n_agreeing: int


def resolve(labels: Collection[Label], policy: Policy = "latest", use: LabelUse = USE) -> Truth | None:
    """Resolve the label events of one response to its truth.

    Of several events with one ``label_id`` only the newest counts (`is_newer`): the later ones are corrections. An
    event named by the ``supersedes`` of another does not count, nor does an event that withdraws a label. Of several
    events by one annotator only the latest counts; events of one annotator kind without an id are taken as those of one
    annotator. A label that only teaches matters where no other one counts: a thumbs down changes no drawn label. The
    policy settles the rest: ``latest`` takes the newest, ``majority`` the side with more labels (0.5 separates the
    sides) and the newest on a tie, ``mean`` averages, ``rank`` takes the newest of the most trusted annotator kind
    (`RANK`). Ties in time are broken by ``label_id``, and then by content.

    Returns
    -------
    The truth; None when no label is of use.

    Examples
    --------
    >>> wrong = Label("a", "r", 1.0, correct=0.0)
    >>> right = Label("b", "r", 2.0, correct=1.0, supersedes="a", inclusion_probability=0.25)
    >>> resolve([right, wrong])
    Truth(correct=1.0, weight=4.0, kind='designed', counts=True)
    >>> resolve([wrong, Label("c", "r", 3.0, correct=None, supersedes="a")]) is None
    True
    >>> resolve([Label("a", "r", 2.0, correct=1.0), wrong])
    Truth(correct=1.0, weight=1.0, kind='unknown', counts=True)
    """
    newest = _newest(labels, use)
    usable = sorted((newest["count"] or newest["teach"]).values(), key=_order)
    if not usable:
        return None
    chosen, correct = _settle(usable, policy)
    probability, counts = chosen.inclusion_probability, bool(newest["count"])
    if probability is None:
        return Truth(correct, 1.0, "unknown", counts)
    return Truth(correct, 1 / probability, "designed", counts)


def _newest(labels: Collection[Label], use: LabelUse) -> dict[Use, dict[tuple[str, str], Label]]:
    """The label of each annotator that is neither corrected nor withdrawn, by use."""
    by_id = {label.label_id: label for label in sorted(labels, key=_order)}
    superseded = {label.supersedes for label in by_id.values() if label.supersedes != label.label_id}
    newest: dict[Use, dict[tuple[str, str], Label]] = {"count": {}, "teach": {}, "ignore": {}}
    for label in sorted(by_id.values(), key=_order):
        if label.label_id not in superseded and label.correct is not None:
            newest[use.of(label)][label.annotator_kind, label.annotator_id] = label
    return newest


@dataclass(slots=True)
class AnnotatorPairs:
    """Pairs of labels that count, of one response by two annotators: how many, and how many disagree.

    Labels disagree when one is at least 0.5 and the other is not.

    Examples
    --------
    >>> right, wrong = (Label(by, "r", 1.0, correct, annotator_id=by) for by, correct in (("ann", 1.0), ("bob", 0.0)))
    >>> pairs = AnnotatorPairs(9, 0)
    >>> pairs.replace([right], [right, wrong])
    >>> pairs, round(pairs.error_rate, 3)
    (AnnotatorPairs(n=10, n_disagreeing=1), 0.053)
    """

    n: int = 0
    n_disagreeing: int = 0

    def replace(self, before: Collection[Label], after: Collection[Label], use: LabelUse = USE) -> None:
        """Take out the pairs of the labels that a response had, and count those that it has now."""
        for labels, sign in ((before, -1), (after, 1)):
            if len(labels) > 1:
                verdicts = [float(label.correct or 0.0) >= 0.5 for label in _newest(labels, use)["count"].values()]
                self.n += sign * math.comb(len(verdicts), 2)
                self.n_disagreeing += sign * verdicts.count(True) * verdicts.count(False)

    @property
    def error_rate(self) -> float:
        """Share of labels that are wrong if annotators err independently and equally often, in [0, 0.5].

        With error e two annotators disagree with probability 2 e (1 - e). 0 where no two annotators labelled the same
        response: nothing is known of their errors then.
        """
        disagreeing = min(self.n_disagreeing / self.n, 0.5) if self.n else 0.0
        return (1 - math.sqrt(1 - 2 * disagreeing)) / 2


def is_newer(label: Label, other: Label) -> bool:
    """Whether a label event takes the place of another one with the same ``label_id``.

    The later event time wins. Of two events of one time the content decides, so that their order does not matter: the
    lower value wins, because no contradiction may raise an accuracy.

    >>> is_newer(Label("a", "r", 2.0, correct=0.0), Label("a", "r", 1.0, correct=1.0))
    True
    >>> is_newer(Label("a", "r", 2.0, correct=0.0), Label("a", "r", 2.0, correct=1.0))
    True
    """
    return _order(label) > _order(other)


def contradicts(label: Label, other: Label) -> bool:
    """Whether two label events with the same ``label_id`` have different values although they are of one time."""
    return label.event_time == other.event_time and label.correct != other.correct


def _order(label: Label) -> tuple[Any, ...]:
    return (
        label.event_time, label.label_id, label.correct is not None, -(label.correct or 0.0), label.annotator_kind,
        label.annotator_id, label.inclusion_probability or 0.0, label.supersedes or "", label.source,
    )  # fmt: skip


_HOUR_S, _DAY_S = 3_600.0, 86_400.0


@dataclass(slots=True)
class LabelDelays:
    """How long labels take, as a histogram with fixed bounds.

    The delay of a label is its event time less that of its response, in seconds, and 0 for a label that is older than
    its response.

    Attributes
    ----------
    counts : labels up to each bound of `BOUNDS_S` and above the bound before it; the last number has those above all
    total_s : sum of all delays, in seconds

    Examples
    --------
    >>> delays = LabelDelays()
    >>> for delay_s in (-3.0, 30.0, 1e9):
    ...     delays.add(delay_s)
    >>> [(bound, n) for bound, n in delays.cumulative() if bound in (1.0, 60.0, float("inf"))]
    [(1.0, 1), (60.0, 2), (inf, 3)]
    """

    BOUNDS_S: ClassVar[tuple[float, ...]] = (
        1.0, 10.0, 60.0, 600.0, _HOUR_S, 6 * _HOUR_S, _DAY_S, 3 * _DAY_S, 7 * _DAY_S, 14 * _DAY_S, 30 * _DAY_S,
    )  # fmt: skip

    counts: list[int] = field(default_factory=lambda: [0] * (len(LabelDelays.BOUNDS_S) + 1))
    total_s: float = 0.0

    def add(self, delay_s: float) -> None:
        """Count one label."""
        delay_s = max(delay_s, 0.0)
        self.counts[bisect.bisect_left(self.BOUNDS_S, delay_s)] += 1
        self.total_s += delay_s

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound in seconds (the last is infinite) with the number of labels up to it."""
        n = 0
        for bound, count in zip((*self.BOUNDS_S, float("inf")), self.counts, strict=True):
            n += count
            yield bound, n


def _settle(usable: list[Label], policy: Policy) -> tuple[Label, float]:
    """The event whose inclusion probability counts, and the value; events are sorted by time and none withdraws."""
    values = [float(label.correct or 0.0) for label in usable]
    newest = usable[-1]
    if policy == "mean":
        return newest, statistics.fmean(values)
    if policy == "majority":
        right = sum(value >= 0.5 for value in values)
        if 2 * right != len(values):
            return newest, float(2 * right > len(values))
    if policy == "rank":
        best = min(RANK[label.annotator_kind] for label in usable)
        newest = [label for label in usable if RANK[label.annotator_kind] == best][-1]
    return newest, float(newest.correct or 0.0)
