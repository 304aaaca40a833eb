"""Rolling windows: the recent responses of one series, as columns sorted by (event_time, id).

Owns when a window begins and ends, and which rows it holds. Event time is cut at *boundaries*, multiples of the hop;
a window is the half-open span of ``window_s`` before a boundary, and holds its last ``window_events`` rows. The content
is a function of the set of rows, not of the order in which they arrive, so it can be rebuilt from the store at any
time. A buffer holds at most twice ``window_events`` rows; older rows are in the store. Beside each row the buffer keeps
the scores that the present estimator needs, computed once (`Window.scores_of`).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from driftgauge.models.arrays import Bools, Float32s
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.signals.feature_sets import in_width

_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
_COLUMNS = ("event_time", "features", "correct", "weight", "is_usable", "scores", "is_scored")


class Scorer(Protocol):
    """Computes scores of single rows: an `Estimator`."""

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        """(n, m) scores of (n, d) features; the scores of a row depend on its features and the domain alone."""
        ...


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How event time is cut into windows.

    Attributes
    ----------
    window_s : length of a window, in seconds of event time
    window_events : most responses in a window; the newest are kept
    hop_s : seconds of event time from one boundary to the next
    """

    window_s: float = 86_400.0
    window_events: int = 2_000
    hop_s: float = 3_600.0

    def boundary_after(self, event_time: float) -> float:
        """The first boundary after this time.

        >>> WindowSpec(hop_s=60.0).boundary_after(60.0), WindowSpec(hop_s=60.0).boundary_after(59.5)
        (120.0, 60.0)
        """
        return (math.floor(event_time / self.hop_s) + 1) * self.hop_s

    def ends_holding(self, event_time: float, before: float) -> Iterator[float]:
        """Ends, at or before ``before``, of the windows that hold this time, oldest first.

        >>> list(WindowSpec(window_s=180.0, hop_s=60.0).ends_holding(70.0, before=180.0))
        [120.0, 180.0]
        """
        end = self.boundary_after(event_time)
        while end <= min(before, event_time + self.window_s):
            yield end
            end = self.boundary_after(end)


class Window:
    """A bounded, sorted, columnar buffer of responses.

    Adding rows in order costs a copy of the new rows; rows that arrive out of order cost a copy of what is newer.
    Columns are longer than the rows that they hold: `held` and `span` name the part that counts.

    The buffer holds every response newer than ``incomplete_until``. It holds no older ones: they gave way to newer ones
    (`capacity`), or the store had more than the buffer takes.
    """

    def __init__(self, spec: WindowSpec, n_features: int) -> None:
        self.spec = spec
        self.capacity = 2 * spec.window_events
        self.ids: list[str] = []
        self.event_time = np.empty(0)
        self.features = np.empty((0, n_features), dtype=np.float32)
        self.correct = np.empty(0)
        self.weight = np.empty(0)
        self.is_usable = np.empty(0, dtype=np.bool_)
        self.scores = np.empty((0, 0), dtype=np.float32)
        self.is_scored = np.empty(0, dtype=np.bool_)
        self.incomplete_until = -math.inf
        self._scorer: Scorer | None = None
        self._start = self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def held(self) -> slice:
        """The part of the columns that holds responses. Those before it have left; their room is used again later."""
        return slice(self._start, self._stop)

    def add(self, rows: Sequence[ResponseRow]) -> None:
        """Add new rows, in any order."""
        rows = sorted(rows, key=lambda row: (row.event_time, row.id))
        in_order = not len(self) or (rows[0].event_time, rows[0].id) > (self.event_time[self._stop - 1], self.ids[-1])
        self._reserve(len(rows))
        for at, row in enumerate(rows, self._stop):  # often one or two rows: lists for each column would cost more
            self.event_time[at], self.features[at] = row.event_time, row.features
            self.correct[at], self.weight[at] = row.correct, row.weight
            self.is_usable[at], self.is_scored[at] = row.has_features, False
            self.ids.append(row.id)
        self._stop += len(rows)
        if not in_order:
            self._merge(len(rows))
        self._drop_incomplete()

    @property
    def times(self) -> list[float]:
        """Event times of the responses in the buffer, oldest first."""
        times: list[float] = self.event_time[self.held].tolist()
        return times

    def load(self, rows: Rows) -> None:
        """Replace the content with rows from the store: one more than `capacity` where there are more."""
        self.ids = [str(i) for i in rows.id]
        self.event_time = rows.event_time.copy()
        self.features = in_width(rows.features, self.features.shape[1]).copy()
        self.correct, self.weight = rows.correct.copy(), rows.weight.copy()
        self.is_usable, self.is_scored = usable(self.features), np.zeros(len(rows), dtype=np.bool_)
        self.scores, self._scorer = np.empty((len(rows), 0), dtype=np.float32), None
        self._start, self._stop = 0, len(rows)
        self.incomplete_until = -math.inf
        self._drop_incomplete()

    def resolve(self, row: ResponseRow) -> bool:
        """Copy the label of a row into the buffer; False when the buffer does not hold that row."""
        at = self._place(row.event_time, row.id, self._stop)
        if at >= self._stop or self.ids[at] != row.id:
            return False
        self.correct[at], self.weight[at] = row.correct, row.weight
        return True

    def span(self, end: float) -> slice:
        """The part of the columns that is the window with this end."""
        start, stop = self._first_at(end - self.spec.window_s), self._first_at(end)
        return slice(max(start, stop - self.spec.window_events), stop)

    def covers(self, end: float) -> bool:
        """Whether the buffer holds all of the window with this end."""
        span = self.span(end)
        return self.incomplete_until < end - self.spec.window_s or span.stop - span.start >= self.spec.window_events

    def has_rows(self, start: float, end: float) -> bool:
        """Whether there are responses with ``start <= event_time < end``; some may no longer be in the buffer."""
        return self._first_at(end) > self._first_at(start) or self.incomplete_until >= start

    def first_time(self, start: float) -> float:
        """Event time of the first response in the buffer with ``start <= event_time``; infinite without one."""
        first = self._first_at(start)
        return float(self.event_time[first]) if first < self._stop else math.inf

    def ends_of_rows(self, start: float, end: float) -> Iterator[float]:
        """The first boundary after each response with ``start <= event_time < end``, where ``end`` is a boundary.

        Responses that are no longer in the buffer count too.
        """
        held = slice(self._first_at(max(start, self.incomplete_until)), self._first_at(end))
        yield from {self.spec.boundary_after(time) for time in self.event_time[held].tolist()}
        if self.incomplete_until < start:
            return
        boundary = self.spec.boundary_after(start)
        while boundary <= min(self.spec.boundary_after(self.incomplete_until), end):
            yield boundary
            boundary = self.spec.boundary_after(boundary)

    def newest(self, n: int, more: Sequence[float]) -> float:
        """Event time of the n-th newest response, those of ``more`` included; of the oldest when there are fewer."""
        times = np.sort(np.append(self.event_time[self.held], more))[-self.spec.window_events :]
        return float(times[-min(n, len(times))])

    def latest(self, more: Sequence[ResponseRow]) -> Float32s:
        """(n, d) features of the newest responses, those of ``more`` included, oldest first; n <= ``window_events``."""
        times = np.append(self.event_time[self.held], [row.event_time for row in more])
        ids = np.array([*self.ids[self.held], *(row.id for row in more)])
        order = np.lexsort((ids, times))[-self.spec.window_events :]
        rows = [self.features[self.held], *(row.features[None] for row in more)]
        return np.concatenate(rows)[order]

    def newest_ids(self, n: int, more: Sequence[ResponseRow]) -> list[str]:
        """Ids of the ``n`` newest responses, those of ``more`` included, the newest first."""
        latest = slice(max(self._start, self._stop - n), self._stop)
        held = zip(self.event_time[latest].tolist(), self.ids[latest], strict=True)
        newest = sorted([*held, *((row.event_time, row.id) for row in more)], reverse=True)
        return [response_id for _, response_id in newest[:n]]

    def scores_of(self, span: slice, scorer: Scorer, domain: str) -> Float32s:
        """``row_scores`` of the rows of a span, (n, m), NaN where not usable; one scorer scores each row once."""
        if scorer is not self._scorer:
            width = scorer.row_scores(self.features[:0], domain).shape[1]
            self.scores = np.full((len(self.event_time), width), np.nan, dtype=np.float32)
            self.is_scored[:] = False
            self._scorer = scorer
        missing = span.start + np.flatnonzero(self.is_usable[span] & ~self.is_scored[span])
        if len(missing):
            self.scores[missing] = scorer.row_scores(self.features[missing], domain)
            self.is_scored[missing] = True
        return self.scores[span]

    def score_ahead(self, scorer: Scorer, domain: str) -> int:
        """Score the rows of the newest window where the scorer is a new one; returns the number of those rows.

        A new scorer gives a thousand full windows seconds of work, which would otherwise all come at one boundary.
        """
        if scorer is self._scorer:
            return 0
        newest = slice(max(self._start, self._stop - self.spec.window_events), self._stop)
        return len(self.scores_of(newest, scorer, domain))

    def forget(self, before: float) -> None:
        """Remove rows older than this event time."""
        self._start = self._first_at(before)

    def _drop_incomplete(self) -> None:
        """Keep the newest rows, and none of those of whose time others are missing."""
        if len(self) > self.capacity:
            last_dropped = float(self.event_time[self._stop - self.capacity - 1])
            self.incomplete_until = max(self.incomplete_until, last_dropped)
        if len(self) and self.event_time[self._start] <= self.incomplete_until:
            self._start += int(np.searchsorted(self.event_time[self.held], self.incomplete_until, side="right"))

    def _reserve(self, n: int) -> None:
        """Make room for more rows. The rows move to the start of larger columns, so each add copies few on average."""
        if self._stop + n <= len(self.event_time):
            return
        held, size = self.held, len(self)
        room = max(64, 2 * (size + n))
        for name in _COLUMNS:
            column = getattr(self, name)
            grown = np.empty((room, *column.shape[1:]), dtype=column.dtype)
            grown[:size] = column[held]
            setattr(self, name, grown)
        self.ids = self.ids[held]
        self._start, self._stop = 0, size

    def _merge(self, n_new: int) -> None:
        """Bring the last ``n_new`` rows to their places among the others; both are sorted."""
        n_old = self._stop - n_new
        new = zip(self.event_time[n_old : self._stop].tolist(), self.ids[n_old:], strict=True)
        places = [self._place(event_time, name, n_old) for event_time, name in new]
        first = places[0]
        order = np.insert(np.arange(first, n_old), np.array(places) - first, np.arange(n_old, self._stop))
        self.ids[first:] = [self.ids[at] for at in order.tolist()]
        for name in _COLUMNS:
            column = getattr(self, name)
            column[first : self._stop] = column[order]

    def _first_at(self, time: float) -> int:
        """The place of the first row of this time or later."""
        return self._start + int(np.searchsorted(self.event_time[self.held], time, side="left"))

    def _place(self, event_time: float, response_id: str, stop: int) -> int:
        """The place of a response among the rows before ``stop``."""
        times = self.event_time[self._start : stop]
        low, high = (self._start + int(np.searchsorted(times, event_time, side=side)) for side in _SIDES)
        return bisect.bisect_left(self.ids, response_id, low, high)


def usable(features: Float32s) -> Bools:
    """(n,) whether a row has at least one feature; rows without features are stored for their labels only."""
    return np.asarray(~np.isnan(features).all(axis=1))
