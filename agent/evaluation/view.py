"""An evaluation as tables for the terminal, and as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from driftgauge.agent.evaluation.figure import drawing
from driftgauge.agent.evaluation.live import AGENT
from driftgauge.agent.evaluation.ranking_trials import MEASURES, standard_error_of
from driftgauge.agent.evaluation.response_view import add_column, draw_curves, recording_of, response_table

_COLUMNS = {
    "median_mae": "median MAE", "iqr": "IQR", "median_mae_outside": "MAE outside", "spearman": "rho",
    "coverage": "coverage", "mean_width": "width", "false_alarm_share": "false alarms",
    "median_labels_to_alarm": "labels to alarm", "missing": "missing", "n_compositions": "n",
}  # fmt: skip

_DELAYS = {"flagged": "flagged", "median_events": "events", "median_responses": "responses", "median_labels": "labels"}
_DRIFT_DOMAINS = {
    "domain": "domain", "differs": "differs", "accuracy_before": "before", "accuracy_after": "after",
    "first_alert": "first alert", **_DELAYS,
}  # fmt: skip
_DRIFT_METHODS = {
    "method": "method", "signal": "signal", **_DELAYS, "flagged_accuracy": "accuracy", "flagged_unchanged": "unchanged",
    "false_detections": "false", "microseconds": "µs a response",
}  # fmt: skip

_LINES, _MARKERS = ("-", "--", ":", "-."), ("o", "s", "^")


def render(result: Mapping[str, Any]) -> RenderableType:
    """Tables of the cells, one for every file, target, protocol, k and number of labels; the best error first."""
    cells = sorted(result["cells"], key=place)
    tables = [_table(list(group), result["default_method"]) for _, group in groupby(cells, key=place)]
    return Group(*tables, *(response_table(list(group)) for _, group in groupby(result["responses"], key=recording_of)))


def selection_table(result: Mapping[str, Any]) -> Table:
    """One row for each file, plan, estimator and number of labels of the protocol ``selection``."""
    return _cells_table(f"selection, default plan {result['default_plan']}", result["cells"])


def segments_table(result: Mapping[str, Any]) -> Table:
    """One row for each file, number of labels and planted segment of the protocol ``segments``."""
    return _cells_table(f"weak segments, false alarms {result['false_alarms']}", result["cells"])


def ranking_tables(result: Mapping[str, Any]) -> RenderableType:
    """The orders of the protocol ``ranking``, and how often the stated probabilities of its data lists were right."""
    over_files = [{"file": "mean", **cell} for cell in result["means"]] if len(result["accounts"]) > 1 else []
    orders = [_with_errors(cell) for cell in (*result["cells"], *over_files)]
    chances = _cells_table("probability of being among the three most valuable", result["calibration"])
    return Group(_cells_table(f"ranking, target {result['target']}", orders), chances)


def drift_tables(result: Mapping[str, Any]) -> RenderableType:
    """The protocol ``drift``: a table of domains and one of methods for each file, and the budgets of the agent."""
    tables = []
    for budget in result["budgets"]:
        domains, methods = (
            [cell for cell in result[name] if cell["file"] == budget["file"]] for name in ("domains", "methods")
        )
        names = f"{budget['file']} -> {domains[0]['target']}"
        title = f"{names}, drift, {result['shuffles']} shuffles, labels for {result['label_fraction']:.0%}"
        tables += [
            _cells_table(title, [_renamed(cell, _DRIFT_DOMAINS) for cell in domains]),
            _cells_table(
                f"{names}, over all domains that differ", [_renamed(cell, _DRIFT_METHODS) for cell in methods]
            ),
        ]
    tables.append(_cells_table("the agent where nothing changes", result["budgets"]))
    return Group(*tables, *(f"{name} is not installed: its rows are left out." for name in result["left_out"]))


def _renamed(cell: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    return {title: cell[name] for name, title in columns.items()}


def _with_errors(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The measures of a cell of the protocol ``ranking``, each with its standard error."""
    measures = {name: f"{_number(cell[name])} ± {_number(cell[standard_error_of(name)])}" for name in MEASURES}
    return {"file": cell["file"], "method": cell["method"], "labels": cell["n_labels"], **measures}


def _cells_table(title: str, cells: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each cell, one column for each of its fields."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in cells[0] if cells else ():
        add_column(table, name.replace("_", " "), "left")
    for cell in cells:
        table.add_row(*(value if isinstance(value, str) else _number(value) for value in cell.values()))
    return table


def account_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """For each file, how many of its responses were used, and why the others were not."""
    for file, account in result["accounts"].items():
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in account["reasons"].items())
        not_used = f", {account['not_used']:,} not used: {reasons}" if reasons else ""
        yield f"{file}: {account['used']:,} of {account['records']:,} responses used{not_used}."


def plot(result: Mapping[str, Any], path: Path) -> None:
    """One column for every file: median MAE against k (or against the number of labels), and what is kept.

    A method has one colour; with several k, each k has a line style. ConnectorError without matplotlib (see `drawing`).
    """
    cells = [cell for cell in result["cells"] if cell["median_mae"] is not None]
    rows = [found for found in (cells, result["responses"]) if found] or [cells]
    files = list(dict.fromkeys(map(recording_of, itertools.chain(*rows))))
    figure = drawing()(figsize=(7.5 * max(len(files), 1), 4.5 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), max(len(files), 1), squeeze=False)
    for row, found in zip(panels, rows, strict=True):
        for panel, file in zip(row, files, strict=False):
            of_file = [cell for cell in found if recording_of(cell) == file]
            if found is cells:
                _draw(panel, of_file, result["default_method"])
            else:
                draw_curves(panel, of_file)
            panel.set_title(file + ("" if found is cells else ", kept responses"))
    figure.savefig(path)


def place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sorts cells: by recording, protocol, k, labels and alternatives."""
    where = cell["file"], cell["target"] or "", cell["protocol"]
    return (*where, cell["k"] or 0, cell.get("n_labels") or 0, cell["top_k"] or 0)


def _table(cells: Sequence[Mapping[str, Any]], default: str) -> Table:
    first = cells[0]
    title = f"{recording_of(first)}, {first['protocol']}"
    title += "" if first["k"] is None else f", k = {first['k']}"
    table = Table(
        title=f"{title}, {first['n_labels']} labels", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    add_column(table, "method", "left")
    shown = [name for name in _COLUMNS if any(cell.get(name) is not None for cell in cells)]
    for name in shown:
        add_column(table, _COLUMNS[name])
    for cell in sorted(cells, key=lambda cell: (cell["median_mae"] is None, cell["median_mae"] or 0)):
        style = "bold" if cell["method"].startswith((default, AGENT)) else None
        table.add_row(cell["method"], *(_number(cell.get(name)) for name in shown), style=style)
    return table


def _draw(panel: Any, cells: Sequence[Mapping[str, Any]], default: str) -> None:
    by_labels = any(cell["n_labels"] for cell in cells)
    across, fixed = ("n_labels", "k") if by_labels else ("k", "protocol")
    lines = dict.fromkeys((cell["method"], cell[fixed]) for cell in cells)
    methods, groups = sorted({method for method, _ in lines}), sorted({group for _, group in lines})
    for method, group in lines:
        line = [cell for cell in cells if (cell["method"], cell[fixed]) == (method, group)]
        line.sort(key=lambda cell: cell[across])
        panel.plot(
            [cell[across] for cell in line],
            [cell["median_mae"] for cell in line],
            label=f"{method}, k = {group}" if by_labels and group else method,
            color="black" if method in (default, AGENT) else f"C{methods.index(method) % 10}",
            linestyle=_LINES[groups.index(group) % len(_LINES)],
            linewidth=2.5 if method in (default, AGENT) else 1.0,
            marker=_MARKERS[methods.index(method) // 10 % len(_MARKERS)],
            markersize=4,
        )
    panel.set_xlabel("labels from the domain" if by_labels else "labelled domains (k)")
    if not by_labels:
        panel.set_xticks(sorted({cell["k"] for cell in cells}))
    panel.set_ylabel("median MAE")
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    panel.grid(alpha=0.3)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3f}"
