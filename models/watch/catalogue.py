"""The kinds of change detectors there are, by name. A new kind is one more class in this table."""

from __future__ import annotations

from collections.abc import Mapping

from driftgauge.models.watch.detector import ChangeDetector, DetectorSettings, MeanChangeDetector
from driftgauge.models.watch.rank_shift import RankShift
from driftgauge.models.watch.river_detectors import Adwin, Kswin, PageHinkley
from driftgauge.models.watch.sequential import BelowTarget

_KINDS: tuple[type[ChangeDetector], ...] = (RankShift, Adwin, PageHinkley, Kswin, BelowTarget)
DETECTORS: Mapping[str, type[ChangeDetector]] = {kind.description.kind: kind for kind in _KINDS}


def new_detector(kind: str, settings: DetectorSettings | None = None) -> ChangeDetector:
    """Make a detector that has seen no values; ValueError for a kind that does not exist.

    >>> new_detector("rank_shift").description.finds
    'change_of_mean'
    """
    if kind not in DETECTORS:
        raise ValueError(f"no detector of kind {kind!r}; there are {', '.join(DETECTORS)}")
    return DETECTORS[kind].from_settings(settings or DetectorSettings())


def new_mean_change_detector(kind: str, settings: DetectorSettings | None = None) -> MeanChangeDetector:
    """Make a detector of a change of mean; ValueError for a kind that does not exist or finds something else."""
    detector = new_detector(kind, settings)
    if not isinstance(detector, MeanChangeDetector):
        raise ValueError(f"a detector of kind {kind!r} finds a {detector.description.finds}, not a change_of_mean")
    return detector
