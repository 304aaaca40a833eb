"""The live table of a demo or replay.

`LatestOutputs` keeps the newest outputs of the agent; `render` and `render_text` are pure functions of its rows.
Names come from events, so their control characters are replaced. Bounded by the number of domains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from driftgauge.agent.outlets.observer import Observer
from driftgauge.agent.outlets.phrases import count
from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Priority
from driftgauge.models.series import ALL_DOMAINS, SeriesKey

HEADINGS = ("domain", "events", "labels", "accuracy", "interval", "", "by labels", "drift", "priority")
DRIFT_KINDS = frozenset({"drift", "accuracy_gap"})
_RIGHT = frozenset({"events", "labels", "accuracy", "by labels", "priority"})
_DISPENSABLE = ("", "by labels", "priority", "events")
_BAR_WIDTH = 20
_NAME_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Row:
    """One domain in one context: its newest estimate, the alerts about it (newest last), its place in the ranking.

    ``is_new``: the first estimate of the domain came at least one window later than the first estimate of all.
    """

    estimate: Estimate
    alerts: tuple[Alert, ...] = ()
    priority: Priority | None = None
    is_new: bool = False

    @property
    def name(self) -> str:
        """The domain, as text that can be printed."""
        return printable(self.estimate.domain)

    @property
    def drift(self) -> Alert | None:
        """The newest drift alert, if it was raised within the window of the estimate."""
        start = self.estimate.window_start
        fired = (a for a in reversed(self.alerts) if a.state == "firing" and a.event_time >= start)
        drifts = (a for a in fired if a.kind in DRIFT_KINDS)
        return next(drifts, None)


@dataclass(slots=True)
class LatestOutputs:
    """The newest estimates, alerts and ranking by domain and context."""

    estimates: dict[SeriesKey, Estimate] = field(default_factory=dict)
    first_ends: dict[str, float] = field(default_factory=dict)
    alerts: dict[SeriesKey, list[Alert]] = field(default_factory=dict)
    priorities: dict[SeriesKey, Priority] = field(default_factory=dict)

    def add(self, outputs: Iterable[Output]) -> None:
        """Add outputs, in the order they were emitted."""
        for output in outputs:
            match output:
                case Estimate():
                    self._keep_newest(output)
                case Alert():
                    self.alerts.setdefault(output.series, []).append(output)
                case Acquisition():
                    self.priorities = {row.series: row for row in output.priorities}

    def rows(self) -> list[Row]:
        """One row for every domain and context with an estimate, by name."""
        return [
            Row(estimate, self._alerts_of(key), self.priorities.get(key), self._is_new(estimate))
            for key, estimate in sorted(self.estimates.items())
        ]

    def _alerts_of(self, key: SeriesKey) -> tuple[Alert, ...]:
        """The alerts about a domain, and those about all domains of its context."""
        keys = (key, SeriesKey(ALL_DOMAINS, key.fingerprint))
        found = (alert for series in keys for alert in self.alerts.get(series, ()))
        return tuple(sorted(found, key=lambda alert: alert.number))

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
    """The table for a terminal; columns that do not fit into ``width`` are left out, the least needed first."""
    lines = [_cells(row) for row in rows]
    table = Table(caption=caption or None, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    columns = _fitting([HEADINGS, *lines], width)
    for i in columns:
        table.add_column(HEADINGS[i], justify="right" if HEADINGS[i] in _RIGHT else "left", no_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        cells = [Text(cell) for cell in line]
        cells[HEADINGS.index("drift")].stylize(_style(row.drift))
        table.add_row(*(cells[i] for i in columns))
    return table


def _fitting(lines: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Indices of the columns that fit, with three spaces between two columns."""
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


def render_text(rows: Sequence[Row]) -> str:
    """The table as lines of text.

    >>> print(render_text([]))
    domain  events  labels  accuracy  interval    by labels  drift  priority
    """
    lines = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    return "\n".join("  ".join(map(_padded, line, widths, HEADINGS)).rstrip() for line in lines)


def _padded(cell: str, width: int, heading: str) -> str:
    return cell.rjust(width) if heading in _RIGHT else cell.ljust(width)


def _cells(row: Row) -> tuple[str, ...]:
    e, drift = row.estimate, row.drift
    interval = "" if e.ci_low is None or e.ci_high is None else f"{format_ratio(e.ci_low)} to {format_ratio(e.ci_high)}"
    return (
        row.name,
        f"{e.n_events:,}",
        f"{e.n_labels:,}",
        format_ratio(e.accuracy),
        interval if e.accuracy is not None else printable(e.status_reason or e.status),
        interval_bar(e.ci_low, e.accuracy, e.ci_high),
        format_ratio(e.accuracy_labelled),
        "" if drift is None else f"{printable(drift.what)} {format_ratio(drift.before)} -> {format_ratio(drift.after)}",
        "" if row.priority is None else str(row.priority.rank),
    )


def interval_bar(low: float | None, value: float | None, high: float | None, width: int = _BAR_WIDTH) -> str:
    """Draw an interval in [0, 1] as text; empty when any of the three numbers is unknown.

    >>> interval_bar(0.25, 0.5, 0.8, width=10)
    '|..===#===.|'
    >>> interval_bar(None, None, None, width=10)
    ''
    """
    if low is None or value is None or high is None:
        return ""
    first, at, last = (min(int(max(x, 0.0) * width), width - 1) for x in (low, value, high))
    return "|" + "".join("#" if i == at else "=" if first <= i <= last else "." for i in range(width)) + "|"


def printable(text: str, width: int = _NAME_WIDTH) -> str:
    r"""Text that cannot steer a terminal: control characters become "?", and it is cut to ``width`` characters.

    >>> printable("law\x1b[2J\n")
    'law?[2J?'
    """
    clean = "".join(c if c.isprintable() else "?" for c in text[: width + 1])
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def format_ratio(value: float | None) -> str:
    """Two decimals; a dash when the value is unknown."""
    return "-" if value is None else f"{value:.2f}"


class LiveTable(Observer):
    """Shows the table while the loop runs: redrawn in place on a terminal, else a line of progress now and then.

    ``total`` is the number of records to come, when it is known.
    """

    LINE_EVERY = 1_000
    """Number of records from one line of progress to the next."""

    def __init__(self, console: Console, total: int | None = None) -> None:
        self._latest = LatestOutputs()
        self.n_records = 0
        self._console = console
        self._total = total
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last table on the screen; without a terminal, print it."""
        if self._live:
            self._draw()
            self._live.stop()
        else:
            self._console.print(render_text(self.rows()), markup=False, highlight=False, soft_wrap=True)

    def rows(self) -> list[Row]:
        """The rows of the table now."""
        return self._latest.rows()

    def batch(self, records: Sequence[Record], outputs: Sequence[Output], state: object) -> None:  # noqa: ARG002 - the loop's protocol
        """Note a committed batch and show the progress."""
        before, self.n_records = self.n_records, self.n_records + len(records)
        self._latest.add(outputs)
        if self._live:
            self._draw(self._progress())
        elif before // self.LINE_EVERY != self.n_records // self.LINE_EVERY:
            self._console.print(self._progress(), markup=False, highlight=False)

    def failure(self, error: ConnectorError | None) -> None:
        """Print the error that makes the loop wait."""
        if error is not None:
            self._console.print(f"waiting: {error}", markup=False, highlight=False)

    def _draw(self, caption: str = "") -> None:
        if self._live:
            self._live.update(render(self.rows(), caption, self._console.width), refresh=True)

    def _progress(self) -> str:
        of_total = "" if self._total is None else f" of {self._total:,}"
        domains, alerts = len(self._latest.estimates), sum(map(len, self._latest.alerts.values()))
        return f"{self.n_records:,}{of_total} events, {count(domains, 'domain')}, {count(alerts, 'alert')}"
