"""Loads matplotlib, which draws the pictures and comes with the extra ``plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftgauge.connectors.base import ConnectorError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")


def drawing() -> type[Figure]:
    """The type of a figure; `ConnectorError` without matplotlib. Call it before long computations."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConnectorError("pictures need matplotlib: pip install 'driftgauge[plot]'", retriable=False) from error
    return Figure
