"""The state that the core keeps between batches, and how it is saved and restored.

Each kind of state is saved under separate names, so that a batch writes only what it touched: the stream as a whole
(``stream``), the parts of each context (``context/...``), each domain in a context (``domain/...``), each response in
flight (``flight/...``), the judgement of the labels of each topic (``scale/...``), each open alert (``alert/...``), the
open windows of series that left (``open_marks``), the watch of each context (``watch/...``), the history of each
domain's presence (``roll_call``), and the topics of traffic without domains (``topics``). Windows are not saved: they
are rebuilt from the stored rows. The state of contexts and domains that left is stored apart (`Retired`), and only its
names are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from driftgauge.agent.core.context_state import ContextState, context_parts, contexts_saved, under
from driftgauge.agent.core.context_watch import ContextWatch, watch_name
from driftgauge.agent.core.domain_state import DOMAIN, DomainState, domain_name
from driftgauge.agent.core.retired import Retired
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.alerts.book import AlertBook
from driftgauge.models.event_clock import EventClock
from driftgauge.models.labels import AnnotatorPairs, LabelDelays
from driftgauge.models.memory import Memory
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.assembly import Assembly
from driftgauge.models.topic_scale import TopicScale
from driftgauge.models.topics.clustering import Topics
from driftgauge.models.watch.allowance import Allowance
from driftgauge.models.watch.roll_call import RollCall

MAX_TOPICS = 100
OVERFLOW_TOPIC = "(other)"

ALLOWANCES = ("responses", "labels", "traffic_mix", "label_delays")
"""Kinds of values that detectors take; each kind hands out event time on its own."""

OVERFLOW_DOMAIN = "(other)"
"""The domain that takes the responses of further domains while ``max_domains`` of them are busy."""


def _without_stale(saved: list[Any]) -> list[Any]:
    """Format 1 held the marks of stale windows, which the migration of the store moved into a table."""
    scalars, counters, delays, stale, n_news, *time = saved
    clocks = time[0] if time else [[], -math.inf]  # version 0.1.0 had one event time for all partitions
    return [[*scalars, 0, len(stale), 0, -math.inf], counters, delays, n_news, clocks]


def _without_closing(saved: list[Any]) -> list[Any]:
    """Format 2 closed every boundary at once."""
    return [*saved, None]


def _without_lists(saved: list[Any]) -> list[Any]:
    """Format 3 had no label lists, and did not count how annotators agree."""
    return [*saved, [-math.inf, []], [0, 0]]


def _with_alert_time(saved: list[Any]) -> list[Any]:
    """Format 4 held the time of the last alert about a wrong clock, which is an open alert now."""
    *before, clocks, closing, lists, pairs = saved
    return [*before, clocks[0], closing, lists, pairs]


def _without_search(saved: list[Any]) -> list[Any]:
    """Format 5 searched no weak segments."""
    return [*saved, -math.inf]


def _without_watch(saved: list[Any]) -> list[Any]:
    """Format 6 had no budget of event time, and did not know which domains are present."""
    return [*saved, [{}, RollCall().present()]]


_STEPS = (_without_stale, _without_closing, _without_lists, _with_alert_time, _without_search, _without_watch)
STREAM = SavedFormat("state of the stream", _STEPS, since="0.2.0")
SCALE = SavedFormat("judgement of a topic")
ALERT = SavedFormat("open alert", since="0.2.0")
OPEN_MARKS = SavedFormat("marks of open windows")
ROLL_CALL = SavedFormat("known domains")
TOPICS = SavedFormat("topics", since="0.2.0")


class Closing(NamedTuple):
    """A boundary that is being closed: the domains up to ``last`` are done, in order of their keys."""

    boundary: float
    last: SeriesKey | None = None


class DueList(NamedTuple):
    """A label list that is to be drawn: of which series and period, its rank, and its number of requests."""

    series: SeriesKey
    period_end: float
    rank: int
    n: int


class State:
    """Everything between batches.

    ``boundary`` is where the next windows end; -inf before the first response. ``closing`` is a boundary at which some
    domains still wait for their estimate. ``n_stale`` closed windows are marked to be estimated again. ``n_due`` of
    them need not wait for the next boundary. ``corrected_at`` is the event time at which some were last emitted.
    ``period_end`` is the end of the oldest period without label lists, ``search_end`` that of the newest period after
    which weak segments were searched; -inf before the first boundary.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self.n_responses = 0
        self.n_alerts = 0
        self.n_pending = 0
        self.n_events = 0
        self.n_stale = 0
        self.n_due = 0
        self.corrected_at = -math.inf
        self.clock = EventClock(settings.idle_after_s)
        self.event_time = -math.inf
        self.oldest_pending: float | None = None  # event time, exact at boundaries; None: no label is pending
        self.boundary = -math.inf
        self.closing: Closing | None = None
        self.period_end = -math.inf
        self.due_lists: list[DueList] = []
        self.search_end = -math.inf
        self.counters: Counter[str] = Counter()
        self.label_delays = LabelDelays()
        self.annotator_pairs = AnnotatorPairs()
        self.contexts: dict[str, ContextState] = {}
        self.domains: dict[SeriesKey, DomainState] = {}
        self.names: Counter[str] = Counter()  # contexts of each live domain, without `OVERFLOW_DOMAIN`
        self.silent: dict[str, None] = {}  # domains that may leave, silent longest first; `Roster` finds them again
        self.silent_at = math.nan  # the open boundary for which they were found
        self.retired = Retired(settings)
        each, horizon_s = settings.false_warnings_each, settings.drift_horizon_s
        self.allowances = {name: Allowance(each / horizon_s, horizon_s) for name in ALLOWANCES}
        self.roll_call = RollCall(settings.drift_season, each, horizon_s)
        self.watches: dict[str, ContextWatch] = {}
        self.touched_watches: set[str] = set()
        self.open_marks: dict[
            tuple[SeriesKey, float], None
        ] = {}  # of series that left: to be estimated when they close
        self.has_open_marks = False  # others than were last saved
        self.assembly = Assembly(settings.assembly, settings.features)
        self.alerts = AlertBook(settings.alerts)
        self.topics = Topics(settings.topics)
        self.are_topics_touched = False
        self.scales: dict[str, TopicScale] = {}
        self.touched_scales: set[str] = set()
        self.touched_contexts: set[str] = set()
        self.touched_domains: set[SeriesKey] = set()

    @property
    def watermark(self) -> float:
        """How far event time is known to have advanced."""
        return self.event_time - self.settings.allowed_lateness_s

    @property
    def end(self) -> float:
        """The event time at which every window that holds a response is closed."""
        lateness_s = self.settings.allowed_lateness_s
        furthest = max(self.clock.furthest, self.event_time)
        return self.settings.windows.boundary_after(furthest) + lateness_s if furthest > -math.inf else furthest

    @property
    def has_news(self) -> bool:
        """Whether the next emission has estimates to emit."""
        start, end = self.boundary - self.settings.windows.window_s, self.end
        is_marked = self.is_behind or self.n_stale > 0 or any(end <= self.boundary for _, end in self.open_marks)
        return is_marked or any(
            domain.is_changed and (domain.last_estimate is not None or domain.window.has_rows(start, end))
            for domain in self.domains.values()
        )

    @property
    def is_behind(self) -> bool:
        """Whether estimates or label lists are due that were not emitted yet, to keep a batch short."""
        return self.closing is not None or self.n_due > 0 or bool(self.due_lists)

    def open_end(self, series: SeriesKey) -> float:
        """The end of the next window of a series that is to be estimated."""
        if self.closing is None or (self.closing.last is not None and series <= self.closing.last):
            return self.boundary
        return self.closing.boundary

    @property
    def has_open_windows(self) -> bool:
        """Whether a response is in no window yet that was estimated, because event time has not reached its end.

        A response dated ahead of event time does not count: no window that holds it is about to end.
        """
        end = self.end - self.settings.allowed_lateness_s
        return any(domain.has_rows_after_estimate(end) for domain in self.domains.values())

    def scale(self, topic: str) -> TopicScale:
        """The judgement of the labels of a topic, made when it is new; the topics beyond `MAX_TOPICS` share one."""
        if topic not in self.scales and len(self.scales) >= MAX_TOPICS:
            topic = OVERFLOW_TOPIC
        self.touched_scales.add(topic)
        return self.scales.setdefault(topic, TopicScale())

    def touched(self, series: SeriesKey) -> DomainState:
        """The state of a live domain; it counts as touched."""
        self.touched_domains.add(series)
        return self.domains[series]

    def new_domain(self, series: SeriesKey) -> DomainState:
        """The state of a domain in a context that never came before."""
        self.counters["new_domains"] += 1
        domain = DomainState(self.settings, series, rank=self.counters["new_domains"])
        domain.first_boundary = self.boundary
        return domain

    def add_domain(self, domain: DomainState) -> DomainState:
        """Make a domain live; it counts as touched."""
        self.domains[domain.series] = domain
        if domain.series.domain != OVERFLOW_DOMAIN:
            self.names[domain.series.domain] += 1
        return self.touched(domain.series)

    def remove_domain(self, series: SeriesKey) -> DomainState:
        """Take a domain out of the live ones."""
        self.touched_domains.discard(series)
        self.names[series.domain] -= 1
        if self.names[series.domain] <= 0:
            del self.names[series.domain]
        return self.domains.pop(series)

    def mark_open(self, series: SeriesKey, end: float) -> None:
        """Mark an open window of a series that is not live: it is estimated when it closes."""
        self.open_marks[series, end] = None
        self.has_open_marks = True

    def forget_open(self, series: SeriesKey, end: float) -> None:
        """Drop the mark of an open window."""
        self.has_open_marks |= (series, end) in self.open_marks
        self.open_marks.pop((series, end), None)

    def take_open(self, boundary: float) -> list[tuple[SeriesKey, float]]:
        """Remove and return the marks of windows that end at this boundary or before."""
        taken = sorted((series, end) for series, end in self.open_marks if end <= boundary)
        for series, end in taken:
            self.forget_open(series, end)
        return taken

    def changes(self) -> dict[str, bytes | None]:
        """What must be saved after this batch; the marks of touched state are cleared."""
        changed: dict[str, bytes | None] = {"stream": self._stream()}
        for fingerprint in sorted(self.touched_contexts):
            changed |= context_parts(fingerprint, self.contexts[fingerprint])
        changed |= {domain_name(k): self.domains[k].snapshot() for k in sorted(self.touched_domains)}
        flights = self.assembly.snapshot(self.assembly.touched)
        changed |= {f"flight/{i}": flights[i] for i in sorted(flights)}
        changed |= {f"scale/{topic}": self._packed_scale(topic) for topic in sorted(self.touched_scales)}
        changed |= {watch_name(f): self._packed_watch(f) for f in sorted(self.touched_watches)}
        if self.roll_call.is_changed:
            changed["roll_call"] = ROLL_CALL.pack(self.roll_call.known())
            self.roll_call.is_changed = False
        for identity in sorted(self.alerts.touched):
            alert = self.alerts.snapshot(identity)
            changed[f"alert/{identity}"] = None if alert is None else ALERT.pack(alert)
        if self.has_open_marks:
            marks = [(series.domain, series.fingerprint, end) for series, end in self.open_marks]
            changed["open_marks"] = OPEN_MARKS.pack(sorted(marks))
        if self.are_topics_touched:
            changed["topics"] = TOPICS.pack(self.topics.snapshot())
        self.has_open_marks = self.are_topics_touched = False
        names = (self.touched_scales, self.touched_contexts, self.touched_domains, self.touched_watches)
        for touched in (*names, self.assembly.touched, self.alerts.touched):
            touched.clear()
        return changed

    def watch(self, fingerprint: str) -> ContextWatch:
        """The watch of a live context; it counts as touched."""
        self.touched_watches.add(fingerprint)
        if fingerprint not in self.watches:
            self.watches[fingerprint] = ContextWatch(self.settings)
        return self.watches[fingerprint]

    def remove_watch(self, fingerprint: str) -> None:
        """Drop the watch of a context that leaves: it starts again when the context returns."""
        self.watches.pop(fingerprint, None)
        self.touched_watches.add(fingerprint)

    def _packed_watch(self, fingerprint: str) -> bytes | None:
        watch = self.watches.get(fingerprint)
        return None if watch is None else watch.snapshot()

    def _packed_scale(self, topic: str) -> bytes:
        scale = self.scales[topic]
        return SCALE.pack([self.settings.label_scale, bytes(scale.are_inside), scale.is_refused])

    def _resume_watch(self, watch: list[Any], saved: Mapping[str, bytes]) -> None:
        until, present = watch
        for name, event_time in until.items():
            self.allowances[name].until = event_time
        self.roll_call.restore(present, ROLL_CALL.unpack(saved["roll_call"]) if "roll_call" in saved else None)
        restored = under(watch_name(""), saved).items()
        self.watches = {fingerprint: ContextWatch.restore(self.settings, blob) for fingerprint, blob in restored}

    def _stream(self) -> bytes:
        times = [self.event_time, self.boundary]
        stale = [self.n_events, self.n_stale, self.n_due, self.corrected_at]
        scalars = [self.n_responses, self.n_alerts, self.n_pending, *times, *stale]
        counters, delays = dict(sorted(self.counters.items())), [self.label_delays.counts, self.label_delays.total_s]
        lists = [self.period_end, self.due_lists]
        pairs = [self.annotator_pairs.n, self.annotator_pairs.n_disagreeing]
        watch = [{name: of.until for name, of in self.allowances.items()}, self.roll_call.present()]
        flow = [self.assembly.n_news, self.clock.snapshot(), self.closing]
        return STREAM.pack([scalars, counters, delays, *flow, lists, pairs, self.search_end, watch])

    @classmethod
    def resume(cls, settings: PipelineSettings, memory: Memory) -> State:
        """Restore the state that was last saved, or make a new one when none was saved."""
        state, saved = cls(settings), memory.state("")
        if "stream" not in saved:
            return state
        scalars, counters, delays, *rest = STREAM.unpack(saved["stream"])
        state.assembly.n_news, clock, closing, lists, pairs, state.search_end, watch = rest
        state._resume_watch(watch, saved)
        if closing is not None:
            state.closing = Closing(closing[0], SeriesKey(*closing[1]) if closing[1] else None)
        state.period_end, state.due_lists = lists[0], [DueList(SeriesKey(*due[0]), *due[1:]) for due in lists[1]]
        state.n_responses, state.n_alerts, state.n_pending, state.event_time, state.boundary, *scalars = scalars
        state.n_events, state.n_stale, state.n_due, state.corrected_at = scalars
        state.counters, state.label_delays = Counter(counters), LabelDelays(*delays)
        state.counters.pop("alerts", None)  # version 0.1 counted their sum, which `n_alerts` has
        state.annotator_pairs = AnnotatorPairs(*pairs)
        state.clock.restore(clock)
        restored = {f: ContextState.restore(settings, parts) for f, parts in contexts_saved(saved).items()}
        state.contexts = dict(sorted(restored.items(), key=lambda item: item[1].number))
        for blob in under("domain/", saved).values():
            domain = DomainState.restore(settings, blob)
            domain.rebuild(state.open_end(domain.series), memory, memory.estimate)
            state.add_domain(domain)
        # saved in the newest format once, so that it is counted once
        state.touched_domains = {d for d in state.domains if DOMAIN.is_old(saved[domain_name(d)])}
        if state.touched_domains:
            state.counters["detectors_restarted"] += len(state.touched_domains)
        if ranks := [domain.rank for domain in state.domains.values()]:  # version 0.1 did not count domains
            state.counters["new_domains"] = max(state.counters["new_domains"], *ranks)
        state.retired = Retired.resume(settings, memory)
        for domain_of, fingerprint, end in OPEN_MARKS.unpack(saved["open_marks"]) if "open_marks" in saved else ():
            state.open_marks[SeriesKey(domain_of, fingerprint), end] = None
        if "topics" in saved:
            state.topics = Topics.restored(settings.topics, TOPICS.unpack(saved["topics"]))
        state.assembly.restore(under("flight/", saved))
        for topic, blob in under("scale/", saved).items():
            label_scale, are_inside, is_refused = SCALE.unpack(blob)
            if label_scale == settings.label_scale:
                state.scales[topic] = TopicScale(map(bool, are_inside), is_refused=is_refused)
        state.oldest_pending = memory.oldest_pending() if state.n_pending else None
        for blob in under("alert/", saved).values():
            state.alerts.restore(ALERT.unpack(blob))
        return state
