"""The predictions of single responses as a table for the terminal, and their risk-coverage curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table

_COLUMNS = {
    "n": "n", "accuracy": "accuracy", "brier": "Brier", "log_loss": "log loss", "auroc": "AUROC",
    "calibration_error": "calib. error", "aurc": "AURC", "aurc_best": "best AURC",
}  # fmt: skip
_KEPT = (80, 50)
"""Shares kept, in percent, for which the table has the accuracy."""


def recording_of(cell: Mapping[str, Any]) -> str:
    """Names of the recordings of a cell, and to how many alternatives they were cut.

    >>> recording_of({"file": "a", "target": "b", "top_k": 5})
    'a -> b, 5 alternatives'
    """
    names = " -> ".join(name for name in (cell["file"], cell["target"]) if name)
    return names if cell["top_k"] is None else f"{names}, {cell['top_k']} alternatives"


def add_column(table: Table, heading: str, justify: JustifyMethod = "right") -> None:
    """Add a column of which nothing is cut; its heading has a word on each line, so that the column is narrow."""
    table.add_column("\n".join(heading.split()), justify=justify, no_wrap=True)


def response_table(cells: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each cell of one file, target and protocol."""
    first = cells[0]
    way = "predicted before the label" if first["k"] is None else "predicted from k other domains"
    title = f"{recording_of(first)}, single responses, {way}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    add_column(table, "domain" if first["k"] is None else "k", "left")
    for title in (*_COLUMNS.values(), *(f"top {share}%" for share in _KEPT)):
        add_column(table, title)
    for cell in cells:
        table.add_row(*response_row(cell), style="bold" if cell["domain"] is None else None)
    return table


def response_row(cell: Mapping[str, Any]) -> list[str]:
    """One cell as text: its domain or k, its numbers, and the accuracy of those kept."""
    values = [cell[name] for name in _COLUMNS] + [cell["kept_accuracy"][share - 1] for share in _KEPT]
    return [str(cell["k"] or cell["domain"] or "all"), *("" if x is None else _number(x) for x in values)]


def draw_curves(panel: Any, cells: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy of the kept responses against the share kept: one line for each k, or all domains and each domain."""
    for cell in cells:
        accuracy = cell["kept_accuracy"]
        kept = [(i + 1) / len(accuracy) for i in range(len(accuracy))]
        is_whole = cell["domain"] is None
        name = f"k = {cell['k']}" if cell["k"] else cell["domain"] or "all"
        panel.plot(
            kept, accuracy, label=f"{name}, AURC {cell['aurc']:.3f}", linewidth=2.0 if is_whole else 0.8,
            color="black" if is_whole and cell["k"] is None else None,
        )  # fmt: skip
    panel.set_xlabel("share of responses kept")
    panel.set_ylabel("accuracy of those kept")
    panel.set_xlim(0, 1)
    panel.set_ylim(top=1.01)
    panel.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    panel.grid(alpha=0.3)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
