"""The live table of a demo or replay.

`Board` keeps the newest of what the agent put out; `render` and `plain` are pure functions of its rows.
Names come from events, so what could steer a terminal is taken out of them. Bounded by the domains there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Priority
from driftgauge.models.series import SeriesKey

HEADINGS = ("domain", "events", "labels", "accuracy", "interval", "", "by labels", "drift", "priority")
DRIFT_KINDS = frozenset({"drift", "accuracy_gap"})
_RIGHT = frozenset({"events", "labels", "accuracy", "by labels", "priority"})
_DISPENSABLE = ("", "by labels", "priority", "events")
_BAR_WIDTH = 20
_NAME_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Row:
    """One domain in one context: its newest estimate, what moved in it (newest last), its place in the ranking.

    ``is_new``: a whole window had gone by before the domain was first seen.
    """

    estimate: Estimate
    alerts: tuple[Alert, ...] = ()
    priority: Priority | None = None
    is_new: bool = False

    @property
    def name(self) -> str:
        """The domain, as far as it can be shown."""
        return shown(self.estimate.domain)

    @property
    def drift(self) -> Alert | None:
        """The newest alert that says the domain moved, if it was raised within the window of the estimate."""
        start = self.estimate.window_start
        moved = (a for a in reversed(self.alerts) if a.kind in DRIFT_KINDS and a.event_time >= start)
        return next(moved, None)


@dataclass(slots=True)
class Board:
    """The newest estimates, alerts and ranking by domain and context."""

    estimates: dict[SeriesKey, Estimate] = field(default_factory=dict)
    first_ends: dict[str, float] = field(default_factory=dict)
    alerts: dict[SeriesKey, list[Alert]] = field(default_factory=dict)
    priorities: dict[SeriesKey, Priority] = field(default_factory=dict)

    def take(self, outputs: Iterable[Output]) -> None:
        """Note outputs, in the order they were emitted."""
        for output in outputs:
            match output:
                case Estimate():
                    self._keep_newest(output)
                case Alert():
                    self.alerts.setdefault(output.series, []).append(output)
                case Acquisition():
                    self.priorities = {row.series: row for row in output.priorities}

    def rows(self) -> list[Row]:
        """Every domain that has an estimate, by name."""
        return [
            Row(estimate, tuple(self.alerts.get(key, ())), self.priorities.get(key), self._is_new(estimate))
            for key, estimate in sorted(self.estimates.items())
        ]

    def _is_new(self, estimate: Estimate) -> bool:
        window_s = estimate.window_end - estimate.window_start
        return self.first_ends[estimate.domain] - min(self.first_ends.values()) >= window_s

    def _keep_newest(self, estimate: Estimate) -> None:
        first_end = self.first_ends.get(estimate.domain, math.inf)
        self.first_ends[estimate.domain] = min(first_end, estimate.window_end)
        known = self.estimates.get(estimate.series)
        if known is None or known.window_end <= estimate.window_end:
            self.estimates[estimate.series] = estimate


def render(rows: Sequence[Row], caption: str = "", width: int | None = None) -> Table:
    """The table for a terminal; of what does not fit into ``width``, the least needed columns are left out."""
    lines = [_cells(row) for row in rows]
    table = Table(caption=caption or None, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    shown_columns = _fitting([HEADINGS, *lines], width)
    for i in shown_columns:
        table.add_column(HEADINGS[i], justify="right" if HEADINGS[i] in _RIGHT else "left", no_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        cells = [Text(cell) for cell in line]
        cells[HEADINGS.index("drift")].stylize(_style(row.drift))
        table.add_row(*(cells[i] for i in shown_columns))
    return table


def _fitting(lines: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Which columns fit, with three spaces between two."""
    widths = [max(map(len, column)) + 3 for column in zip(*lines, strict=True)]
    columns = list(range(len(widths)))
    for heading in _DISPENSABLE:
        if width is None or sum(widths[i] for i in columns) - 3 <= width:
            break
        columns.remove(HEADINGS.index(heading))
    return columns


def _style(drift: Alert | None) -> str:
    if drift is None:
        return ""
    return "bold red" if drift.severity == "alarm" else "yellow"


def plain(rows: Sequence[Row]) -> str:
    """The table as lines of text.

    >>> print(plain([]))
    domain  events  labels  accuracy  interval    by labels  drift  priority
    """
    lines = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    return "\n".join("  ".join(map(_padded, line, widths, HEADINGS)).rstrip() for line in lines)


def _padded(cell: str, width: int, heading: str) -> str:
    return cell.rjust(width) if heading in _RIGHT else cell.ljust(width)


def _cells(row: Row) -> tuple[str, ...]:
    e, drift = row.estimate, row.drift
    interval = "" if e.ci_low is None or e.ci_high is None else f"{ratio(e.ci_low)} to {ratio(e.ci_high)}"
    return (
        row.name,
        f"{e.n_events:,}",
        f"{e.n_labels:,}",
        ratio(e.accuracy),
        interval if e.accuracy is not None else shown(e.status_reason or e.status),
        bar(e.ci_low, e.accuracy, e.ci_high),
        ratio(e.accuracy_labelled),
        "" if drift is None else f"{shown(drift.what)} {ratio(drift.before)} -> {ratio(drift.after)}",
        "" if row.priority is None else str(row.priority.rank),
    )


def bar(low: float | None, value: float | None, high: float | None, width: int = _BAR_WIDTH) -> str:
    """An interval in [0, 1] drawn on a line.

    >>> bar(0.25, 0.5, 0.8, width=10)
    '|..===#===.|'
    >>> bar(None, None, None, width=10)
    ''
    """
    if low is None or value is None or high is None:
        return ""
    first, at, last = (min(int(max(x, 0.0) * width), width - 1) for x in (low, value, high))
    return "|" + "".join("#" if i == at else "=" if first <= i <= last else "." for i in range(width)) + "|"


def shown(text: str, width: int = _NAME_WIDTH) -> str:
    r"""Text that a terminal prints as it is, cut to a width.

    >>> shown("law\x1b[2J\n")
    'law?[2J?'
    """
    clean = "".join(c if c.isprintable() else "?" for c in text[: width + 1])
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def ratio(value: float | None) -> str:
    """Two decimals, or a dash for what is not known."""
    return "-" if value is None else f"{value:.2f}"


class LiveTable:
    """Shows a board while the loop runs: redrawn in place on a terminal, else a line of progress now and then.

    An observer of `driftgauge.agent.service.loop.Loop`. ``total`` is how many records there will be, if that is known.
    """

    LINE_EVERY = 1_000
    """Records from one plain line to the next."""

    def __init__(self, console: Console, total: int | None = None) -> None:
        self.board = Board()
        self.n_records = 0
        self._console = console
        self._total = total
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last table on the screen."""
        if self._live:
            self._draw()
            self._live.stop()
        else:
            self._console.print(plain(self.board.rows()), markup=False, highlight=False, soft_wrap=True)

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: object) -> None:  # noqa: ARG002 - the loop's protocol
        """Note a committed batch and show where things stand."""
        before, self.n_records = self.n_records, self.n_records + len(records)
        self.board.take(outputs)
        if self._live:
            self._draw(self._progress())
        elif before // self.LINE_EVERY != self.n_records // self.LINE_EVERY:
            self._console.print(self._progress(), markup=False, highlight=False)

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """A replay is never behind."""

    def failure(self, error: ConnectorError | None) -> None:
        """Say what is being waited for."""
        if error is not None:
            self._console.print(f"waiting: {error}", markup=False, highlight=False)

    def _draw(self, caption: str = "") -> None:
        if self._live:
            self._live.update(render(self.board.rows(), caption, self._console.width), refresh=True)

    def _progress(self) -> str:
        of_total = "" if self._total is None else f" of {self._total:,}"
        counts = (len(self.board.estimates), "domain"), (sum(map(len, self.board.alerts.values())), "alert")
        said = [f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in counts]
        return ", ".join([f"{self.n_records:,}{of_total} events", *said])
