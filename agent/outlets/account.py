"""What became of the records, for those who run the agent: in sentences, in JSON, and as an observer of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.phrases import count, counts
from driftgauge.connectors.base import Record
from driftgauge.models.account import Account
from driftgauge.models.outputs import Output
from driftgauge.models.pending import PendingLabels

_ADVICE = {
    "id_conflict": "Ids of responses repeat with other content: configure decode.response_id.",
    "label_conflict": "Labels contradict others of the same label_id and time: send the time of the last change.",
    "labels_out_of_scale": "Scores of labels leave the scale: configure labels.scale.",
}
"""What to do, by the reason of dead letters that a setting or the producer can prevent."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is used and not finished at the end of a run: responses without their last piece, and with a far time.

    Attributes
    ----------
    in_flight : responses of which a piece is missing
    ahead : responses dated so far ahead of the others that they did not move event time
    """

    in_flight: int = 0
    ahead: int = 0


class FinalAccount(Observer):
    """An observer of the loop that keeps the account and what waits."""

    def __init__(self, records: Account | None = None, waiting: Waiting | None = None) -> None:
        self.records = records or Account()
        self.waiting = waiting or Waiting()
        self.pending = PendingLabels(0, None)
        """Labels that met no response, where the store was asked for them."""

    def resumed(self, state: State) -> None:
        """Note what waits."""
        self.waiting = Waiting(len(state.assembly.in_flight), state.counters["responses_ahead"])

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: State) -> None:  # noqa: ARG002 - an observer's shape
        """Note what waits."""
        self.waiting = Waiting(len(state.assembly.in_flight), state.counters["responses_ahead"])

    def account(self, account: Account) -> None:
        """Note what became of the records."""
        self.records = account

    def to_json(self) -> dict[str, Any]:
        """The account and what waits as plain values."""
        return {
            **self.records.to_json(),
            "in_flight": self.waiting.in_flight,
            "responses_ahead": self.waiting.ahead,
            "labels_pending": self.pending.n,
            "labels_pending_causes": dict(self.pending.causes),
        }

    def lines(self, dead_letters: str = "") -> Iterator[str]:
        """The account in sentences; ``dead_letters`` is the command that lists them, where a store keeps them."""
        yield from account_lines(self.records, dead_letters)
        if n := self.waiting.in_flight:
            yield f"{n:,} response{'s wait' if n > 1 else ' waits'} for the last piece."
        if n := self.waiting.ahead:
            yield f"{n:,} response{'s are' if n > 1 else ' is'} dated far ahead: is a clock or a unit wrong?"


def account_lines(account: Account, dead_letters: str = "") -> Iterator[str]:
    """The account of records in sentences.

    >>> from collections import Counter
    >>> account = Account(used=2, dead_letters=Counter(malformed=1))
    >>> print(*account_lines(account, "driftgauge dead-letters list"))
    1 of 3 records could not be used: malformed 1 (driftgauge dead-letters list).
    """
    n, n_dead = account.records, account.n_dead
    how = f": {counts(account.dead_letters)}{f' ({dead_letters})' if dead_letters else ''}." if n_dead else "."
    if not n:
        yield "There was no record."
    elif not account.used:
        yield f"None of {n:,} records could be used{how}"
    elif n_dead:
        yield f"{n_dead:,} of {n:,} records could not be used{how}"
    else:
        ignored = " or ignored" if account.tombstones or account.passed_over else ""
        yield f"{count(n, 'record')}, all used{ignored}."
    if account.passed_over:
        yield f"{account.passed_over:,} with responses of other agents passed over (select)."
    if account.tombstones:
        yield f"{account.tombstones:,} without a value ignored."
    if account.given_up:
        yield f"Given up after they were read: {counts(account.given_up)}."
    found = account.dead_letters.keys() | account.given_up.keys()
    yield from (advice for reason, advice in _ADVICE.items() if reason in found)
