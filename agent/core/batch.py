"""One batch in progress: the stored rows and labels that it needs, and the outputs that it emits."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.models.alerts.book import Turn
from driftgauge.models.alerts.evidence import Evidence, Identity
from driftgauge.models.aliases import FIRST_CHOICE, Alias
from driftgauge.models.events import Arrival, Chunk, Event, Generation, Label, Rejected
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import ALERTS, Acquisition, Alert, Estimate, LabelList, Output, estimate_key
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.feature_sets import in_width
from driftgauge.models.stale_windows import StaleWindow


class Batch:
    """What the parts of one `Pipeline.step` share.

    Attributes
    ----------
    settings, state, memory : those of the step
    outputs : outputs so far, in order
    rows : stored responses by id, as far as this batch concerns them
    labels : their label events, by response id; pending ones by the name that they give
    aliases : aliases by name, as far as this batch concerns them
    estimates, acquisitions : the newest ones emitted by this batch, by key
    label_lists : those emitted by this batch
    before_emit : called before each output. Responses that are predicted together emit theirs first, so that the order
        of outputs is the order of events.
    """

    def __init__(self, settings: PipelineSettings, state: State, memory: Memory) -> None:
        self.settings = settings
        self.state = state
        self.memory = memory
        self.outputs: list[Output] = []
        self.rows: dict[str, ResponseRow] = {}
        self.labels: dict[str, list[Label]] = {}
        self.aliases: dict[str, Alias] = {}
        self.estimates: dict[str, Estimate] = {}
        self.acquisitions: dict[str, Acquisition] = {}
        self.label_lists: list[LabelList] = []
        self.before_emit: Callable[[], None] = _nothing
        self._stale: dict[tuple[SeriesKey, float], float] = {}
        self._recalled: set[str] = set()
        self._recalled_aliases: set[str] = set()
        self._recalled_pending: set[str] = set()

    def recall(self, events: Iterable[Event]) -> None:
        """Read all responses, labels and aliases that these events concern, in one query each."""
        generations, names = list[Generation](), set[str]()
        for event in events:
            if isinstance(event, Label):
                names.add(event.response_id)
            elif isinstance(event, Arrival):
                generations.append(event.generation)
            elif isinstance(event, Chunk):
                generations.append(event.piece)
        self.recall_responses(generations, names)

    def recall_responses(self, generations: Sequence[Generation], names: Collection[str] = ()) -> None:
        """Read what these responses concern, and labels that give these names, unless this batch has done so."""
        ids = {generation.id for generation in generations}
        aliases = {alias for generation in generations for alias in generation.aliases}.union(names)
        pending = aliases.union(name + FIRST_CHOICE for name in ids)
        self._recall(ids.union(names, (name.removesuffix(FIRST_CHOICE) for name in names)), aliases, pending)

    def _recall(self, ids: set[str], aliases: set[str], pending: set[str]) -> None:
        """Read responses with these ids and their labels, these aliases, and labels pending under these names."""
        aliases = aliases - self._recalled_aliases
        found = self.memory.aliases(aliases) if aliases else {}
        self.aliases.update(found)
        ids = (ids | {alias.response_id for alias in found.values() if alias.response_id}) - self._recalled
        pending = pending - self._recalled - self._recalled_pending
        if ids or pending:
            stored = self.memory.responses(ids)
            # a label of a response that is not stored is a pending one, and mostly there is none
            named = ids | pending if self.state.n_pending else stored.keys()
            labels = self.memory.labels(named) if named else {}
            self.labels.update(labels)
            if further := (pending & labels.keys()) - ids:
                stored |= self.memory.responses(further)
            self.rows.update({name: self._in_todays_columns(row) for name, row in stored.items()})
        self._recalled |= ids
        self._recalled_aliases |= aliases
        self._recalled_pending |= pending

    def _in_todays_columns(self, row: ResponseRow) -> ResponseRow:
        """A row that was stored when another set of features was configured, with the columns of the present one."""
        width = self.settings.features.width
        if len(row.features) == width:
            return row
        return replace(row, features=in_width(row.features[None], width)[0])

    def emit(self, output: Output) -> None:
        """Add an output after the outputs of all earlier events."""
        self.before_emit()
        self.outputs.append(output)

    def reject(self, rejected: Rejected) -> None:
        """Count a dead letter by its reason and emit it."""
        self.state.counters[f"rejected_{rejected.reason}"] += 1
        self.emit(rejected)

    def alert(
        self, kind: str, series: SeriesKey, what: str, message: str, *,
        at: float, since: float | None = None, before: float | None = None, after: float | None = None,
        n: int | None = None, rows: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Record evidence (`Evidence`) for an alert of a kind in `ALERTS`; emit the alert if its state changes.

        ``at`` and ``since`` are event times.
        """
        evidence = Evidence(kind, series, what, message, since, before, after, n, tuple(rows))
        if turn := self.state.alerts.see(evidence, self._clock(at), self.state.n_alerts + 1):
            self.tell(turn, at)

    def end_alert(self, kind: str, series: SeriesKey, reason: str, *, at: float) -> None:
        """End the alert of this kind and series, if one is open, and emit that."""
        if turn := self.state.alerts.end(Identity(kind, series), self._clock(at), reason):
            self.tell(turn, at)

    def tell(self, turn: Turn, at: float) -> None:
        """Number an alert and emit it, with what became of it."""
        state, evidence = self.state, turn.alert.evidence
        state.n_alerts += 1
        state.counters[f"alerts_{evidence.kind}"] += turn.fires_now
        inhibitor = state.alerts.inhibitor(evidence) if not turn.alert.is_told else None
        alert = Alert(
            kind=evidence.kind,
            severity=ALERTS[evidence.kind],
            domain=evidence.series.domain,
            fingerprint=evidence.series.fingerprint,
            event_time=at,
            since=evidence.since,
            what=evidence.what,
            before=evidence.before,
            after=evidence.after,
            message=_message(turn),
            number=state.n_alerts,
            state=turn.alert.state,
            began=turn.alert.began,
            slice=evidence.series.slice,
            n=evidence.n,
            rows=evidence.rows,
            link=evidence.link(self.settings.alert_link),
            inhibited_by="" if inhibitor is None else str(inhibitor),
        )
        self.emit(alert)

    def _clock(self, at: float) -> float:
        """Event time for the life of alerts: a response that is dated far ahead does not move it."""
        return min(at, self.state.boundary) if self.state.boundary > -math.inf else at

    def next_prediction(self) -> int:
        """Count a prediction; returns its number."""
        self.state.counters["predictions"] += 1
        return self.state.counters["predictions"]

    def newest_estimate(self, key: str) -> Estimate | None:
        """The highest revision of an estimate, emitted by this batch or an earlier one."""
        return self.estimates.get(key) or self.memory.estimate(key)

    def accuracies(self, series: Collection[SeriesKey], window_end: float) -> dict[SeriesKey, float | None]:
        """The newest estimates of these series over the window with this end; None or absent: there is none."""
        found: dict[SeriesKey, float | None] = dict(self.memory.accuracies(series, window_end))
        emitted = ((key, self.estimates.get(estimate_key(key, window_end))) for key in series)
        return found | {key: estimate.accuracy for key, estimate in emitted if estimate}

    def newest_acquisition(self, key: str) -> Acquisition | None:
        """The highest revision of a data list, emitted by this batch or an earlier one."""
        return self.acquisitions.get(key) or self.memory.acquisition(key)

    def mark_stale(self, row: ResponseRow) -> bool:
        """Mark the closed windows that hold this row: they are estimated again. False: there are none.

        Of a domain that is not live, the windows that are still open are marked too.
        """
        boundary, windows = self.state.boundary, self.settings.windows
        ends = list(windows.ends_holding(row.event_time, before=boundary - windows.hop_s))
        for end in ends:
            self._stale.setdefault((row.series, end), boundary)
        if row.series not in self.state.domains:
            for end in windows.ends_holding(row.event_time, before=boundary):
                if end not in ends:
                    self.state.mark_open(row.series, end)
        return bool(ends)

    def close_marked(self, boundary: float) -> None:
        """Let the open windows that were marked, and end at this boundary or before, be estimated like closed ones."""
        for series, end in self.state.take_open(boundary):
            self._stale.setdefault((series, end), boundary)

    def save_stale(self) -> None:
        """Store the marks made since the last call."""
        if self._stale:
            marks = [StaleWindow(boundary, series, end) for (series, end), boundary in self._stale.items()]
            self.state.n_stale += self.memory.mark_stale(marks)
            self._stale.clear()


def _message(turn: Turn) -> str:
    """The sentence of the evidence, after what became of the alert."""
    ends = {"no_data": "no data any more: ", "resolved": f"over ({turn.reason}): ", "ok": f"over ({turn.reason}): "}
    return ends.get(turn.alert.state, "") + turn.alert.evidence.message


def _nothing() -> None:
    pass
