"""Label lists: at the end of each period the responses that should be labelled, one list for each series.

The budget is divided among the series when the period ends. Their lists are drawn one after another with the events
that follow, so that no batch takes long. A list is a function of the seed, the series, the period and the stored
responses, so a replay gives the same one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.roster import Roster
from driftgauge.agent.core.state import DueList
from driftgauge.models.acquire.allocation import Need, allocate, by_width
from driftgauge.models.acquire.label_lists import Answers, answers, drawn, seed_of
from driftgauge.models.estimate.candidates import surprisal_logits
from driftgauge.models.links import link_to
from driftgauge.models.memory import Unlabelled
from driftgauge.models.outputs import Estimate, LabelList, LabelRequest
from driftgauge.models.probes import is_probe_context
from driftgauge.models.series import SeriesKey
from driftgauge.models.windows import usable

MAX_CANDIDATES = 2_000
"""Responses of one series that a list is drawn from; of more in a period, a random sample of them."""

MAX_REQUESTS = 1_000
"""Requests of one list, so that its message stays below a megabyte."""


class Listing:
    """Makes the label lists of a batch."""

    def __init__(self, batch: Batch, roster: Roster) -> None:
        self._batch = batch
        self._roster = roster
        self._plan = batch.settings.label_plan

    def close(self, boundary: float) -> None:
        """A boundary was closed: divide the budget of each period that has ended and has no lists."""
        state, windows = self._batch.state, self._batch.settings.windows
        if not self._plan.budget.n:
            return
        if state.period_end == -math.inf:
            state.period_end = self._plan.end_before(boundary)
        passed = windows.boundary_after(state.watermark) - windows.hop_s
        while state.period_end <= passed:
            self.go_on(math.inf)
            self._begin(state.period_end)
            state.period_end = self._next(passed)

    def go_on(self, limit: float) -> None:
        """Draw at most ``limit`` of the lists that are due."""
        due = self._batch.state.due_lists
        while due and limit > 0:
            self._draw(due.pop(0))
            limit -= 1

    def _next(self, passed: float) -> float:
        """The end of the next period with responses; of the period in progress where the others have none."""
        state = self._batch.state
        first = (domain.window.first_time(state.period_end) for domain in state.domains.values())
        return self._plan.end_after(min((passed, *first)))

    def _begin(self, period_end: float) -> None:
        """Divide the budget among the live domains; probes have labels already."""
        state, plan = self._batch.state, self._plan
        live = [domain for series, domain in sorted(state.domains.items()) if not is_probe_context(series.fingerprint)]
        needs = [self._need(domain, period_end) for domain in live]
        numbers = allocate(needs, replace(plan.budget, n=self._at_most(plan.budget.n)))
        chosen = [i for i in by_width(needs) if numbers[i]]
        state.due_lists = [
            DueList(live[i].series, period_end, rank, int(numbers[i])) for rank, i in enumerate(chosen, start=1)
        ]

    def _need(self, domain: DomainState, period_end: float) -> Need:
        start, estimate = period_end - self._plan.period_s, domain.last_estimate
        found = self._batch.memory.unlabelled(domain.series, start, period_end, 0, 0)  # their numbers alone
        n, traffic = min(found.n_responses - found.n_labelled, MAX_REQUESTS), float(found.n_responses)
        if estimate is None or estimate.ci_low is None or estimate.ci_high is None:
            return Need(1.0, 0 if estimate is None else estimate.n_labels, n, traffic=traffic)
        target = self._batch.settings.targets.get(domain.series.domain, self._batch.settings.default_target)
        shortfall = max(target - estimate.ci_low, 0.0)
        return Need(estimate.ci_high - estimate.ci_low, estimate.n_labels, n, shortfall, traffic)

    def _draw(self, due: DueList) -> None:
        """Draw and emit one list; what earlier requests did not bring is asked for again."""
        batch, plan, series = self._batch, self._plan, due.series
        context, start = self._roster.context(series.fingerprint), due.period_end - plan.period_s
        if context is None:
            return
        seed = seed_of(plan.seed, series, due.period_end)
        found = batch.memory.unlabelled(series, start, due.period_end, MAX_CANDIDATES, seed)
        if not len(found.rows):
            return
        earlier = self._answers(series, due.period_end)
        n = self._at_most(due.n + min(earlier.n_missing, due.n))
        requests = self._requests(series, found, min(n, MAX_REQUESTS), seed)
        domain = batch.state.domains.get(series)
        made = LabelList(
            domain=series.domain,
            fingerprint=series.fingerprint,
            model=context.model,
            period_start=start,
            period_end=due.period_end,
            expires=due.period_end + plan.expires_after * plan.period_s,
            rank=due.rank,
            plan=plan.within,
            reason=_reason(None if domain is None else domain.last_estimate, earlier),
            n_responses=found.n_responses,
            n_labelled=found.n_labelled,
            n_asked=earlier.n_asked,
            n_answered=earlier.n_answered,
            p_answered=earlier.p_answered,
            p_unanswered=earlier.p_unanswered,
            requests=requests,
        )
        batch.state.counters["label_lists"] += 1
        batch.state.counters["label_requests"] += len(requests)
        batch.label_lists.append(made)
        batch.emit(made)

    def _at_most(self, n: int) -> int:
        """Of ``n`` requests those that the number in all leaves, besides the lists that are due."""
        state = self._batch.state
        if not self._plan.n_in_all:
            return n
        left = self._plan.n_in_all - state.counters["label_requests"] - sum(due.n for due in state.due_lists)
        return max(0, min(n, left))

    def _requests(self, series: SeriesKey, found: Unlabelled, n: int, seed: int) -> tuple[LabelRequest, ...]:
        rows, plan = found.rows, self._plan
        kept = len(rows) / (found.n_responses - found.n_labelled)
        is_usable = usable(rows.features)  # estimates are about these
        at = np.flatnonzero(is_usable) if is_usable.any() else np.arange(len(rows))
        signal = surprisal_logits(rows.features[at]) if is_usable.any() else np.full(len(at), np.nan)
        taken = drawn(plan.within, n, surprisal=signal, p_correct=rows.p_correct[at], kept=kept, seed=seed)
        stored = self._batch.memory.responses([str(rows.id[at[i]]) for i, _ in taken])
        aliases = self._batch.memory.aliases_of(list(stored.values()))
        requests = list[LabelRequest]()
        for rank, (i, probability) in enumerate(taken, start=1):
            row = stored[str(rows.id[at[i]])]
            requests.append(
                LabelRequest(
                    rank=rank,
                    response_id=row.id,
                    event_time=row.event_time,
                    inclusion_probability=probability,
                    p_correct=None if math.isnan(row.p_correct) else row.p_correct,
                    aliases=tuple(aliases.get(row.id, ())),
                    slices=row.slices,
                    link=link_to(plan.link, {"domain": series.domain, "response_id": row.id}),
                )
            )
        return tuple(requests)

    def _answers(self, series: SeriesKey, now: float) -> Answers:
        """What became of the requests that expired since the last list of this series."""
        memory, limit = self._batch.memory, self._plan.expires_after + 1
        here = [made for made in self._batch.label_lists if made.series == series]
        lists = (here[::-1] + memory.label_lists(series, limit))[:limit]
        since = lists[0].period_end if lists else now
        expired = [made for made in lists if since < made.expires <= now]
        ids = [request.response_id for made in expired for request in made.requests]
        return answers(expired, memory.responses(ids) if ids else {})


def _reason(estimate: Estimate | None, earlier: Answers) -> str:
    if estimate is None or estimate.ci_low is None or estimate.ci_high is None:
        why = "no estimate yet"
    else:
        why = f"interval {estimate.ci_high - estimate.ci_low:.2f} wide with {estimate.n_labels} labels"
    if not earlier.n_missing:
        return why
    why += f"; {earlier.n_missing} of {earlier.n_asked} earlier requests brought no label, newer responses replace them"
    if earlier.p_answered is None or earlier.p_unanswered is None:
        return why
    return f"{why} (mean p_correct {earlier.p_unanswered:.2f}, of the others {earlier.p_answered:.2f})"
