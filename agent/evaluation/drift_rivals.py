"""Drift detectors of other libraries with their defaults, on the same values as the agent: one value at a time.

River's are plain detectors without a promise about false alarms over many streams. Evidently compares batches: it is
used here as its documents do, one report for each batch of new values against those before it. It is imported late,
because it is no dependency of driftgauge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from river import drift

EVIDENTLY = "evidently"
REFERENCE, BATCH = 200, 50
"""Values that Evidently compares a batch with, and values of a batch."""


class Rival(Protocol):
    """Watches the values of one signal of one domain."""

    def update(self, value: float, /) -> bool:
        """Take the next value; returns whether the rival finds a drift now."""
        ...


class RiverDetector:
    """A detector of river.

    >>> detector = RiverDetector(drift.ADWIN())
    >>> any(detector.update(0.2) for _ in range(500)), any(detector.update(0.8) for _ in range(500))
    (False, True)
    """

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def update(self, value: float) -> bool:
        """Take the next value; returns whether the detector finds a drift now."""
        self._detector.update(value)
        return bool(self._detector.drift_detected)


class EvidentlyReports:
    """Evidently's `ValueDrift` of every `BATCH` values against the `REFERENCE` values before them.

    Its default for so few values is the two-sample test of Kolmogorov and Smirnov at the level 0.05. ``report`` is made
    for a column ``value``, ``frame`` makes a table of columns.
    """

    def __init__(self, report: Any, frame: Callable[[Mapping[str, Sequence[float]]], Any]) -> None:
        self._report, self._frame = report, frame
        self._values: deque[float] = deque(maxlen=REFERENCE + BATCH)
        self._n = 0

    def update(self, value: float) -> bool:
        """Take the next value; returns whether a report that it completes finds a drift."""
        self._values.append(value)
        self._n += 1
        if self._n % BATCH or len(self._values) < REFERENCE + BATCH:
            return False
        values = list(self._values)
        before, now = (self._frame({"value": part}) for part in (values[:REFERENCE], values[REFERENCE:]))
        (metric,) = self._report.run(now, before).dict()["metrics"]
        return bool(metric["value"] < metric["config"]["threshold"])


def rivals(seed: int) -> Mapping[str, Callable[[], Rival]]:
    """Rivals by name: each makes a detector of one signal of one domain; Evidently only where it is installed."""
    kinds: Mapping[str, Callable[[], Any]] = {
        "river ADWIN": drift.ADWIN,
        "river PageHinkley": drift.PageHinkley,
        "river KSWIN": partial(drift.KSWIN, seed=seed),
    }
    found: dict[str, Callable[[], Rival]] = {name: partial(_of_river, new) for name, new in kinds.items()}
    return found | ({EVIDENTLY: _evidently()} if has_evidently() else {})


def _of_river(new: Callable[[], Any]) -> Rival:
    return RiverDetector(new())


def has_evidently() -> bool:
    """Whether Evidently can be imported."""
    return find_spec(EVIDENTLY) is not None


def _evidently() -> Callable[[], Rival]:
    evidently, metrics, pandas = map(import_module, (EVIDENTLY, f"{EVIDENTLY}.metrics", "pandas"))
    return lambda: EvidentlyReports(evidently.Report([metrics.ValueDrift(column="value")]), pandas.DataFrame)
