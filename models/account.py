"""The account of records: every record that was read is exactly one of used, passed over, dead letter, tombstone.

`account_of` decides it from what the decoder and the core returned for a record. What happens to an event after its
record was used (its response never ends, its label meets no response) is counted apart, as *given up*. A record with
pieces of a response is used, whoever takes the response.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from driftgauge.models.events import Arrival, Chunk, Event, Generation, Label, Rejected, RejectReason
from driftgauge.models.outputs import Output
from driftgauge.models.selection import EVERYTHING, Selection

GIVEN_UP: frozenset[RejectReason] = frozenset({"incomplete_response", "too_many_in_flight", "unmatched_label"})
"""Reasons of dead letters that are decided when the records of the event have been used already."""


@dataclass(slots=True)
class Account:
    """What became of records.

    Attributes
    ----------
    used : records that were used; a piece of a stream without content is one of them
    passed_over : records that hold only responses that the selection of the agent does not take
    tombstones : records without a value, which are ignored
    dead_letters : records that could not be used, by reason; one that was used in part is one of them
    given_up : events of used records that became dead letters later, by reason
    """

    used: int = 0
    passed_over: int = 0
    tombstones: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)

    @property
    def n_dead(self) -> int:
        """Records that could not be used."""
        return self.dead_letters.total()

    @property
    def records(self) -> int:
        """All records that were read."""
        return self.used + self.passed_over + self.n_dead + self.tombstones

    def add(self, other: Account) -> None:
        """Add the records of another account."""
        self.used += other.used
        self.passed_over += other.passed_over
        self.tombstones += other.tombstones
        self.dead_letters.update(other.dead_letters)
        self.given_up.update(other.given_up)

    def to_json(self) -> dict[str, Any]:
        """The account as plain values; ``records`` is the sum of the next four."""
        return {
            "records": self.records,
            "used": self.used,
            "passed_over": self.passed_over,
            "not_used": self.n_dead,
            "tombstones": self.tombstones,
            "reasons": dict(self.dead_letters.most_common()),
            "given_up": dict(self.given_up.most_common()),
        }


def account_of(
    values: Sequence[bytes | None],
    events: Sequence[Event],
    counts: Sequence[int],
    outputs: Sequence[Output],
    selection: Selection = EVERYTHING,
) -> Account:
    """The account of one committed batch.

    Parameters
    ----------
    values : the value of each record; None for a tombstone
    events, counts : the decoded events of all records in order, and the number of events of each record
    outputs : the outputs of the core for these events
    selection : which responses the core took
    """
    account = Account()
    remaining = iter(events)
    rejected: dict[int, int] = {}
    reasons: list[RejectReason | None] = []
    for number, (value, n_events) in enumerate(zip(values, counts, strict=True)):
        reason: RejectReason | None = None
        n_others = 0
        for _ in range(n_events):
            event = next(remaining)
            n_others += selection.passes_over(event)
            if isinstance(event, Rejected):
                reason, rejected[id(event)] = event.reason, number
        reasons.append(reason)
        account.tombstones += value is None and not n_events
        account.passed_over += 0 < n_others == n_events
    refusals = [output for output in outputs if isinstance(output, Rejected)]
    named, at = _named(events, counts) if refusals else {}, 0
    for refused in refusals:
        if id(refused) in rejected:
            at = rejected[id(refused)]
            continue
        numbers = named.get(_name(refused.event) or (False, ""), deque())
        # events take effect in order: a record before the last one that was refused had been used
        while numbers and numbers[0] < at:
            numbers.popleft()
        if refused.reason in GIVEN_UP or not numbers:
            account.given_up[refused.reason] += 1
        else:
            at = numbers.popleft()
            reasons[at] = reasons[at] or refused.reason
    account.dead_letters.update(filter(None, reasons))
    account.used = len(values) - account.n_dead - account.tombstones - account.passed_over
    return account


def _named(events: Sequence[Event], counts: Sequence[int]) -> dict[tuple[bool, str], deque[int]]:
    """The records of each name in a batch, in order."""
    named: dict[tuple[bool, str], deque[int]] = defaultdict(deque)
    numbers = (number for number, n_events in enumerate(counts) for _ in range(n_events))
    for number, event in zip(numbers, events, strict=True):
        if (name := _name(event)) is not None:
            named[name].append(number)
    return named


def _name(event: Event | None) -> tuple[bool, str] | None:
    """What names a response, a piece of one, or a label within a batch."""
    if isinstance(event, Arrival):
        event = event.generation
    elif isinstance(event, Chunk):
        event = event.piece
    if isinstance(event, Label):
        return True, event.label_id
    return (False, event.id) if isinstance(event, Generation) else None
