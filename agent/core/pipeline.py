"""THE MAIN LINE: events in, outputs out. Pure: no I/O, no clock, and all randomness comes from seeds.

A `Pipeline` is a function of (state, events, memory). Features depend on no state, so they are computed first, for the
whole batch at once. Then the events take effect in log order. What is emitted, and when, depends on the events alone
(their number and their time), never on where one batch ends and the next begins.

    Response -> features -> predict -> window          Label -> join -> score -> learn -> window
    event time reaches a boundary -> estimate -> drift -> acquire

The parts: `Responses` (a response arrives), `Pieces` (a piece of a response arrives), `Labels` (a label arrives),
`EventTime` (event time passes), `Emission` (what is estimated and emitted), `Watching` (what is watched).
"""

from __future__ import annotations

from collections.abc import Sequence

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.emission import Emission
from driftgauge.agent.core.event_time import EventTime
from driftgauge.agent.core.labels import Labels
from driftgauge.agent.core.learning import Learning
from driftgauge.agent.core.pieces import Pieces
from driftgauge.agent.core.responses import Responses
from driftgauge.agent.core.roster import Roster
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.core.watching import Watching
from driftgauge.models.events import Arrival, Chunk, Event, Label, Pause, Rejected, Tick
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Output
from driftgauge.models.signals.arrivals import with_features
from driftgauge.models.topic_scale import OUT_OF_SCALE

GO_ON_EVERY_EVENTS, GO_ON_EVERY_S = 100, 10.0
"""Events, and seconds of event time, after which some more of the windows that are due are estimated."""

TIME_EVERY_EVENTS = 5
"""Events after which event time is looked at, so that one event causes little work where event time runs fast."""


class Pipeline:
    """The agent without its surroundings: usable as a library with any `Memory`."""

    def __init__(self, settings: PipelineSettings, state: State | None = None) -> None:
        self.settings = settings
        self.state = State(settings) if state is None else state

    @classmethod
    def resume(cls, settings: PipelineSettings, memory: Memory) -> Pipeline:
        """Continue from the state that this memory holds."""
        return cls(settings, State.resume(settings, memory))

    def step(self, events: Sequence[Event], memory: Memory) -> list[Output]:
        """Apply events in order and return the outputs.

        The memory is one transaction. When that transaction fails, this pipeline is ahead of the memory: drop it and
        resume another one.
        """
        settings = self.settings
        mine = [event for event in events if not settings.selection.passes_over(event)]
        if n_others := len(events) - len(mine):
            self.state.counters["responses_passed_over"] += n_others
        events = with_features(mine, settings.features, min_coverage=settings.min_coverage)
        step = _Step(Batch(settings, self.state, memory))
        outputs = step.apply(events)
        memory.save_state(self.state.changes())
        self.state.retired.save(memory, self.state.contexts, self.state.domains)
        return outputs

    def score_ahead(self, max_rows: int) -> None:
        """Compute scores that the next boundary needs, of some ``max_rows`` rows. It changes no output."""
        n_rows = 0
        for series, domain in self.state.domains.items():
            if n_rows >= max_rows:
                break
            n_rows += domain.window.score_ahead(self.state.contexts[series.fingerprint].estimator, series.domain)


class _Step:
    """One batch of events on the parts that apply them."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        roster, watching = Roster(batch), Watching(batch)
        self.emission = Emission(batch, roster)
        self.labels = Labels(batch, roster, Learning(batch, roster), watching, self.emission)
        self.responses = Responses(batch, roster, self.labels, watching, self.emission)
        self.pieces = Pieces(batch, self.responses)
        self.time = EventTime(batch, self.responses, self.pieces, self.labels, self.emission)
        batch.before_emit = self.responses.flush

    def apply(self, events: Sequence[Event]) -> list[Output]:
        self.batch.recall(events)
        for event in events:
            self._apply(event)
            self._count(event)
        self.responses.flush()
        self.batch.save_stale()
        return self.batch.outputs

    def _count(self, event: Event) -> None:
        """Emit some of the estimates that are due every so often, in events or event time, and when time is ticked."""
        state = self.batch.state
        state.n_events += 1
        if not state.is_behind:
            return
        is_time = state.n_events % TIME_EVERY_EVENTS == 0 and state.event_time >= state.corrected_at + GO_ON_EVERY_S
        if is_time or state.n_events % GO_ON_EVERY_EVENTS == 0 or isinstance(event, Tick):
            self.responses.flush()
            self.emission.go_on()

    def _apply(self, event: Event) -> None:
        if isinstance(event, Arrival):
            self._respond(event)
        elif isinstance(event, Chunk):
            if not self.time.refuses(event.piece, event.piece.signal.form):
                for arrival in self.pieces.take(event):
                    self._respond(arrival)
        elif isinstance(event, Label):
            self.responses.flush()
            self.labels.take(event)
        elif isinstance(event, Tick):
            for arrival in self.time.tick(event.event_time):
                self._respond(arrival)
            self.responses.flush()
            self.emission.make_stale_due()
        elif isinstance(event, Pause):
            self.responses.flush()
            self.emission.emit_early()
        elif isinstance(event, Rejected):
            self.batch.reject(event)
            if event.reason == OUT_OF_SCALE:
                self.labels.see_out_of_scale(event.topic)

    def _respond(self, arrival: Arrival) -> None:
        generation, state = arrival.generation, self.batch.state
        if self.responses.is_known(generation.id):
            self.responses.accept_again(arrival)
            return
        state.assembly.discard(generation.id)
        if self.time.refuses(generation, arrival.form):
            return
        arrival = self.time.dated(arrival)
        for completed in self.time.observe(arrival.generation, arrival.form):
            self._respond(completed)
        self.responses.accept(arrival)
