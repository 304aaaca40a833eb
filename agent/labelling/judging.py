"""A run of the judge: draws responses, asks for verdicts within a budget, and gives labels.

The responses are asked in the order of their place in the draw. When the budget ends, those asked so far are therefore
a random part too, and the place of the first one that was not asked is the probability with which it was drawn. The
ledger keeps every verdict and its cost, so that no response is paid for twice; a crash loses at most what was being
asked. Memory is bounded by `MAX_ITEMS` texts and the verdicts of `KEPT_S`.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from driftgauge.agent.labelling.budget import DAY_S, Budget, Spent, day_of
from driftgauge.agent.labelling.judge import Item, JudgeRules, verdict_in
from driftgauge.connectors.files.journal import Journal
from driftgauge.connectors.http_exchange import Reply
from driftgauge.connectors.model_server import CHAT, ModelServer, patient_exchange, read_chat_answer
from driftgauge.models.events import Label

MAX_ITEMS = 20_000
"""Responses of one run at most, whatever the budget allows."""

KEPT_S = 90 * DAY_S
"""Seconds for which verdicts and costs are kept."""

MAX_FAILURES_IN_A_ROW = 5
HOPELESS = frozenset({401, 403, 404, 405})
"""Statuses that the next request will get too, as it will a redirect."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the ledger: what was spent, and what is known of a response.

    A verdict that cannot be read is ``correct`` None. ``probability`` and ``labelled_at`` are those of the label that
    was given last.
    """

    at: float
    calls: int = 0
    sent: int = 0
    received: int = 0
    response_id: str = ""
    judge: str = ""
    correct: bool | None = None
    probability: float | None = None
    labelled_at: float | None = None


@dataclass
class JudgeRun:
    """What became of the responses of one run, by count.

    Attributes
    ----------
    read, drawn : responses with their texts; those of them in the draw
    known : drawn ones that had a verdict already
    failed : drawn ones without a verdict, by reason; ``unparsable``: the answer was no verdict
    not_asked : drawn ones that the run did not come to
    ended : why it did not; "" where it did
    is_within_budget : whether it did not because of a limit of the settings
    labels : that were given
    """

    read: int = 0
    drawn: int = 0
    known: int = 0
    judged: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    not_asked: int = 0
    ended: str = ""
    is_within_budget: bool = True
    labels: int = 0
    spent: Spent = field(default_factory=Spent)
    cost: float = 0.0


class _Drawn(NamedTuple):
    place: float
    item: Item


def open_ledger(ledger: Journal[Entry], now: float) -> list[Entry]:
    """The entries of the last `KEPT_S` seconds; older ones are removed from the file."""
    entries = ledger.read()
    kept = [entry for entry in entries if entry.at >= now - KEPT_S]
    if len(kept) < len(entries):
        ledger.replace(kept)
    return kept


def spent_by_day(entries: Iterable[Entry]) -> dict[int, Spent]:
    """What was spent on each day."""
    days: dict[int, Spent] = {}
    for entry in entries:
        day = day_of(entry.at)
        days[day] = days.get(day, Spent()) + Spent(entry.calls, entry.sent, entry.received)
    return days


class Judging:
    """Runs a judge.

    Parameters
    ----------
    entries : of the ledger
    concurrency : requests at a time
    max_text_bytes : of prompt and response; longer ones are not judged (``too_long``)
    pause : waits these seconds; returns True when the run is to end
    now : UTC seconds
    """

    def __init__(
        self,
        rules: JudgeRules,
        server: ModelServer,
        ledger: Journal[Entry],
        entries: Iterable[Entry],
        budget: Budget,
        *,
        concurrency: int = 4,
        max_text_bytes: int = 64 * 1024,
        pause: Callable[[float], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rules, self._server, self._ledger, self._budget = rules, server, ledger, budget
        self._concurrency, self._max_text_bytes = concurrency, max_text_bytes
        self._pause, self._now = pause, now
        self._known = {entry.response_id: entry for entry in entries if entry.response_id and entry.judge == rules.name}
        self._failures = 0

    def run(self, items: Iterable[Item]) -> tuple[JudgeRun, list[Label]]:
        """Judge the responses that are drawn; returns the counts, and the labels of all drawn ones with a verdict."""
        run = JudgeRun()
        known, todo, n_new = self._draw(items, run)
        n_asked = self._ask_all(todo, run)
        run.not_asked = n_new - n_asked
        if run.not_asked and not run.ended:
            run.ended = "the limit of requests is reached"
        probability = todo[n_asked].place if run.not_asked else self._rules.share
        labels = self._labels([*known, *(drawn.item.response_id for drawn in todo[:n_asked])], probability)
        run.labels, run.spent, run.cost = len(labels), self._budget.spent, self._budget.prices.cost(self._budget.spent)
        return run, labels

    def _draw(self, items: Iterable[Item], run: JudgeRun) -> tuple[list[str], list[_Drawn], int]:
        """The ids of drawn responses that are known, the first new ones in the order of the draw, and how many are new.

        There is one more than may be asked, if there are more.
        """
        known, seen, n_new = list[str](), set[str](), 0

        def new() -> Iterator[_Drawn]:
            nonlocal n_new
            for item in items:
                run.read += 1
                place = self._rules.place(item.response_id)
                if place >= self._rules.share or item.response_id in seen:
                    continue
                run.drawn += 1
                seen.add(item.response_id)
                if item.response_id in self._known:
                    known.append(item.response_id)
                elif len(item.prompt.encode()) + len(item.response.encode()) > self._max_text_bytes:
                    run.failed["too_long"] += 1
                else:
                    n_new += 1
                    yield _Drawn(place, item)

        left = self._budget.calls_left(self._now())
        most = MAX_ITEMS if left is None else min(max(left, 0), MAX_ITEMS)
        first = heapq.nsmallest(most + 1, new())
        run.known = len(known)
        return known, first, n_new

    def _ask_all(self, todo: Sequence[_Drawn], run: JudgeRun) -> int:
        """Ask for verdicts, in order, until something ends the run; returns how many were asked."""
        open_requests: set[Future[tuple[Item, Reply, Entry]]] = set()
        n_asked = 0
        with ThreadPoolExecutor(self._concurrency) as pool:
            for _, item in todo[:MAX_ITEMS]:
                body = self._rules.body(item)
                most = Spent(1, len(body), self._rules.max_answer_tokens)
                while len(open_requests) == self._concurrency or not self._budget.reserve(most, at := self._now()):
                    if not open_requests:
                        run.ended = "the budget is spent"
                        return n_asked
                    open_requests = self._settle(open_requests, run)  # it may have cost less than was reserved
                if run.ended or self._pause(0.0):
                    run.ended, run.is_within_budget = run.ended or "it was stopped", False
                    self._budget.settle(most, Spent(), at)
                    break
                n_asked += 1
                open_requests.add(pool.submit(self._ask, item, body, most, at))
            while open_requests:
                open_requests = self._settle(open_requests, run)
        return n_asked

    def _ask(self, item: Item, body: bytes, most: Spent, at: float) -> tuple[Item, Reply, Entry]:
        """In a thread: ask, perhaps several times. ``most`` is reserved for the first request."""
        total, reserved_at = Spent(), at

        def send() -> Reply:
            nonlocal total
            reply = self._server.exchange("POST", CHAT, body)
            actual = _cost(reply, most)
            self._budget.settle(most, actual, reserved_at)
            total += actual
            return reply

        def may_not_go_on(seconds: float) -> bool:
            nonlocal reserved_at
            if self._pause(seconds):
                return True
            reserved_at = self._now()
            return not self._budget.reserve(most, reserved_at)

        reply = patient_exchange(send, may_not_go_on)
        return item, reply, Entry(self._now(), total.calls, total.sent, total.received)

    def _settle(
        self, open_requests: set[Future[tuple[Item, Reply, Entry]]], run: JudgeRun
    ) -> set[Future[tuple[Item, Reply, Entry]]]:
        """Wait for a request to end, and note what it gave; returns those that are open."""
        done, still_open = wait(open_requests, return_when=FIRST_COMPLETED)
        for future in done:
            item, reply, entry = future.result()
            answer = read_chat_answer(reply.body) if reply.status == 200 else None
            if answer is None:
                self._failed(reply, run)
            else:
                correct = verdict_in(answer.text)
                entry = msgspec.structs.replace(
                    entry, response_id=item.response_id, judge=self._rules.name, correct=correct
                )
                self._known[item.response_id] = entry
                self._failures = 0
                run.judged += correct is not None
                run.failed.update({} if correct is not None else {"unparsable": 1})
            self._ledger.append([entry])
        return still_open

    def _failed(self, reply: Reply, run: JudgeRun) -> None:
        reason = {0: "no_answer", 200: "unreadable"}.get(reply.status, f"status_{reply.status}")
        run.failed[reason] += 1
        self._failures += 1
        if reply.status in HOPELESS or 300 <= reply.status < 400:
            hint = ": a redirect is not followed, set judge.url to where it leads" if reply.status < 400 else ""
            run.ended = f"the server answers with status {reply.status}{hint}"
        elif self._failures == MAX_FAILURES_IN_A_ROW:
            run.ended = f"{MAX_FAILURES_IN_A_ROW} requests in a row failed ({reason})"
        else:
            return
        run.is_within_budget = False

    def _labels(self, names: Iterable[str], probability: float) -> list[Label]:
        """The labels of these responses, as far as they have a verdict and were drawn with a known probability.

        A label that was given with a larger probability stays as it is.
        """
        made, changed, now = list[Label](), list[Entry](), self._now()
        for name in sorted(names, key=self._rules.place):
            entry = self._known.get(name)
            correct = None if entry is None else entry.correct
            if entry is None or correct is None:
                continue
            if self._rules.place(name) < probability and (entry.probability or 0.0) < probability:
                entry = msgspec.structs.replace(
                    entry, calls=0, sent=0, received=0, probability=probability, labelled_at=now
                )
                self._known[name] = entry
                changed.append(entry)
            if entry.probability is not None and entry.labelled_at is not None:
                made.append(self._rules.label(name, correct, entry.probability, entry.labelled_at))
        self._ledger.append(changed)
        return made


def _cost(reply: Reply, most: Spent) -> Spent:
    """What a request cost. An answer that is missing or does not say it may have cost the most."""
    if reply.status not in (0, 200):
        return Spent(calls=1)
    answer = read_chat_answer(reply.body) if reply.status else None
    if answer is None or answer.n_prompt_tokens is None or answer.n_completion_tokens is None:
        return most
    return Spent(1, answer.n_prompt_tokens, answer.n_completion_tokens)


def lines(run: JudgeRun) -> Iterator[str]:
    """The counts for people."""
    yield f"{run.read} responses read, {run.drawn} drawn, {run.known} of them judged before; {run.judged} judged now"
    if run.failed:
        yield "without a verdict: " + ", ".join(f"{reason} {n}" for reason, n in run.failed.most_common())
    if run.ended:
        yield f"{run.not_asked} not asked: {run.ended}"
    tokens = f"{run.spent.sent:,} tokens sent and {run.spent.received:,} received"
    yield f"{run.spent.calls:,} requests, {tokens}" + (f", cost {run.cost:.4f}" if run.cost else "")
    yield f"{run.labels} labels"


def to_json(run: JudgeRun) -> dict[str, Any]:
    """The counts as plain values."""
    return msgspec.to_builtins(run)  # type: ignore[no-any-return]  # a dataclass becomes a dict
