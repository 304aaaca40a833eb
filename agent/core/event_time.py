"""Event time passes: when it reaches a boundary, the windows that end there are closed.

Event time is that of the slowest active partition (`EventClock`). One producer with a wrong clock cannot move it:

* An event that is more than ``max_ahead_s`` ahead of the broker's time of its record is a dead letter.
* Where no broker says the time (files), an event more than ``max_jump_s`` ahead of the others is kept, but event time
  moves only when most events agree.
* An event of a file that has no time at all is dated like the newest one before it in that file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec.structs import replace

from driftgauge.agent.core.alert_time import age_alerts
from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.emission import Emission
from driftgauge.agent.core.labels import Labels
from driftgauge.agent.core.pieces import Pieces
from driftgauge.agent.core.responses import Responses, fingerprint_of
from driftgauge.agent.core.serving import suspect_model
from driftgauge.models.events import Arrival, Generation, Rejected, SignalForm
from driftgauge.models.series import ALL_DOMAINS, SeriesKey


class EventTime:
    """Advances event time. It goes back only before the first estimate, when the stream turns out to start earlier."""

    def __init__(self, batch: Batch, responses: Responses, pieces: Pieces, labels: Labels, emission: Emission) -> None:
        self._batch = batch
        self._responses = responses
        self._pieces = pieces
        self._labels = labels
        self._emission = emission

    def refuses(self, generation: Generation, form: SignalForm) -> bool:
        """Whether an event time cannot be true; the event is then rejected. ``form``: that of the signal as it came."""
        broker_time, bound_s = generation.origin.broker_time, self._batch.settings.max_ahead_s
        if broker_time is None or generation.event_time <= broker_time + bound_s:
            return False
        if not self._batch.settings.selection.takes(generation):
            return True  # a piece of a response of another agent, which rejects it
        ahead_s = generation.event_time - broker_time
        detail = f"{ahead_s:.0f} s ahead of the time of its record; the bound is {bound_s:.0f} (max_ahead_s)"
        self._batch.reject(Rejected("event_time_ahead", detail, key=generation.id.encode(), event=generation))
        self._alert(generation, form, ahead_s, "it is a dead letter")
        return True

    def dated(self, arrival: Arrival) -> Arrival:
        """The arrival, with the time of its file where it has none itself."""
        generation = arrival.generation
        known = self._batch.state.clock.of(generation.origin.partition)
        if not generation.lacks_time or known <= 0:
            return arrival
        problems = {**generation.problems, "no_time": 1}
        return replace(arrival, generation=replace(generation, event_time=known, problems=problems))

    def observe(self, generation: Generation, form: SignalForm) -> Iterator[Arrival]:
        """Take the event time of a response; yield the responses that time completes."""
        state, settings = self._batch.state, self._batch.settings
        origin, before = generation.origin, state.clock.furthest
        reached = state.clock.of(origin.partition)
        jump_s = settings.max_jump_s if origin.broker_time is None else math.inf
        if not state.clock.observe(origin.partition, generation.event_time, jump_s):
            state.counters["responses_ahead"] += 1
            ahead_s = generation.event_time - before
            self._alert(generation, form, ahead_s, "it is kept and does not move event time")
        if state.clock.of(origin.partition) < reached:  # it had been started too far ahead
            state.counters["responses_ahead"] += state.clock.partitions[origin.partition].n_ahead(jump_s)
        yield from self._move(state.clock.event_time)
        yield from self._pieces.overdue()

    def tick(self, event_time: float) -> Iterator[Arrival]:
        """Move event time of all partitions on to this time; yield the responses that time completes."""
        self._batch.state.clock.tick(event_time)
        if event_time > self._batch.state.event_time:
            yield from self._move(event_time)
        yield from self._pieces.overdue()

    def _move(self, event_time: float) -> Iterator[Arrival]:
        state, windows = self._batch.state, self._batch.settings.windows
        if event_time == -math.inf:
            return
        boundary = windows.boundary_after(event_time - self._batch.settings.allowed_lateness_s)
        if event_time < state.event_time and not state.counters["estimates"]:
            self._responses.flush()
            state.event_time, state.boundary = event_time, boundary
        if event_time <= state.event_time:
            return
        if boundary > state.boundary > -math.inf:
            self._responses.flush()
            state.event_time = event_time
            for end in self._ends(boundary):
                if end >= state.boundary:  # a response completed meanwhile may have closed it
                    yield from self._close(end)
                    state.boundary = max(state.boundary, windows.boundary_after(end))
            suspect_model(self._batch, boundary - windows.hop_s)
            age_alerts(self._batch, boundary - windows.hop_s)
            self._emission.end_periods()
            state.boundary = max(state.boundary, boundary)
            for series in sorted(state.domains):
                state.domains[series].window.forget(min(boundary, state.open_end(series)) - windows.window_s)
        state.event_time = event_time
        state.boundary = max(boundary, state.boundary)

    def _ends(self, boundary: float) -> list[float]:
        """Boundaries to close before this one: the present one, and each later one whose window has new responses."""
        state, windows = self._batch.state, self._batch.settings.windows
        ends = {state.boundary}
        for domain in state.domains.values():
            ends.update(domain.window.ends_of_rows(state.boundary, boundary - windows.hop_s))
        ends.update(end for _, end in state.open_marks if end < boundary)
        return sorted(ends)

    def _close(self, boundary: float) -> Iterator[Arrival]:
        """Emit what ends at this boundary; evict responses and labels that have waited for too long."""
        self._emission.close(boundary)
        yield from self._pieces.expire()
        self._labels.expire()

    def _alert(self, generation: Generation, form: SignalForm, ahead_s: float, effect: str) -> None:
        series = SeriesKey(ALL_DOMAINS, fingerprint_of(generation.context, form))
        model = generation.context.model or "(unnamed)"
        message = f"a response of model {model} is dated {ahead_s:.0f} s ahead: {effect}; is a clock or a unit wrong?"
        at = max(self._batch.state.event_time, 0.0)
        self._batch.alert("wrong_clock", series, "event_time", message, at=at, rows=[generation.id])
